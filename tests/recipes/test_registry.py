"""How recipes are built, combined and described."""

from __future__ import annotations

import dataclasses

import pytest

from prefopt import recipes
from prefopt.errors import UserError
from prefopt.online.aggregate import DeltaL
from prefopt.online.gate import SAPO, Clip
from prefopt.papers import PAPERS
from prefopt.recipes.registry import RECIPES


def test_a_slot_from_another_recipe():
    """gdpo with the gate of sapo and the aggregation of delta_l keeps the rest of gdpo."""
    mixed = recipes.build("gdpo", gate="sapo", aggregate="delta_l")
    assert mixed.gate == SAPO(1.0, 1.05)
    assert mixed.aggregate == DeltaL(0.75)
    assert mixed.weighting == recipes.build("gdpo").weighting


def test_a_slot_with_settings_from_another_recipe():
    assert recipes.build("gdpo", gate={"recipe": "sapo", "tau_negative": 1.2}).gate == SAPO(1.0, 1.2)


def test_a_part_or_an_objective_fills_a_slot():
    assert recipes.build("grpo", gate=SAPO()).gate == SAPO()
    assert recipes.build("grpo", weighting=recipes.build("mo_grpo")).weighting == recipes.build("mo_grpo").weighting
    assert recipes.build("dr_grpo", regularise=recipes.build("grpo", beta=0.1).regularise[0]).needs == {"ref_logps"}


def test_no_reference_is_asked_for_without_a_penalty():
    assert recipes.build("grpo").needs == frozenset()
    assert recipes.build("grpo", beta=0.04).needs == {"ref_logps"}


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(recipes.UnknownRecipe, match=r"unknown recipe 'gropo'\. Did you mean 'grpo'\?"):
        recipes.build("gropo")


def test_letters_in_the_wrong_order_are_recognised():
    """gpdo is as near to gspo as to gdpo by common letters; it has the same letters as gdpo."""
    with pytest.raises(recipes.UnknownRecipe, match=r"Did you mean 'gdpo'\?"):
        recipes.build("gpdo")


def test_unknown_kind_names_the_nearest():
    with pytest.raises(UserError, match=r"Did you mean 'weighting'\?"):
        recipes.names("weightings")


def test_unknown_setting_names_the_nearest():
    with pytest.raises(TypeError, match=r"recipe 'ngrpo' has no setting 'clip_hi'\. Did you mean 'clip_high'\?"):
        recipes.build("ngrpo", clip_hi=0.3)


def test_a_setting_whose_slot_was_replaced_is_refused():
    """clip_low would be read by nobody: silently ignoring it would be a lie."""
    with pytest.raises(TypeError, match="setting 'clip_low' of recipe 'grpo' acts on gate, which was replaced"):
        recipes.build("grpo", gate="sapo", clip_low=0.1)
    assert recipes.build("grpo", gate="sapo", ddof=0).gate == SAPO()


def test_a_mapping_without_a_recipe_is_refused():
    with pytest.raises(TypeError, match="names no recipe"):
        recipes.build("grpo", gate={"tau_negative": 1.2})


def test_a_slot_that_the_other_kind_lacks_is_refused():
    with pytest.raises(TypeError, match="has no slot 'gate'"):
        recipes.build("grpo", gate="dpo")


def test_info_names_the_slots_that_differ_from_the_baseline():
    """ngrpo differs from grpo in advantage, clip and filter; grpo is the baseline itself and fills all slots."""
    assert recipes.info("ngrpo").slots == ("advantage", "gate", "sampling")
    assert recipes.info("gdpo").slots == ("weighting",)
    assert recipes.info("delta_l").slots == ("advantage", "gate", "aggregate")
    assert recipes.info("grpo").slots == recipes.build("grpo").slot_names()


def test_every_recipe_is_described():
    """A title, a year, a summary sentence, a claim, a confidence, a card; and a paper that is in the list."""
    for name in recipes.names():
        info = recipes.info(name)
        assert info.title, name
        assert 1950 < info.year < 2100, name
        assert info.summary.endswith("."), name
        assert info.claim.endswith("."), name
        assert info.confidence in ("A", "B", "C"), name
        assert info.card, name
        assert not info.arxiv or info.arxiv in PAPERS, name


def test_every_part_names_a_known_paper():
    for name in recipes.names():
        built = recipes.build(name)
        if hasattr(built, "parts"):
            for _, part in built.parts():
                assert not part.arxiv or part.arxiv in PAPERS, part
                assert type(part).__doc__, part


def test_parts_are_values():
    """Frozen, comparable, hashable."""
    assert Clip() == Clip()
    assert hash(Clip()) == hash(Clip())
    with pytest.raises(dataclasses.FrozenInstanceError):
        Clip().low = 0.3


def test_a_recipe_name_is_taken_once():
    assert RECIPES
    with pytest.raises(ValueError, match="recipe name 'grpo' is taken"):

        @recipes.recipe(kind="online", card="", confidence="A", claim="")
        def grpo():
            """Again."""
