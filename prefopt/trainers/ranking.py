"""Ranking accuracy of a policy on preference pairs: likelihoods of both answers under policy and reference."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from datasets import Dataset
from torch import Tensor

from prefopt.trainers.pairs.batches import PairBatchCollator, length, longest
from prefopt.trainers.pairs.statistics import pair_statistics
from prefopt.trainers.pairs.tokens import LABEL, PairTokens, tokenise_pairs
from prefopt.trainers.policies import check_policy, context_limit, load_tokenizer, policy_config, prepare_tokenizer
from prefopt.trainers.reading import load_to_read
from prefopt.trainers.reference_cache import SIDES, compute_reference
from reward_models.evaluation import Ranking, RankingAccuracy
from reward_models.prefix_tree import row_width


def rank_pairs(
    policy: str | Path,
    reference: str | Path,
    data: Dataset,
    evaluate: RankingAccuracy | None = None,
    batch_size: int = 8,
    max_length: int | None = None,
    dtype: str = "float32",
    quiet: bool = False,
) -> Ranking:
    """Judge a policy's ranking of pairs beside its reference's and the ideal one.

    One model is in memory at a time, and answers to a prompt share its tokens.

    Args:
        policy, reference: model folders with one tokenizer.
        data: rows of prompt, chosen, rejected; ``label_chosen_preferred`` is the share of raters who chose so.
        evaluate: settings of the evaluation.
        batch_size: pairs a batch. max_length: longest prompt with answer, longer pairs are an error.
        dtype: of both models. quiet: no progress bar.

    Raises:
        UserError: a folder without weights, pairs that don't fit.
    """
    tokenizer = load_tokenizer(policy)
    prepare_tokenizer(tokenizer)
    limit = context_limit(tokenizer, policy_config(policy), max_length)
    check_policy(reference)
    needs = {LABEL} if LABEL in data.column_names else set()
    pairs = tokenise_pairs(data, tokenizer, limit, "raise", needs, name="evaluation data")
    ours, theirs = (_likelihoods(name, pairs, tokenizer, batch_size, dtype, quiet) for name in (policy, reference))
    share = torch.tensor(pairs.rows[LABEL], dtype=torch.float64) if needs else None
    lengths = torch.tensor([[len(row[f"{side}_ids"]) for side in SIDES] for row in pairs.rows])
    return (evaluate or RankingAccuracy())(ours, theirs, share, lengths.clamp(min=1))


def _likelihoods(name: str | Path, pairs: PairTokens, tokenizer: object, batch: int, dtype: str, quiet: bool) -> Tensor:
    """Return ``(N, 2)``: summed log-probabilities of chosen and rejected."""
    accelerator = Accelerator()
    model, share = load_to_read(name, accelerator, dtype, longest(pairs.rows))
    collate = PairBatchCollator(prepare_tokenizer(tokenizer), (), share, row_width(model.config))
    with torch.no_grad():
        found = compute_reference(
            pairs.rows, lambda part: pair_statistics(model, part)["logps"], collate, accelerator, batch, quiet,
            [length(row, share) for row in pairs.rows],
        )  # fmt: skip
    return torch.tensor([[float(value.double().sum()) for value in found[side]] for side in SIDES]).T
