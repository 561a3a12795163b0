"""Answers beside a reference: from ranked answers, or from what several policies wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

from reward_models.data.examples import plain_text
from reward_models.data.loading import load_preferences, load_with_report
from reward_models.data.sources import Data, open_source
from reward_models.errors import DataError

if TYPE_CHECKING:
    import datasets

SAMPLED = ("prompt", "completion", "policy")


def load_triples(source: Data, **options: Any) -> datasets.Dataset:
    """Rows of prompt, reference, chosen, rejected, from any of three kinds of source.

    Pairs with a column ``reference`` stay as they are. Several rated answers to a prompt become `ranked_triples`. Rows
    of prompt, completion and policy (its name) become `policy_triples`. Options are those of `load_preferences`.

    Raises:
        DataError: none of the three, and what `load_preferences` raises.
    """
    import datasets

    names = options.get("columns") or {}
    opened = open_source(source, options.get("split"), options.get("config"))
    first = next(islice((row.value for row in opened.read()), 1), None)
    if isinstance(first, Mapping) and all(names.get(name, name) in first for name in SAMPLED):
        chosen = {key: value for key, value in options.items() if key not in ("pair_rule", "ties")}
        rows, _ = load_with_report(source, "samples", **chosen)
        return datasets.Dataset.from_list(policy_triples(list(rows)))
    pairs = load_preferences(source, **{"pair_rule": "all", **options})
    if "reference" in pairs.column_names:
        return pairs
    if "chosen_rating" not in pairs.column_names:
        raise DataError(
            f"{opened.name} has no column reference, no ratings of several answers to a prompt, and no policies' "
            f"samples ({', '.join(SAMPLED)}); it has {', '.join(pairs.column_names)}"
        )
    return datasets.Dataset.from_list(ranked_triples(pairs))


def ranked_triples(pairs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the pairs among answers that are not the best of their prompt, with the best one as reference.

    Of A > B > C that is one: B beside A is preferred to C beside A. A prompt with two answers gives none.

    Args:
        pairs: every two answers to a prompt, with ``chosen_rating`` and ``rejected_rating``.

    Raises:
        DataError: no prompt has three answers of different ratings.

    Reference: arXiv 2507.05197, equation 8.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in pairs:
        groups.setdefault(repr(row["prompt"]), []).append(row)
    found = []
    for rows in groups.values():
        best = max(rows, key=lambda row: row["chosen_rating"])["chosen"]
        others = (
            row for row in rows if plain_text(best) not in (plain_text(row["chosen"]), plain_text(row["rejected"]))
        )
        found += [{**row, "reference": best} for row in others]
    if not found:
        raise DataError("no prompt has three answers of different ratings: a reference, a better and a worse one")
    return found


def policy_triples(rows: Sequence[Mapping[str, Any]], seed: int = 0) -> list[dict[str, Any]]:
    """Return, for every two samples of one policy, a third of another one: the second beside the first is preferred.

    Each sample that has a fellow of its policy, and a stranger to it, under the same prompt is once a reference.

    Args:
        rows: prompt, completion, policy. seed: of the fellows and strangers drawn.

    Raises:
        DataError: no prompt has two samples of one policy and one of another.

    Reference: arXiv 2507.05197, pre-training.
    """
    draw = Random(seed)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(repr(row["prompt"]), []).append(row)
    found = []
    for members in groups.values():
        for row in members:
            fellows = [one for one in members if one is not row and one["policy"] == row["policy"]]
            strangers = [one for one in members if one["policy"] != row["policy"]]
            if fellows and strangers:
                found.append(
                    {
                        "prompt": row["prompt"],
                        "reference": row["completion"],
                        "chosen": draw.choice(fellows)["completion"],
                        "rejected": draw.choice(strangers)["completion"],
                    }
                )
    if not found:
        raise DataError("no prompt has two samples of one policy and one of another")
    return found
