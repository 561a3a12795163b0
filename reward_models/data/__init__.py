"""Preference data: any known source becomes one schema, checked row by row.

The schema of `load_preferences`

======================== ==================================================================================
prompt, chosen, rejected all text, or all lists of ``{"role", "content"}``: text sources stay text, chat
                         sources stay chat. Answers never repeat the prompt. Of text, ``prompt + chosen`` is the
                         whole. A source that mixes the two (messages as prompt, text as answer) becomes chat.
margin                   float, where the source has one, or the gap of two ratings
label_chosen_preferred   float in [0, 1], where the source has soft labels or ties are kept: the probability that
                         chosen is the better one; 0.5 is a tie
subset                   where the source has subsets, domains or scenarios, by this one name
others                   attributes of the source under their names; those of one answer begin with ``chosen_`` or
                         ``rejected_``. What is neither a number nor text is kept as JSON text
======================== ==================================================================================

`load_unpaired` gives prompt, completion, label; `load_prompts` gives prompt and what a verifier needs,
`load_solutions` prompt, steps and what is known of them; `load_with_report` loads any kind, with a `Report`. `validate`
looks a source over and returns a `Report`. Shapes are recognised by their columns, see `reward_models.data.shapes`.

Bad rows (see `REASONS`) stop the load or go to quarantine. Duplicates, contradictory pairs and leaks between splits
are no fault of a single row: they are counted and reported, and their rows stay.
"""

from __future__ import annotations

from reward_models.data.checking import Leak, validate, validate_splits
from reward_models.data.faults import REASONS, BadRow, RowFault
from reward_models.data.loading import (
    load_preferences,
    load_preferences_with_report,
    load_prompts,
    load_solutions,
    load_unpaired,
    load_with_report,
    sift,
)
from reward_models.data.options import LoadOptions
from reward_models.data.pairing import PAIR_RULES
from reward_models.data.quarantine import read_quarantine
from reward_models.data.report import Report
from reward_models.data.shape import Shape
from reward_models.data.triples import load_triples, policy_triples, ranked_triples

LOADERS = {"pairs": load_preferences, "solutions": load_solutions, "triples": load_triples}
"""What `RowLoss.reads` may name, and what loads it."""

__all__ = [
    "LOADERS",
    "PAIR_RULES",
    "REASONS",
    "BadRow",
    "Leak",
    "LoadOptions",
    "Report",
    "RowFault",
    "Shape",
    "load_preferences",
    "load_preferences_with_report",
    "load_prompts",
    "load_solutions",
    "load_triples",
    "load_unpaired",
    "load_with_report",
    "policy_triples",
    "ranked_triples",
    "read_quarantine",
    "sift",
    "validate",
    "validate_splits",
]
