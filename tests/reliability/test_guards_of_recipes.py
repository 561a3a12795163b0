"""Every recipe, given one row with a number that is not finite: the step is skipped or refused, nothing moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from prefopt import recipes
from prefopt.batch import NEEDS, PairOutputs, PolicyOutputs, Rollouts
from prefopt.trainers.guards.finite_rows import OF_MODELS, OF_WHOLE_BATCHES, prepare_finite, sound_policy, sound_rows
from tests.contract.offline_properties import PROPERTIES
from tests.contract.online_samples import policy, rollouts
from tests.offline import test_logged, test_scored_text
from tests.offline.examples import random_batch
from tests.offline.unpaired_examples import random_judged
from tests.reliability.guard_bench import Bench, same

ONLINE = [name for kind in ("online", "weighting") for name in recipes.names(kind)]
BAD = [float("nan"), float("inf"), float("-inf")]
ROW = 4
SINGLE = {
    "bco": random_judged,
    "kto": random_judged,
    "clipped_ips": test_logged.batch,
    "exponential_smoothing": test_logged.batch,
    "ips": test_logged.batch,
    "conditional_pretraining": test_scored_text.batch,
}


def spoilt(values: Tensor, bad: float, row: int = ROW) -> Tensor:
    """Row 4 with ``bad`` at its first token, or its only number; row 0 of what stands once for the whole batch."""
    found = values.detach().clone()
    flat = found.view(len(found), -1)
    flat[row if len(found) > row else 0, 0] = bad
    return found


def online_step(name: str, batch: Rollouts, added: float = 0.0) -> tuple[bool, bool, Tensor]:
    """One guarded step on the log-probabilities; whether it was taken, whether all stayed, and which rows are named.

    ``added`` is put on the policy's log-probability of row 4's first token.
    """
    objective = recipes.build(name)
    outputs = policy(objective, rollouts(objective))
    bench = Bench(outputs.logps)
    before = bench.everything()
    shift = torch.zeros_like(bench.theta)
    shift[ROW, 0] = added
    now = PolicyOutputs(bench.theta + shift, outputs.extras)
    try:
        prepared, sound = prepare_finite(objective, batch)
        prepared = objective.refine(batch, prepared, PolicyOutputs(now.logps.detach(), now.extras))
        sound = sound & sound_policy(now, batch.mask)
        taken = bench.step(objective.loss(batch, prepared, now), sound)
    except ValueError:
        return False, same(before, bench.everything()), torch.arange(len(batch)) != ROW
    return taken, same(before, bench.everything()), sound


@pytest.mark.parametrize("name", ONLINE)
def test_a_finite_batch_is_trained_on(name: str) -> None:
    """Without it nothing below would mean anything: no row is blamed and the step is taken."""
    taken, _, sound = online_step(name, rollouts(recipes.build(name)))
    assert taken
    assert sound.all()


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ONLINE)
def test_the_policys_logps(name: str, bad: float) -> None:
    """Parameter, moments and step counter of AdamW are equal bit for bit, and of 12 rows row 4 is named."""
    taken, stayed, sound = online_step(name, rollouts(recipes.build(name)), bad)
    assert not taken
    assert stayed
    assert (~sound).nonzero().flatten().tolist() == [ROW]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ONLINE)
def test_what_models_say_at_sampling_time(name: str, bad: float) -> None:
    """Log-probabilities of the behaviour policy, and each input that a model gives: row 4 is named, nothing moves."""
    objective = recipes.build(name)
    clean = rollouts(objective)
    cases = {"logps": replace(clean, logps=spoilt(clean.logps, bad))}
    for extra in clean.extras.keys() & {*OF_MODELS, *OF_WHOLE_BATCHES}:
        cases[extra] = replace(clean, extras={**clean.extras, extra: spoilt(clean.extras[extra], bad)})
    for where, batch in cases.items():
        taken, stayed, sound = online_step(name, batch)
        assert not taken, where
        assert stayed, where
        named = (~sound).nonzero().flatten().tolist()
        assert ROW in named, where
        if where not in OF_WHOLE_BATCHES:
            assert named == [ROW], where


def offline_step(name: str, batch: Any, added: float = 0.0) -> tuple[bool, bool, Tensor]:
    """As `online_step`; the parameter is the log-probabilities of the chosen, or only, responses."""
    objective = recipes.build(name)
    outputs, reference, rows = batch
    paired = isinstance(outputs, PairOutputs)
    bench = Bench(outputs.chosen_logps if paired else outputs.logps)
    before = bench.everything()
    shift = torch.zeros_like(bench.theta)
    shift[ROW, 0] = added
    now = replace(outputs, **{"chosen_logps" if paired else "logps": bench.theta + shift})
    try:
        losses = objective.losses(now, reference, rows)
        sound = sound_rows(losses, (now, reference), rows)
        taken = bench.step(losses.mean(), sound)
    except ValueError:
        return False, same(before, bench.everything()), torch.arange(len(rows)) != ROW
    return taken, same(before, bench.everything()), sound


OFFLINE = dict.fromkeys(PROPERTIES, random_batch) | SINGLE


def test_every_offline_recipe_is_here() -> None:
    assert set(OFFLINE) == set(recipes.names("offline"))


@pytest.mark.parametrize("name", OFFLINE)
def test_finite_rows_are_trained_on(name: str) -> None:
    taken, _, sound = offline_step(name, OFFLINE[name]())
    assert taken
    assert sound.all()


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", OFFLINE)
def test_the_policy_offline(name: str, bad: float) -> None:
    """The row is among those that are named; rows whose loss compares them with it may be, too."""
    taken, stayed, sound = offline_step(name, OFFLINE[name](), bad)
    assert not taken
    assert stayed
    assert not sound[ROW]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", OFFLINE)
def test_the_reference_and_the_labels_offline(name: str, bad: float) -> None:
    """The reference's log-probabilities, and each number of the row that the recipe reads."""
    needs = recipes.build(name).needs
    outputs, reference, rows = OFFLINE[name]()
    cases: dict[str, Any] = {}
    if "ref_logps" in needs:
        field = "rejected_logps" if isinstance(reference, PairOutputs) else "logps"
        cases["reference"] = (outputs, replace(reference, **{field: spoilt(getattr(reference, field), bad)}), rows)
    for label in {label for label in rows.extras if label in needs and NEEDS[label].shape == "(N,)"}:
        extras = {**rows.extras, label: spoilt(rows.extras[label], bad)}
        cases[label] = (outputs, reference, replace(rows, extras=extras))
    for where, batch in cases.items():
        taken, stayed, sound = offline_step(name, batch)
        assert not taken, where
        assert stayed, where
        assert not sound[ROW], where
