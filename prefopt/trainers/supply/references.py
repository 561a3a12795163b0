"""Reference answers and degraded prompts: their tokens travel with the batch, until the policy reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from trl.models.utils import disable_gradient_checkpointing

from prefopt.trainers.generation import EXTRA, first_of_groups
from prefopt.trainers.rewards.scores import Completions
from prefopt.trainers.shared_prompts import outputs_of, unpadded
from prefopt.trainers.supply.texts import answer_ids, padded, prompt_ids

if TYPE_CHECKING:
    from prefopt.trainers.online_trainer import OnlineTrainer

ANSWER, DEGRADED, TOLD = "reference_answer_ids", "degraded_prompt", "answer_prompt"


def add_other_prompts(
    trainer: OnlineTrainer, rows: Sequence[Mapping[str, Any]], batch: dict[str, Any], column: str, name: str
) -> None:
    """Put the tokens of other prompts, from a column of the data, into the batch."""
    tokenizer = trainer.tokenizer
    found = [prompt_ids(tokenizer, row[column], trainer.chat_template_kwargs) for row in rows]
    ids, mask = padded(found, tokenizer.pad_token_id, batch["prompt_ids"].device, left=True)
    batch[f"{name}_ids"], batch[f"{name}_mask"] = ids, mask


def behind(batch: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the batch with the completions behind other prompts."""
    return {**batch, "prompt_ids": batch[f"{name}_ids"], "prompt_mask": batch[f"{name}_mask"]}


def degraded_logps(trainer: OnlineTrainer, batch: Mapping[str, Any]) -> Tensor:
    """Return ``(B, T)``: log-probabilities of the completions after the degraded prompts, without gradient."""
    return trainer.fixed_outputs(trainer.model, behind(batch, DEGRADED))[0]


def expert_answers(trainer: OnlineTrainer, rows: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Return the tokens of each row's demonstration."""
    column, longest = trainer.args.demonstration, trainer.args.max_completion_length
    return [answer_ids(trainer.tokenizer, row[column], longest, f"the column '{column}'") for row in rows]


@torch.no_grad()
def expert_logps(
    trainer: OnlineTrainer, rows: Sequence[Mapping[str, Any]], batch: Mapping[str, Any], width: int
) -> Tensor:
    """Return ``(B, width)``: log-probabilities of the demonstrations, NaN after their end; each is computed once."""
    prompts = [tuple(row) for row in unpadded(batch["prompt_ids"], batch["prompt_mask"])]
    pairs = list(zip(prompts, map(tuple, expert_answers(trainer, rows)), strict=True))
    several = sorted(set(pairs), key=lambda pair: len(pair[0]) + len(pair[1]))
    known: dict[Any, Tensor] = {}
    with disable_gradient_checkpointing(trainer.model, trainer.args.gradient_checkpointing_kwargs):
        for start in range(0, len(several), trainer.rows_at_once):
            some = several[start : start + trainer.rows_at_once]
            asked, given = [prompt for prompt, _ in some], [answer for _, answer in some]
            with trainer.accelerator.autocast():
                found = outputs_of(trainer.model, asked, given, (), trainer.temperature, share=False)["logps"]
            known |= {pair: values[: len(pair[1])] for pair, values in zip(some, found, strict=True)}
    return torch.stack([pad(known[pair], (0, width - len(known[pair])), value=torch.nan) for pair in pairs])


def add_reference_answers(
    trainer: OnlineTrainer, rows: Sequence[Mapping[str, Any]], batch: dict[str, Any], missing: frozenset[str]
) -> dict[str, Tensor]:
    """Put the answers' tokens into the batch, a row a completion; return their mask, and their rewards if wanted.

    An answer is scored like a completion, by the same sources; ``reference_answer_rewards`` are its scores, summed by
    their weights.
    """
    column, longest = trainer.args.reference_answer, trainer.args.max_completion_length
    texts = [row[column] for row in rows]
    found = [answer_ids(trainer.tokenizer, text, longest, f"the column '{column}'") for text in texts]
    ids, mask = padded(found, trainer.tokenizer.pad_token_id, batch["prompt_ids"].device)
    batch[ANSWER] = ids
    extras = {"reference_answer_mask": mask.bool()}
    scored = missing & {"reference_answer_rewards", "reference_answer_scores"}
    if scored:
        # Rows of one prompt stand side by side: one of them is scored for all.
        firsts = [i for i in range(len(rows)) if i == 0 or rows[i] != rows[i - 1]]
        asked = [rows[i] for i in firsts]
        answers = [trainer.as_completion(row["prompt"], row[column]) for row in asked]
        values = scores_of(trainer, asked, answers, [found[i] for i in firsts])
        place = torch.tensor([sum(first <= i for first in firsts) - 1 for i in range(len(rows))])
        own = {"reference_answer_scores": values, "reference_answer_rewards": _weighed(trainer, values)}
        extras |= {name: own[name][place].to(mask.device) for name in scored}
    return extras


def score_rows(
    trainer: OnlineTrainer, rows: Sequence[Mapping[str, Any]], completions: list[Any], ids: list[list[int]]
) -> Tensor:
    """Return the weighted sum of the rewards ``(N,)`` of other completions than the batch's, NaN where unscored."""
    return _weighed(trainer, scores_of(trainer, rows, completions, ids))


def scores_of(
    trainer: OnlineTrainer, rows: Sequence[Mapping[str, Any]], completions: list[Any], ids: list[list[int]]
) -> Tensor:
    """Return the rewards ``(N, K)`` of other completions than the batch's, NaN where unscored."""
    columns = {key: [row.get(key) for row in rows] for key in (rows[0] if rows else {})}
    context = trainer.reward_context() | {"completion_ids": ids}
    batch = Completions([row["prompt"] for row in rows], completions, columns, context)
    return trainer.scorer.again(trainer.accelerator, batch)


def _weighed(trainer: OnlineTrainer, scores: Tensor) -> Tensor:
    return scores @ torch.tensor(trainer.scorer.weights, dtype=scores.dtype)


def reference_answer_logps(trainer: OnlineTrainer, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    """Return ``(P, T')``, with gradient: one pass over the answers to the prompts of a micro-batch."""
    first = first_of_groups(batch["group"]).to(batch["prompt_ids"].device)
    wide = batch[f"{EXTRA}reference_answer_mask"][first]
    mask = wide[:, : batch[ANSWER].shape[1]]
    prompts = unpadded(batch["prompt_ids"][first], batch["prompt_mask"][first])
    answers = unpadded(batch[ANSWER][first], mask)
    with trainer.accelerator.autocast():
        found = outputs_of(model, prompts, answers, (), trainer.temperature, share=False)["logps"]
    return pad(found, (0, wide.shape[1] - found.shape[1]))
