"""An optimiser named in the settings drives each trainer."""

from __future__ import annotations

import pytest
import torch

from prefopt.errors import UserError
from prefopt.optimisers import LIFT, MGUPAdamW, MGUPMuon
from prefopt.optimisers.principal import principal_entries
from prefopt.trainers.offline import OfflineTrainer, align_offline, offline_objective
from prefopt.trainers.optimiser import OptimiserArguments
from prefopt.trainers.reward import RewardTrainer
from reward_models import RewardModel
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer
from tests.trainers import test_reward
from tests.trainers.online import support
from tests.trainers.pairs import pairs, quiet

PLAIN = "adamw_torch_fused"
SPARSE = {"recipe": "lift", "budget_rank": 1, "filter_rank": 1}
EVEN = {"lr_scheduler_type": "constant", "warmup_steps": 0, "max_steps": 1, "weight_decay": 0.0, "learning_rate": 1e-2}


def offline(folder, **settings):
    return OfflineTrainer(
        tiny_llama(),
        (arguments := quiet(folder, optim=PLAIN, **EVEN, **settings)),
        offline_objective(arguments),
        pairs(),
        processing_class=tiny_tokenizer(),
    )


def online(folder, **settings):
    return support.trainer(folder, **EVEN, **settings)


def reward(folder, **settings):
    backbone = save_tiny(folder / "backbone", tiny_llama(), tiny_tokenizer())
    return RewardTrainer(
        RewardModel.from_backbone(backbone), test_reward.config(folder, **EVEN, **settings), test_reward.pairs()
    )


TRAINERS = pytest.mark.parametrize("make", [reward, offline, online])


def hidden(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights of attention and feed-forward layers."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.ndim == 2 and "layers" in name}


@TRAINERS
def test_lift_moves_principal_entries_only(tmp_path, make):
    """One step: of each m x n hidden matrix nothing but the (m + n) * 1 principal entries of its start has moved.

    All of these but those without gradient have: more than nine tenths.
    """
    trainer = make(tmp_path, optimiser=SPARSE)
    before = hidden(trainer.model)
    trainer.train()
    assert isinstance(trainer.optimizer.optimizer, LIFT)
    after = hidden(trainer.model)
    for name, start in before.items():
        learned = principal_entries(start, 1, sum(start.shape))
        moved = (after[name] != start).flatten().nonzero().flatten()
        assert torch.isin(moved, learned).all(), name
        assert len(moved) > 0.9 * len(learned), name


@TRAINERS
@pytest.mark.parametrize(("form", "kind"), [("adamw", MGUPAdamW), ("muon", MGUPMuon)])
def test_mgup_drives_each_trainer(tmp_path, make, form, kind):
    """The settings reach the optimiser: rates of the run, factors of the recipe, and groups of matrices and the rest.

    AdamW's first step moves a coordinate by lr sqrt(1 - b2) / (1 - b1) phi (1 - b1) |g| / (sqrt(1 - b2) |g| + eps), at
    most lr phi: .02 at lr .01 with the factor 2, and nearly that at the largest.
    """
    trainer = make(tmp_path, optimiser={"recipe": "mgup", "form": form})
    before = hidden(trainer.model)
    trainer.train()
    optimiser = trainer.optimizer.optimizer
    assert isinstance(optimiser, kind)
    assert {(group["large"], group["small"]) for group in optimiser.param_groups} == {(2.0, 0.5)}
    assert {group["matrices"] for group in optimiser.param_groups} == {True, False}
    after = hidden(trainer.model)
    largest = max(float((after[name] - start).abs().max()) for name, start in before.items())
    if form == "adamw":
        assert largest == pytest.approx(0.02, rel=0.02)
    assert largest > 0


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    """Six steps, entries chosen anew after steps 2 and 5; resumed after step 3, bit for bit the same weights."""
    settings = {
        "optim": PLAIN, "optimiser": {**SPARSE, "interval": 3}, "max_steps": 6, "save_strategy": "steps",
        "save_steps": 3, "per_device_train_batch_size": 2, "learning_rate": 1e-3,
    }  # fmt: skip
    found = []
    for resume in (None, str(tmp_path / "run" / "checkpoint-3")):
        done = align_offline(
            tiny_llama(), pairs(7), quiet(tmp_path / "run", **settings), tokenizer=tiny_tokenizer(), resume_from=resume
        )
        found.append(torch.cat([p.detach().flatten() for p in done.model.parameters()]))
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimiser": "mgpu"}, "Did you mean 'mgup'"),
        ({"optimiser": "grpo"}, "of kind online, not optimiser; those are lift, mgup"),
        ({"optimiser": {"share": 0.5}}, "names no recipe"),
        ({"optimiser": {"recipe": "mgup", "shares": 0.5}}, "Did you mean 'share'"),
        ({"optimiser": {"recipe": "mgup", "share": 2}}, "share lies above 0"),
        ({"optimiser": "mgup", "adam_beta1": 0.5}, "adam_beta1 has no effect beside optimiser: mgup"),
        ({"optimiser": "lift", "optim": "sgd"}, "optim has no effect beside optimiser: lift"),
    ],
)
def test_what_cannot_work_is_refused_before_a_model_is_loaded(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        quiet(tmp_path, **{"optim": PLAIN, **settings})


def test_two_optimisers_are_one_too_many(tmp_path):
    """One passed as an object and another named: the second would be lost without a word."""
    model = tiny_llama()
    arguments = quiet(tmp_path, optim=PLAIN, optimiser="mgup")
    assert isinstance(arguments, OptimiserArguments)
    with pytest.raises(UserError, match="keep one"):
        OfflineTrainer(
            model, arguments, offline_objective(arguments), pairs(), processing_class=tiny_tokenizer(),
            optimizers=(torch.optim.SGD(model.parameters(), lr=0.1), None),
        )  # fmt: skip
