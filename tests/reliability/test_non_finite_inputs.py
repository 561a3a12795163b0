"""Stages without a trainer refuse numbers that are not finite, with a sentence that says where they stand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from prefopt.errors import UserError
from prefopt.games.judged import Judged
from prefopt.games.matrix import MatrixGame, check_policy
from prefopt.trainers.prompt_matching import PromptMatcher
from prefopt.trainers.rewards.completions import Completions
from prefopt.trainers.rewards.scores import RewardSourceError
from prefopt.trainers.rewards.source import RewardSource
from prefopt.trainers.supply.inputs import UserInput
from prefopt.weighting.fit_power_mean import fit_to_values
from reward_models.averaging import average_models
from reward_models.errors import DataError, ModelError
from reward_models.evaluation.calibration import calibrate
from reward_models.evaluation.scaling import ScalingFit
from reward_models.evaluation.temperature import fit_temperature
from reward_models.linear_probe import linear_probe
from reward_models.multi_objective.attributes import fit_attributes
from reward_models.multi_objective.gate import GateSettings, train_gate

NAN, INFINITE = float("nan"), float("inf")


def spoilt(shape: tuple[int, ...], place: tuple[int, ...], value: float = NAN) -> torch.Tensor:
    """Numbers between 0 and 1, one of them not finite."""
    values = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    values[place] = value
    return values


CASES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "linear probe": (
        lambda: linear_probe(torch.rand(4, 3), spoilt((4, 3), (2, 1))),
        DataError,
        r"states of the rejected answers, row 3, column 2: nan is no finite number",
    ),
    "gate, features": (
        lambda: train_gate(spoilt((4, 3), (1, 0), INFINITE), torch.rand(4, 2), torch.rand(4, 2)),
        DataError,
        r"features of the gate's prompts, row 2, column 1: inf is no finite number",
    ),
    "gate, rewards": (
        lambda: train_gate(torch.rand(4, 3), spoilt((4, 2), (3, 1)), torch.rand(4, 2), names=("help", "style")),
        DataError,
        r"rewards of the chosen answers, row 4, style: nan is no finite number",
    ),
    "gate, steps": (
        lambda: train_gate(
            torch.rand(4, 3), torch.full((4, 2), 3e38), torch.full((4, 2), -3e38), GateSettings(width=4, steps=2)
        ),
        DataError,
        r"rewards|step 1 of the gate: loss",
    ),
    "ridge, features": (
        lambda: fit_attributes(spoilt((6, 3), (5, 2)), torch.rand(6, 1), ["help"]),
        DataError,
        r"features, row 6, column 3: nan is no finite number",
    ),
    "ridge, ratings": (
        lambda: fit_attributes(torch.rand(6, 3), spoilt((6, 1), (4, 0), INFINITE), ["help"]),
        DataError,
        r"attribute 'help', row 4: the rating inf lies outside 0 to 1",
    ),
    "temperature": (
        lambda: fit_temperature(spoilt((20,), (7,))),
        DataError,
        r"margins of the held-out pairs, row 8: nan is no finite number",
    ),
    "calibration": (lambda: calibrate(spoilt((5,), (3,), -INFINITE)), DataError, r"margins, row 4: -inf"),
    "scaling": (
        lambda: ScalingFit()([10.0, 20.0, 30.0], [0.5, NAN, 0.3]),
        DataError,
        r"point 1: size 20 with loss nan",
    ),
    "power mean, utilities": (
        lambda: fit_to_values(spoilt((3, 2), (2, 1), INFINITE), torch.rand(3)),
        UserError,
        r"row 3, source 2: the utility is inf",
    ),
    "power mean, values": (
        lambda: fit_to_values(torch.rand(3, 2), spoilt((3,), (0,))),
        UserError,
        r"row 1: the value is nan",
    ),
    "matching prompts": (
        lambda: PromptMatcher(np.array([[0.0], [NAN], [1.0]]), [1, 0, 1]),
        DataError,
        r"prompts of the training data, row 2, column 1: nan",
    ),
    "game, win rates": (
        lambda: MatrixGame(torch.tensor([[0.5, NAN], [0.5, 0.5]], dtype=torch.float64)),
        ValueError,
        r"P\[0, 1\] is nan: a win rate lies outside \[0, 1\]",
    ),
    "game, policy": (
        lambda: check_policy(torch.tensor([[0.5, 0.5], [NAN, 1.0]]), 2),
        ValueError,
        r"policy of game 1 gives answer 0 the probability nan",
    ),
    "game, judged": (
        lambda: Judged(torch.tensor([[0.5, INFINITE], [0.5, 0.5]]), ("policy", "policy")),
        ValueError,
        r"wins\[0, 1\] is inf; a probability, or NaN for no verdict",
    ),
    "game, scores": (
        lambda: Judged(torch.full((2, 2), 0.5), ("policy", "policy"), torch.tensor([1.0, -INFINITE])),
        ValueError,
        r"the score of candidate 1 is -inf",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_where_it_stands(name: str) -> None:
    call, kind, message = CASES[name]
    with pytest.raises(kind, match=message):
        call()


def test_a_missing_verdict_is_no_fault() -> None:
    """NaN says that nobody compared: of candidate 0, one half against itself and .8 against 1 are left, mean .65."""
    wins = torch.tensor([[0.5, 0.8, NAN], [0.2, 0.5, NAN], [NAN, NAN, 0.5]])
    rates = Judged(wins, ("policy",) * 3).rates(others_only=False)
    torch.testing.assert_close(rates[:2], torch.tensor([0.65, 0.35]))
    assert rates[2].isnan()


def test_members_of_an_average(tmp_path: Path) -> None:
    """A member that diverged is named with the tensor, and nothing is written."""
    for name, value in (("fine", 1.0), ("bad", NAN)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"model_type": "llama"}')
        save_file({"w": torch.tensor([1.0, value])}, tmp_path / name / "model.safetensors")
    with pytest.raises(ModelError, match=r"tensor w of .*bad holds NaN or infinity"):
        average_models([tmp_path / "fine", tmp_path / "bad"], tmp_path / "mean")


@pytest.mark.parametrize("value", [INFINITE, -INFINITE])
def test_inputs_that_the_user_supplies(value: float) -> None:
    """A column with infinity is refused with the example; None stays what is not known."""
    given = UserInput("accuracy", column="known")
    batch = Completions(["a", "b"], ["x", "y"], {"known": [0.5, value]})
    with pytest.raises(RewardSourceError, match=r"inputs: 'accuracy' is infinite(.|\n)*completion: 'y'"):
        given(batch, [1, 1])
    assert given(Completions(["a"], ["x"], {"known": [None]}), [1]).isnan().all()
    computed = UserInput("accuracy", source=RewardSource(lambda prompts, completions: [value], ("known",)))
    with pytest.raises(RewardSourceError, match="is infinite"):
        computed(Completions(["a"], ["x"], {}), [1])
