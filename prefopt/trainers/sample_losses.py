"""Mean token losses of responses under a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor

from prefopt.trainers.judged_batches import JudgedBatchCollator
from prefopt.trainers.judged_tokens import tokenise_judged
from prefopt.trainers.pairs.batches import length, longest, response_mask
from prefopt.trainers.pairs.statistics import pair_statistics
from prefopt.trainers.policies import context_limit, load_tokenizer, policy_config, prepare_tokenizer
from prefopt.trainers.reading import load_to_read, longest_first
from reward_models.formatting import Text
from reward_models.prefix_tree import row_width

Sample = tuple[Text, Text]
"""Prompt and response."""


def mean_losses(
    model: str | Path, groups: Mapping[str, Sequence[Sample]], max_length: int | None = None, batch_size: int = 8,
    dtype: str = "float32", quiet: bool = False,
) -> dict[str, Tensor]:  # fmt: skip
    """Return for each group the mean token loss of each sample, ``-1/T sum_t log p(y_t | x, y_<t)``, ``(N,)`` float64.

    Tokens of the prompt do not count; the end token does. A prompt too long for the model is cut on its left.

    Args:
        model: folder or hub name.
        groups: samples, by what messages call them.
        max_length: longest prompt with response; unset: the model's limit, at most 2048.
        batch_size: samples in one forward pass.
        dtype: of the weights. quiet: no progress bar.

    Raises:
        UserError: a folder without weights; a response that does not fit, before the weights are read.
    """
    tokenizer = load_tokenizer(model)
    pad_id = prepare_tokenizer(tokenizer)
    limit = context_limit(tokenizer, policy_config(model), max_length)
    rows = {name: _tokenised(samples, tokenizer, limit, name) for name, samples in groups.items()}
    accelerator = Accelerator()
    reader, share = load_to_read(model, accelerator, dtype, max(map(longest, rows.values())))
    collate = JudgedBatchCollator(pad_id, (), share, row_width(reader.config))
    found = {}
    for name, some in rows.items():
        mine: list[tuple[int, float]] = []
        lengths = [length(row, share) for row in some]
        for members, batch in longest_first(
            some, collate, accelerator, batch_size, lengths, quiet, f"Losses of {name}"
        ):
            with torch.no_grad():
                logps, mask = pair_statistics(reader, batch)["logps"].double(), response_mask(batch)
            losses = -(logps * mask).sum(1) / mask.sum(1).clamp(min=1)
            mine += zip(members, losses.tolist(), strict=True)
        everything = gather_object(mine) if accelerator.num_processes > 1 else mine
        found[name] = torch.tensor([loss for _, loss in sorted(everything)], dtype=torch.float64)
    return found


def _tokenised(samples: Sequence[Sample], tokenizer: Any, limit: int, name: str) -> Dataset:
    rows = Dataset.from_list([{"prompt": x, "completion": y, "label": True} for x, y in samples])
    tokens = tokenise_judged(rows, tokenizer, limit, "truncate_prompt", (), "raise", Path(), name)
    return tokens.rows.remove_columns("desirable")
