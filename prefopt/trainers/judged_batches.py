"""Tokenised responses to batches of trees, and which completion each prompt is mismatched with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from prefopt.batch import Judged
from prefopt.trainers.pairs.batches import PairBatchCollator, response_mask
from prefopt.trainers.token_budget import Side


class JudgedBatchCollator(PairBatchCollator):
    """N responses to the fields of a `TreeBatch`, ``places`` ``(N,)`` and ``desirable`` ``(N,)``."""

    def sides(self, row: Mapping[str, Any]) -> list[Side]:
        """Return the one side that there is."""
        prompt, answer = row["prompt_ids"], row["completion_ids"]
        return [(prompt, answer) if prompt else (answer[:1], answer[1:])]


def judged_of(batch: Mapping[str, Any], columns: Sequence[str], **extras: Tensor) -> Judged:
    """Return the mask ``(N, T)``, judgements and columns of a collated batch."""
    given = {name: batch[name] for name in columns if name in batch}
    return Judged(response_mask(batch), batch["desirable"] > 0, given | extras)


def partners(rows: Sequence[tuple[int, Hashable]]) -> dict[int, int]:
    """Return for each row the one whose completion it is mismatched with: the one before, the first gets the last.

    The order is that of the numbers, with answers to one prompt put apart: all first answers, then all second ones, and
    so on. So no split into micro-batches or over processes changes it, and as long as there are several prompts, next
    to none is given a completion of its own prompt.

    Args:
        rows: number and prompt of each row of an optimiser batch.
    """
    seen: Counter[Hashable] = Counter()
    order: list[tuple[int, int]] = []
    for number, prompt in sorted(rows, key=lambda row: row[0]):
        order.append((seen[prompt], number))
        seen[prompt] += 1
    numbers = [number for _, number in sorted(order)]
    return dict(zip(numbers, [numbers[-1], *numbers[:-1]], strict=True)) if numbers else {}


def one_kind(values: Tensor) -> bool:
    """Return whether all responses are good, or all are bad."""
    return bool((values == values[0]).all()) if len(values) else True


def balance(desirable: Sequence[float], desirable_weight: float, undesirable_weight: float) -> str | None:
    """Return advice where good and bad responses do not weigh about the same in all, or None.

    The authors of KTO keep ``lambda_D n_D / (lambda_U n_U)`` in [1, 4/3].
    """
    good = int(torch.tensor(desirable).sum())
    bad = len(desirable) - good
    if not good or not bad:
        kind = "good" if good else "bad"
        return f"all {len(desirable)} responses are {kind}: nothing says what the policy should prefer to them"
    ratio = desirable_weight * good / (undesirable_weight * bad)
    if 1 - 1e-9 <= ratio <= 4 / 3 + 1e-9:
        return None
    if good < bad:
        low, high = undesirable_weight * bad / good, 4 / 3 * undesirable_weight * bad / good
        setting = f"desirable_weight between {low:.3g} and {high:.3g}"
    else:
        low, high = 3 / 4 * desirable_weight * good / bad, desirable_weight * good / bad
        setting = f"undesirable_weight between {low:.3g} and {high:.3g}"
    return (
        f"{good} good and {bad} bad responses: with these weights the good ones count {ratio:.3g} times what the bad "
        f"ones do, and between 1 and 1.33 times is advised; set {setting}"
    )
