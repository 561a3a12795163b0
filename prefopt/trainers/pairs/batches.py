"""Tokenised pairs to batches of trees, in an order that resumed runs and several processes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler
from transformers import TrainingArguments

from prefopt.batch import Pairs
from prefopt.trainers.sampling_order import EpochShuffle, LengthBuckets
from prefopt.trainers.token_budget import Side, padded_tokens
from reward_models.prefix_tree import Tree, TreeBatch, plant

ANSWERS = ("chosen_ids", "rejected_ids", "completion_ids")
"""Columns of token ids that answer a row's prompt, where it has them."""
ABSENT = -1
"""Place of a part that a side does not have."""


class PairRows(TorchDataset[dict[str, Any]]):
    """Rows by index. An index beyond the last row is a filler: an earlier row again, with weight 0.

    Fillers make the number of rows a multiple of what all processes take in one step; without them the last batch of an
    epoch would count some pairs twice.
    """

    def __init__(self, rows: Dataset) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        place = index % len(self.rows)
        return {**self.rows[place], "index": place, "weight": float(index < len(self.rows))}


def pair_order(args: TrainingArguments, data: PairRows, share: bool) -> Sampler[int] | None:
    """Return the order in which pairs are taken; None leaves it to transformers (sequential)."""
    seed = args.seed if args.data_seed is None else args.data_seed
    together = args.train_batch_size * args.world_size
    multiple = together if args.world_size > 1 else 1
    if args.train_sampling_strategy == "group_by_length":
        # The rows of an optimiser step, however many micro-batches and processes they are divided among.
        step = together * args.gradient_accumulation_steps
        return LengthBuckets([length(row, share) for row in data.rows], step, multiple, seed)
    if args.train_sampling_strategy == "random":
        return EpochShuffle(len(data), multiple, seed)
    return None


def length(row: Mapping[str, Any], share: bool) -> int:
    """Tokens of the row that a pair takes in a batch."""
    answers = [len(row[name]) for name in ANSWERS if name in row]
    return len(row["prompt_ids"]) + (sum if share else max)(answers)


def longest(rows: Dataset | None) -> int:
    """Tokens of the longest prompt with one of its answers."""
    return max((length(row, share=False) for row in rows or ()), default=0)


class PairBatchCollator:
    """N pairs to the fields of a `TreeBatch`, and ``places`` ``(2N,)``: where chosen and then rejected stand in it.

    Labels of pairs are ``(N,)``. Reference log-probabilities, where a row has them, are laid out as `pair_statistics`
    gives them: ``(2N, T)``, a value a response token. Nothing predicts the first token of an answer to an empty prompt:
    it acts as the prompt.

    Args:
        pad_id: fills rows up; no token sees it.
        labels: columns that the objective reads.
        share: answers to equal prompts share a row; otherwise each has a row of its own.
        width: see `TreeBatch.collate`.
    """

    def __init__(self, pad_id: int, labels: Sequence[str] = (), share: bool = True, width: int | None = None) -> None:
        self.pad_id, self.labels, self.share, self.width = pad_id, tuple(labels), share, width if share else None

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Lay out and stack."""
        # First, since transformers and accelerate take the first tensor's rows for the batch's.
        batch: dict[str, Any] = {
            name: torch.tensor([row.get(name, 1.0) for row in rows], dtype=torch.float32)
            for name in ("weight", *self.labels)
        }
        batch["row"] = torch.tensor([row["row"] for row in rows])
        if "desirable" in rows[0]:
            batch |= {name: torch.tensor([row[name] for row in rows]) for name in ("index", "desirable")}
        trees, batch["places"] = self.laid_out(rows)
        batch["trees"] = vars(TreeBatch.collate(trees, self.pad_id, self.width))
        if "ref_chosen_logps" in rows[0]:
            values = [row[f"ref_{side}_logps"] for side in ("chosen", "rejected") for row in rows]
            batch["ref_logps"] = torch.zeros(len(values), max(map(len, values)))
            for i, value in enumerate(values):
                batch["ref_logps"][i, : len(value)] = torch.tensor(value)
        return batch

    def laid_out(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[Tree], Tensor]:
        """Return the trees, and the place of each row's answers in them."""
        pairs = [self.sides(row) for row in rows]
        trees, places = self._plant([pair[side] for side in range(len(pairs[0])) for pair in pairs])
        return trees, torch.tensor(places)

    def sides(self, row: Mapping[str, Any]) -> list[Side]:
        """Return the chosen and the rejected side."""
        sides = [(row["prompt_ids"], row[f"{side}_ids"]) for side in ("chosen", "rejected")]
        return [(prompt, answer) if prompt else (answer[:1], answer[1:]) for prompt, answer in sides]

    def tokens(self, sides: Sequence[Side]) -> int:
        """Return the tokens of the rows, padding counted."""
        return padded_tokens(self._plant(sides)[0], self.width)

    def _plant(self, sides: Sequence[Side]) -> tuple[list[Tree], list[int]]:
        return plant([prompt for prompt, _ in sides], [answer for _, answer in sides], self.share)


def response_mask(batch: Mapping[str, Any]) -> Tensor:
    """Return where response tokens stand, ``(2N, T)`` bool; parts of a side stand one after the other."""
    lengths = batch["trees"]["lengths"][batch["places"]]
    if lengths.ndim > 1:
        lengths = torch.where(batch["places"] == ABSENT, 0, lengths).sum(-1)
    return torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]


def pairs_of(batch: Mapping[str, Any], labels: Sequence[str]) -> Pairs:
    """Return the masks ``(N, T)`` and labels of a collated batch."""
    chosen, rejected = response_mask(batch).chunk(2)
    return Pairs(chosen, rejected, {name: batch[name] for name in labels})
