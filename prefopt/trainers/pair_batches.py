"""Tokenised pairs to padded batches, in an order that resumed runs and several processes share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler
from transformers import TrainingArguments

from prefopt.batch import Pairs
from prefopt.trainers.sampling_order import LengthGrouped

TENSORS = ("input_ids", "attention_mask", "response_mask")


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
        return {**self.rows[index % len(self.rows)], "weight": float(index < len(self.rows))}


class EpochShuffle(Sampler[int]):
    """A permutation that depends on seed and epoch alone, then fillers up to a multiple of ``multiple``."""

    def __init__(self, count: int, multiple: int, seed: int) -> None:
        self.count, self.multiple, self.seed, self.epoch = count, multiple, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.count // self.multiple) * self.multiple

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(self.seed + self.epoch)).tolist()
        return iter([*order, *range(self.count, len(self))])


def pair_order(args: TrainingArguments, data: PairRows) -> Sampler[int] | None:
    """Return the order in which pairs are taken; None leaves it to transformers (sequential)."""
    seed = args.seed if args.data_seed is None else args.data_seed
    together = args.train_batch_size * args.world_size
    if args.train_sampling_strategy == "group_by_length":
        lengths = [len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in data.rows]
        return LengthGrouped(lengths, together * args.gradient_accumulation_steps, seed)
    if args.train_sampling_strategy == "random":
        return EpochShuffle(len(data), together if args.world_size > 1 else 1, seed)
    return None


class PairBatchCollator:
    """N pairs to tensors ``(2N, T)``, chosen first, padded on the right.

    ``response_mask`` marks response tokens. Labels of pairs are ``(N,)``. Reference log-probabilities, where a row has
    them, are laid out as a model would give them: ``(2N, T - 1)``, column ``t`` for token ``t + 1``.
    """

    def __init__(self, pad_id: int, labels: Sequence[str] = ()) -> None:
        self.pad_id, self.labels = pad_id, tuple(labels)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Pad and stack."""
        sides = [(row["prompt_ids"], row[f"{side}_ids"]) for side in ("chosen", "rejected") for row in rows]
        width = max(len(prompt) + len(answer) for prompt, answer in sides)
        ids = torch.full((len(sides), width), self.pad_id)
        attention, response = (torch.zeros(ids.shape, dtype=torch.bool) for _ in range(2))
        for i, (prompt, answer) in enumerate(sides):
            end = len(prompt) + len(answer)
            ids[i, :end] = torch.tensor([*prompt, *answer])
            attention[i, :end] = True
            response[i, len(prompt) : end] = True
        batch = {"input_ids": ids, "attention_mask": attention.long(), "response_mask": response}
        if "ref_chosen_logps" in rows[0]:
            values = [value for side in ("chosen", "rejected") for row in rows for value in row[f"ref_{side}_logps"]]
            batch["ref_logps"] = torch.zeros(len(sides), width - 1)
            batch["ref_logps"][response[:, 1:]] = torch.tensor(values)
        for name in (*self.labels, "weight"):
            batch[name] = torch.tensor([row.get(name, 1.0) for row in rows], dtype=torch.float32)
        batch["row"] = torch.tensor([row["row"] for row in rows])
        return batch


def pairs_of(batch: Mapping[str, Tensor], labels: Sequence[str]) -> Pairs:
    """Return the masks ``(N, T - 1)`` and labels of a collated batch."""
    chosen, rejected = batch["response_mask"][:, 1:].chunk(2)
    return Pairs(chosen, rejected, {name: batch[name] for name in labels})
