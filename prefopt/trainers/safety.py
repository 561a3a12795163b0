"""The final test of a policy: completions to held-out prompts, their costs, and whether the policy may be returned."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import set_seed

from prefopt.errors import UserError
from prefopt.trainers.policies import check_policy, load_policy, load_tokenizer, prepare_tokenizer
from prefopt.trainers.prompts import check_columns
from prefopt.trainers.rewards.reading import read_source
from prefopt.trainers.rewards.scores import Completions, scores_and_failures
from prefopt.trainers.rewards.source import RewardSource
from prefopt.trainers.supply.texts import padded, prompt_ids
from reward_models.backbones import position_limit
from reward_models.evaluation.safety_test import SafetyTest, check_test, safety_test

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TestedPolicy:
    """Outcome of a test, and what it rests on: a completion and a cost for each prompt."""

    # pytest would take the name for a class of tests.
    __test__ = False

    outcome: SafetyTest
    prompts: list[Any]
    completions: list[Any]
    costs: list[float]


def check_policy_safety(
    model: str | Path,
    data: Dataset,
    cost: Any,
    delta: float = 0.1,
    threshold: float = 0.0,
    method: str = "student_t",
    low: float | None = None,
    high: float | None = None,
    trained_on: Dataset | None = None,
    max_new_tokens: int = 256,
    temperature: float = 1.0,
    batch_size: int = 16,
    seed: int = 0,
    dtype: str = "float32",
) -> TestedPolicy:
    """Draw one completion to each held-out prompt, ask what it costs, and test the mean.

    Args:
        model: folder of the policy. data: held-out prompts, with the columns that the cost reads.
        cost: a reward source whose scores are costs, as under ``rewards:`` of a configuration.
        delta, threshold, method, low, high: see `reward_models.evaluation.safety_test`.
        trained_on: prompts of the training; one that stands in ``data``, too, is an error.
        max_new_tokens, temperature: of generation; they should be those with which the policy will be used.

    Raises:
        UserError: prompts that were trained on, a source that gives several scores. DataError: a cost is missing.
    """
    check_test(delta, method, low, high)
    source = read_source(cost)
    check_policy(model)
    check_columns(data, [source], "the held-out data")
    if trained_on is not None:
        refuse_seen(data, trained_on)
    source = source.load("cpu")
    if len(source.names) != 1:
        raise UserError(f"the cost source gives {len(source.names)} scores ({source.label}); the test takes one")
    set_seed(seed)
    completions = complete(model, list(data["prompt"]), max_new_tokens, temperature, batch_size, dtype)
    costs = costs_of(source, data, completions)
    outcome = safety_test(costs, delta, threshold, method, low, high)
    return TestedPolicy(outcome, list(data["prompt"]), completions, costs)


def refuse_seen(data: Dataset, trained_on: Dataset) -> None:
    """Raise ``UserError`` where a held-out prompt stands among those of the training."""
    seen = {json.dumps(prompt, sort_keys=True) for prompt in trained_on["prompt"]}
    both = [i for i, prompt in enumerate(data["prompt"]) if json.dumps(prompt, sort_keys=True) in seen]
    if both:
        raise UserError(
            f"{len(both)} of {len(data)} held-out prompts were trained on, the first in row {both[0] + 1}: the test's "
            "guarantee holds for prompts that the training never saw; leave them out"
        )


def costs_of(source: RewardSource, data: Dataset, completions: Sequence[Any]) -> list[float]:
    """Return the cost of each completion, NaN where the source gave none."""
    columns = {name: list(data[name]) for name in data.column_names}
    batch = Completions(list(data["prompt"]), list(completions), columns, {}, ())
    found = scores_and_failures([source], batch)
    costs: list[float] = found.values[:, 0].double().tolist()
    missing = sum(map(math.isnan, costs))
    if missing:
        last = found.failures.get(source.names[0], "None without a reason")
        logger.warning(
            "'%s' left %d of %d completions without a score; the last: %s", source.label, missing, len(costs), last
        )
    return costs


@torch.inference_mode()
def complete(
    model: str | Path, prompts: Sequence[Any], longest: int, temperature: float, batch_size: int, dtype: str
) -> list[Any]:
    """Return one completion a prompt: text, or messages where the prompt is one. Temperature 0 is the most likely one.

    Raises:
        UserError: a prompt that leaves no room for a completion within the model's positions.
    """
    policy, tokenizer = load_policy(model, dtype).eval(), load_tokenizer(model)
    filler = prepare_tokenizer(tokenizer)
    policy = policy.to("cuda" if torch.cuda.is_available() else "cpu")
    rows = [prompt_ids(tokenizer, prompt, {}) for prompt in prompts]
    limit = position_limit(tokenizer, policy.config)
    for number, row in enumerate(rows):
        if limit is not None and len(row) + longest > limit:
            raise UserError(
                f"held-out row {number + 1}: its prompt has {len(row)} tokens, which with max_new_tokens={longest} is "
                f"more than the model's {limit} positions"
            )
    manner: dict[str, Any] = {"do_sample": False}
    if temperature > 0:
        manner = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    texts: list[str] = []
    for start in range(0, len(rows), batch_size):
        ids, mask = padded(rows[start : start + batch_size], filler, policy.device, left=True)
        written = policy.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=longest, pad_token_id=filler, **manner
        )
        texts += tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)
    return [
        text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
        for prompt, text in zip(prompts, texts, strict=True)
    ]
