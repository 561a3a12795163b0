"""Logged responses and scored texts to token ids, and the tokens that a plan adds to a vocabulary."""

from __future__ import annotations

import logging
from pathlib import Path
from random import Random
from typing import Any

from datasets import Dataset

from prefopt.errors import UserError
from prefopt.offline import OfflineMethod
from prefopt.offline.logged import LoggedObjective
from prefopt.offline.scored_text import ScoredTextObjective
from prefopt.trainers.offline_config import OfflineConfig
from prefopt.trainers.pairs.tokens import SAMPLE_WEIGHT, PairTokens, check_weights
from prefopt.trainers.policies import context_limit
from prefopt.trainers.response_rows import LOGGED_TOKENS, read_rows
from reward_models.data.faults import BadRow
from reward_models.data.quarantine import Quarantine
from reward_models.formatting import Formatter

logger = logging.getLogger(__name__)
OF_ROWS = ("logged_reward", "log_propensity", SAMPLE_WEIGHT)
"""Numbers of a row that objectives may read."""
ResponseObjective = LoggedObjective | ScoredTextObjective
"""Objectives whose rows are `Responses`."""


def response_tokens(
    data: Any, config: OfflineConfig, objective: OfflineMethod, tokenizer: Any, model_config: Any, name: str
) -> PairTokens | None:
    """Return the tokens of what an objective learns from; None for None.

    Raises:
        UserError: rows that are bad, don't fit, or leave nothing to learn.
    """
    if data is None or isinstance(data, PairTokens):
        return data
    quarantine = Path(config.output_dir) / f"quarantine_{name.split()[0]}.jsonl"
    limit = context_limit(tokenizer, model_config, config.max_length)
    texts = isinstance(objective, ScoredTextObjective)
    rows, bad = read_rows(data, "texts" if texts else "logged", config.on_bad_row, quarantine, name)
    check_weights(rows, objective.needs, name)
    if isinstance(objective, ScoredTextObjective):
        return PairTokens(text_tokens(rows, objective, tokenizer, limit, config.seed, name), bad, 0)
    return _logged_tokens(rows, tokenizer, limit, config, bad, name)


def text_tokens(
    rows: Dataset, objective: ScoredTextObjective, tokenizer: Any, limit: int, seed: int, name: str
) -> Dataset:
    """Tokenise texts segment by segment; one longer than ``limit`` becomes several rows, and loses nothing.

    A row begins with what the tokenizer puts before a text, or else with its end token, which nothing predicts; the
    text ends with its end token, scored as the last segment.
    """
    formatter = Formatter(tokenizer)
    alone = formatter.start or [token for token in (tokenizer.eos_token_id,) if token is not None]
    end = [token for token in (tokenizer.eos_token_id,) if token is not None]
    found: list[dict[str, Any]] = []
    left_out = 0
    for i, row in enumerate(rows):
        # Of its own for each row, so that no other row changes what is drawn for it.
        segments = objective.plan(row["segments"], row["scores"], Random(f"{seed} {i}"))
        if segments is None:
            left_out += 1
            continue
        start = alone
        if row.get("prompt") is not None:
            whole = formatter.encode(row["prompt"], "".join(row["segments"]))
            start = whole.input_ids[: whole.response_start]
        weight = {} if row.get(SAMPLE_WEIGHT) is None else {SAMPLE_WEIGHT: row[SAMPLE_WEIGHT]}
        ids: list[int] = []
        scores: list[float] = []
        for text, score in segments:
            own = tokenizer(text, add_special_tokens=False)["input_ids"]
            ids, scores = [*ids, *own], [*scores, *([score] * len(own))]
        ids, scores = [*ids, *end], [*scores, *([segments[-1][1]] * len(end))]
        room = max(1, limit - len(start))
        for first in range(0, len(ids), room):
            part = slice(first, first + room)
            of_tokens = {"completion_ids": ids[part], "token_scores": scores[part]}
            found.append({"prompt_ids": start, **of_tokens, **weight, "row": i})
    if left_out:
        logger.warning("%s: %d of %d texts are left out, as their scores say", name, left_out, len(rows))
    if not found:
        raise UserError(f"{name}: no text is left; raise the threshold, which {left_out} texts exceed")
    return Dataset.from_list(found)


def _logged_tokens(
    rows: Dataset, tokenizer: Any, limit: int, config: OfflineConfig, bad: list[BadRow], name: str
) -> PairTokens:
    """A response is never cut: its propensity is that of the whole. A prompt may be, on its left."""
    formatter, found, cut, apart = Formatter(tokenizer), [], 0, 0
    for i, row in enumerate(rows):
        whole = formatter.encode(row["prompt"], row["completion"])
        prompt, answer = whole.input_ids[: whole.response_start], whole.input_ids[whole.response_start :]
        apart += row.get(LOGGED_TOKENS) not in (None, len(answer))
        excess = len(prompt) + len(answer) - limit
        if excess > 0 and (config.over_length != "truncate_prompt" or excess >= len(prompt)):
            detail = f"prompt and completion have {len(prompt) + len(answer)} tokens, {limit} are allowed"
            bad.append(BadRow(name, i + 1, "completion", "over_length", detail, row))
            if config.on_bad_row == "raise":
                raise UserError(f"{bad[-1]}. A logged completion is never cut; raise max_length, or quarantine the row")
            continue
        cut += excess > 0
        numbers = {column: row[column] for column in OF_ROWS if row.get(column) is not None}
        found.append({"prompt_ids": prompt[max(excess, 0) :], "completion_ids": answer, **numbers, "row": i})
    if apart:
        logger.warning(
            "%s: %d of %d rows have logps of another number of tokens than their completion has here, its end token "
            "counted; their propensities are not those of what is learned. Log the end token too, with this tokenizer",
            name, apart, len(rows),
        )  # fmt: skip
    if bad:
        with Quarantine(Path(config.output_dir) / f"quarantine_{name.split()[0]}.jsonl") as file:
            for one in bad:
                file.add(one)
    if not found:
        raise UserError(f"{name}: none of the {len(rows)} responses fits max_length={limit}; raise it")
    return PairTokens(Dataset.from_list(found), bad, cut)


def add_tokens(tokenizer: Any, objective: OfflineMethod, adapted: bool) -> list[int]:
    """Add the tokens that an objective's plan writes into texts; return the ids of all of them.

    Raises:
        UserError: new ones under an adapter, which would not learn what they mean.
    """
    tokens = list(objective.plan.tokens) if isinstance(objective, ScoredTextObjective) else []
    new = [token for token in tokens if token not in tokenizer.get_vocab()]
    if new and adapted:
        raise UserError(
            f"{', '.join(new)} are new to the vocabulary, and an adapter leaves their embeddings as they were drawn; "
            "train the whole model (use_peft false), or start from one that knows them"
        )
    if new:
        tokenizer.add_special_tokens({"additional_special_tokens": new}, replace_extra_special_tokens=False)
    return [int(tokenizer.convert_tokens_to_ids(token)) for token in tokens]


def make_room(model: Any, tokenizer: Any, banned: list[int]) -> None:
    """Give a model embeddings for all tokens of its tokenizer, and let it never generate the banned ones."""
    if not banned:
        return
    if model.get_input_embeddings().num_embeddings < len(tokenizer):
        model.resize_token_embeddings(len(tokenizer))
    before = model.generation_config.suppress_tokens or []
    model.generation_config.suppress_tokens = sorted({*before, *banned})
