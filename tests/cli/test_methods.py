"""``prefopt methods``: the list and the page of one recipe."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prefopt import recipes
from prefopt.cli import main
from prefopt.cli.recipe_facts import prose


def as_json(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    assert main(["methods", *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_list_holds_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    rows = as_json(capsys)
    assert [row["name"] for row in rows] == recipes.names()
    assert {row["kind"] for row in as_json(capsys, "--kind", "offline")} == {"offline"}
    main(["methods"])
    table = capsys.readouterr().out
    assert [row["name"] for row in rows if f" {row['name']} " not in table] == []


def test_gdpo_page(capsys: pytest.CaptureFixture[str]) -> None:
    """GDPO is GRPO with one slot changed: the weighting acts on advantages. Its claim and papers come along."""
    page = as_json(capsys, "gdpo")
    assert (page["arxiv"], page["year"], page["slots"]) == ("2601.05242", 2026, ["weighting"])
    parts = {part["slot"]: part for part in page["composition"]}
    assert (parts["weighting"]["part"], parts["weighting"]["own"]) == ("GDPO", True)
    assert (parts["advantage"]["part"], parts["advantage"]["own"]) == ("GroupNormalised", False)
    assert parts["advantage"]["settings"] == {"ddof": 1, "eps": 1e-4}
    assert "``a_i = sum_k w_k * A_{i,k}``" in parts["weighting"]["formula"]
    assert {"token_weight", "regularise"} <= set(page["empty_slots"])
    assert page["needs"] == []
    assert "eprint = {2601.05242}" in page["cite"]
    assert "eprint = {2402.03300}" in page["cite"]


def test_dpo_needs_a_reference(capsys: pytest.CaptureFixture[str]) -> None:
    """An alias leads to the recipe; the need comes with shape, meaning and cost."""
    page = as_json(capsys, "dpo")
    assert (page["name"], page["aliases"], page["baseline"]) == ("sigmoid", ["dpo"], True)
    assert page["needs"] == [
        {
            "name": "ref_logps",
            "shape": "(N, T)",
            "meaning": "log-probabilities under the reference policy",
            "cost": "one forward pass of the reference",
        }
    ]


@pytest.mark.parametrize("name", recipes.names())
def test_every_page_says_what_the_recipe_computes(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Composition and formulas of every recipe come from its parts; none may be silent."""
    page = as_json(capsys, name)
    assert page["claim"]
    assert page["summary"]
    assert [part["part"] for part in page["composition"] if not (part["formula"] and part["summary"])] == []
    assert main(["methods", name]) == 0
    shown = capsys.readouterr().out
    assert [part["part"] for part in page["composition"] if f"{part['part']}(" not in shown] == []
    assert [heading for heading in ("Composition", "Formulas", "Settings") if heading not in shown] == []


def test_unknown_recipe_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "gdop"]) == 2
    assert capsys.readouterr().err == (
        "Error: unknown recipe 'gdop'. Did you mean 'gdpo'? `prefopt methods` lists all of them.\n"
    )


def test_prose_stops_at_the_sections() -> None:
    class Documented:
        """``y = 2 x``.

        More of it.

        Attributes:
            x: a number.
        """

    assert prose(Documented) == "``y = 2 x``.\n\nMore of it."


def test_an_optimisers_page(capsys: pytest.CaptureFixture[str]) -> None:
    """Shows the optimiser's formula and settings, not those of the choice that holds it."""
    (part,) = as_json(capsys, "lift")["composition"]
    assert part["part"] == "LIFT"
    assert part["settings"]["interval"] == 400
    assert "largest |W_r|" in part["formula"].replace("`", "")
