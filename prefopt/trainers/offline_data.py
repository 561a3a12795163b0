"""From what the user names to tokenised pairs, before any model is loaded."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from datasets import Dataset

from prefopt.errors import UserError
from prefopt.trainers.data_record import record_data
from prefopt.trainers.judged_tokens import load_judged, tokenise_judged, without_partners
from prefopt.trainers.offline_config import OfflineConfig
from prefopt.trainers.pairs.tokens import LABEL, PairTokens, check_pairs, tokenise_pairs
from prefopt.trainers.policies import context_limit
from reward_models.data import load_preferences_with_report


def loaded(
    data: Dataset | PairTokens | str | Path | None,
    config: OfflineConfig,
    needs: Collection[str],
    name: str,
    unpaired: bool = False,
) -> Dataset | PairTokens | None:
    """Return validated pairs, or judged responses if ``unpaired``, with what the objective reads.

    None for None, and tokenised ones as they are.

    Bad rows stop the run, or go to ``quarantine_training.jsonl`` or ``quarantine_evaluation.jsonl`` in the output
    directory. Ties are kept where the objective reads soft labels, and dropped otherwise.
    """
    if data is None or isinstance(data, PairTokens):
        return data
    quarantine = Path(config.output_dir) / f"quarantine_{name.split()[0]}.jsonl"
    if unpaired:
        return load_judged(data, config.on_bad_row, quarantine, name)
    if without_partners(data):
        raise UserError(
            f"{name} holds responses that were judged one by one; recipes for them are kto and bco, and others need "
            "pairs: prompt, chosen, rejected"
        )
    if isinstance(data, Dataset):
        check_pairs(data, needs, name)
    pairs, report = load_preferences_with_report(
        data,
        ties="soft" if LABEL in needs else "drop",
        on_bad_row=config.on_bad_row,
        quarantine_path=quarantine,
    )
    check_pairs(pairs, needs, name)
    record_data(config.output_dir, name, report)
    return pairs


def tokenised(
    data: Dataset | PairTokens | None,
    config: OfflineConfig,
    needs: Collection[str],
    tokenizer: Any,
    model_config: Any,
    name: str,
    unpaired: bool = False,
) -> PairTokens | None:
    """Return tokenised pairs, or judged responses if ``unpaired``, within the model's context.

    None is returned for None, and tokenised ones as they are.
    """
    if data is None or isinstance(data, PairTokens):
        return data
    limit = context_limit(tokenizer, model_config, config.max_length)
    quarantine = Path(config.output_dir) / f"quarantine_{name.split()[0]}_lengths.jsonl"
    if unpaired:
        return tokenise_judged(data, tokenizer, limit, config.over_length, needs, config.on_bad_row, quarantine, name)
    check_pairs(data, needs, name)
    return tokenise_pairs(data, tokenizer, limit, config.over_length, needs, config.on_bad_row, quarantine, name)
