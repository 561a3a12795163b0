"""From what the user names to tokenised pairs, before any model is loaded."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from datasets import Dataset

from prefopt.trainers.offline_config import OfflineConfig
from prefopt.trainers.pair_tokens import LABEL, PairTokens, check_pairs, tokenise_pairs
from prefopt.trainers.policies import context_limit
from reward_models.data import load_preferences


def loaded(
    data: Dataset | str | Path | None, config: OfflineConfig, needs: Collection[str], name: str
) -> Dataset | None:
    """Return validated pairs with the columns that the objective reads; None for None.

    Bad rows stop the run, or go to ``quarantine_training.jsonl`` or ``quarantine_evaluation.jsonl`` in the output
    directory. Ties are kept where the objective reads soft labels, and dropped otherwise.
    """
    if data is None:
        return None
    if isinstance(data, Dataset):
        check_pairs(data, needs, name)
    pairs = load_preferences(
        data,
        ties="soft" if LABEL in needs else "drop",
        on_bad_row=config.on_bad_row,
        quarantine_path=Path(config.output_dir) / f"quarantine_{name.split()[0]}.jsonl",
    )
    check_pairs(pairs, needs, name)
    return pairs


def tokenised(
    data: Dataset | PairTokens | None,
    config: OfflineConfig,
    needs: Collection[str],
    tokenizer: Any,
    model_config: Any,
    name: str,
) -> PairTokens | None:
    """Return tokenised pairs within the model's context; None for None, and tokenised ones as they are."""
    if data is None or isinstance(data, PairTokens):
        return data
    check_pairs(data, needs, name)
    limit = context_limit(tokenizer, model_config, config.max_length)
    quarantine = Path(config.output_dir) / f"quarantine_{name.split()[0]}_lengths.jsonl"
    return tokenise_pairs(data, tokenizer, limit, config.over_length, needs, config.on_bad_row, quarantine, name)
