"""A budget of tokens cuts a device's batch into passes, and nothing but memory and time changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from prefopt import recipes
from prefopt.errors import UserError
from prefopt.trainers.offline import OfflineTrainer
from prefopt.trainers.online import OnlineTrainer
from prefopt.trainers.pairs.batches import PairBatchCollator
from prefopt.trainers.reward import RewardConfig, RewardTrainer
from prefopt.trainers.reward_data import RowCollator
from prefopt.trainers.token_budget import InPasses, check_passes, in_order, padded_tokens, parts_of
from reward_models import RewardModel
from reward_models.prefix_tree import Tree, TreeBatch
from tests.tiny import save_tiny, tiny_gpt2, tiny_llama, tiny_tokenizer
from tests.trainers import token_budget_on_ranks
from tests.trainers.online.support import GROUP, prompts
from tests.trainers.online.support import config as online_config
from tests.trainers.online.support import trainer as online_trainer
from tests.trainers.pairs import pairs, quiet
from tests.trainers.test_offline_two_processes import free_port

SGD = {"optim": "sgd", "learning_rate": 1.0, "lr_scheduler_type": "constant", "max_grad_norm": 0.0}


def answers_to_few_prompts(count: int = 12) -> Dataset:
    """Pairs of many lengths on half as many prompts: some trees hold four answers."""
    rows = pairs(count).to_dict()
    return Dataset.from_dict({**rows, "prompt": [rows["prompt"][i % (count // 2)] for i in range(count)]})


def rows_of(*triples: tuple[list[int], list[int], list[int]]) -> list[dict[str, Any]]:
    """Tokenised pairs, as both pair trainers have them."""
    return [
        {"prompt_ids": p, "chosen_prompt": p, "rejected_prompt": p, "chosen_ids": c, "rejected_ids": r, "row": i,
         "weight": 1.0, "margin": 0.0, "label": 1.0, "head": 0, "prompts": [p, p], "answers": [c, r]}
        for i, (p, c, r) in enumerate(triples)
    ]  # fmt: skip


FOUR = rows_of(
    ([9, 9, 9], [1, 1], [2]),
    ([8, 8], [1, 1], [2, 2]),
    ([9, 9, 9], [3], [4]),
    ([7, 7, 7, 7], [1] * 5, [2] * 6),
)


@pytest.mark.parametrize(
    ("share", "expected"), [(True, [[3], [0, 2], [1]]), (False, [[3], [0], [1], [2]])], ids=["trees", "plain"]
)
@pytest.mark.parametrize("layout", [PairBatchCollator, RowCollator])
def test_worked_example(layout: Any, share: bool, expected: list[list[int]]) -> None:
    """Budget 12. Trees: pair 3 has 4 + 11 = 15 tokens, over the budget, and a pass of its own.

    Pairs 0 and 2 share a prompt of 3: 3 + (2 + 1) + (1 + 1) = 8. Pair 1 has 2 + 4 = 6, and beside the 8 it would make
    2 rows of 8, 16 tokens: a third pass. On plain rows pair 3 has 2 rows of 10, pair 0 has 2 of 5, pairs 1 and 2 have 2
    of 4 each: 20, 10, 8, 8, and no two of them go together.
    """
    collate = layout(share=share) if layout is RowCollator else layout(0, share=share)
    batch = InPasses(collate, 12)(FOUR)
    assert [part["row"].tolist() for part in parts_of(batch)] == expected
    assert batch["row"].tolist() == [0, 1, 2, 3]
    parts = parts_of(batch)
    assert in_order(parts, [part["row"] for part in parts]).tolist() == [0, 1, 2, 3]


def tokens_of(part: Any) -> int:
    """Tokens of a pass, padding counted."""
    trees = part["trees"] if isinstance(part["trees"], list) else [part["trees"]]
    return sum(one["input_ids"].numel() for one in trees)


ids = st.integers(1, 9).flatmap(lambda size: st.just([5] * size))


@given(
    triples=st.lists(st.tuples(st.sampled_from([[1], [2] * 4, [3] * 9, [4] * 9]), ids, ids), min_size=1, max_size=12),
    budget=st.integers(1, 90),
    share=st.booleans(),
    truncated=st.booleans(),
)
def test_no_pass_is_over_the_budget(triples: Any, budget: int, share: bool, truncated: bool) -> None:
    """Each pair once, and each pass under the budget or one pair alone, with as many passes or fewer for a larger one.

    Where prompts were cut for the longer answer alone, the two sides of a pair have different prompts.
    """
    rows = rows_of(*triples)
    for row in rows[::2] if truncated else []:
        row["rejected_prompt"] = row["rejected_prompt"][1:] or [6]
        row["prompts"] = [row["chosen_prompt"], row["rejected_prompt"]]
    for collate in (PairBatchCollator(0, share=share), RowCollator(share)):
        parts = parts_of(InPasses(collate, budget)(rows))
        assert sorted(row for part in parts for row in part["row"].tolist()) == list(range(len(rows)))
        assert all(tokens_of(part) <= budget or len(part["row"]) == 1 for part in parts)
        assert len(parts_of(InPasses(collate, 10**6)(rows))) == 1


@given(
    sizes=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=8),
    width=st.one_of(st.none(), st.integers(2, 40)),
)
def test_tokens_are_those_of_the_batch(sizes: list[tuple[int, int]], width: int | None) -> None:
    """What is counted is what is laid out, with a tree a row and with several trees in rows of ``width``."""
    trees = [Tree([1] * prompt, [[2] * answer, [3]]) for prompt, answer in sizes]
    assert padded_tokens(trees, width) == TreeBatch.collate(trees, width=width).input_ids.numel()


class Passes:
    """What a run did, in order: ``(tokens)`` of each forward pass with gradient, and ``backward``."""

    def __init__(self, trainer: Any, backbone: torch.nn.Module) -> None:
        self.events: list[int | str] = []
        original = trainer.accelerator.backward

        def backward(*given: Any, **named: Any) -> None:
            self.events.append("backward")
            original(*given, **named)

        def seen(module: Any, inputs: Any, named: Any, output: Any) -> None:
            if torch.is_grad_enabled():
                self.events.append(output.last_hidden_state[..., 0].numel())

        trainer.accelerator.backward = backward
        backbone.register_forward_hook(seen, with_kwargs=True)

    def tokens(self) -> list[int]:
        """Tokens of each pass, the forwards between two backwards together."""
        passes, now = [], 0
        for event in self.events:
            if event == "backward":
                passes.append(now)
            now = 0 if event == "backward" else now + int(event)
        return passes


def shaken(model: torch.nn.Module) -> None:
    """Move weights away from the reference."""
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        parameter.data += (0.05 * noise).to(parameter.dtype)


def reward_run(folder: Path, budget: int | None, **settings: Any) -> tuple[Any, Passes]:
    """A step on twelve pairs in two device batches."""
    model = RewardModel.from_backbone(save_tiny(folder / "backbone", tiny_llama(), tiny_tokenizer()))
    torch.nn.init.normal_(model.score_head.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    fixed = {"output_dir": str(folder), "use_cpu": True, "disable_tqdm": True, "save_strategy": "no"}
    fixed |= {"per_device_train_batch_size": 6, "gradient_accumulation_steps": 2, "max_steps": 1, "logging_steps": 1}
    config = RewardConfig(**(fixed | SGD | {"token_budget": budget} | settings))
    run = RewardTrainer(model, config, answers_to_few_prompts(), answers_to_few_prompts(6))
    return run, Passes(run, model.backbone)


def offline_run(folder: Path, budget: int | None, make: Callable[[], Any] = tiny_gpt2, **settings: Any) -> Any:
    """The same with DPO and its reference, in float64."""
    model = make().double()
    config = quiet(
        folder, token_budget=budget, per_device_train_batch_size=6, gradient_accumulation_steps=2, **(SGD | settings)
    )
    data = answers_to_few_prompts(), answers_to_few_prompts(6)
    run = OfflineTrainer(model, config, recipes.build("dpo"), *data, processing_class=tiny_tokenizer())
    shaken(model)
    return run, Passes(run, model.base_model)


def online_run(folder: Path, budget: int | None, make: Callable[[], Any] = tiny_gpt2, **settings: Any) -> Any:
    """Two steps on a generation batch of 16 completions with GRPO and a reference, in float64."""
    recipe = {"recipe": "grpo", "beta": 0.1}
    fixed = {"gradient_accumulation_steps": 2, "steps_per_generation": 2, "num_iterations": 2, "max_steps": 2}
    run = online_trainer(
        folder, model=make().double(), recipe=recipe, token_budget=budget, bf16=False, **(fixed | SGD | settings)
    )
    shaken(run.model)
    return run, Passes(run, run.model.base_model)


def trained(run: Any, passes: Passes) -> tuple[dict[str, Tensor], list[dict[str, float]], list[int]]:
    """Change of the parameters (SGD with rate 1: minus the gradient), log lines, and tokens of the passes."""
    before = {name: value.detach().clone() for name, value in run.model.named_parameters()}
    run.train()
    change = {name: value.detach() - before[name] for name, value in run.model.named_parameters()}
    timed = ("step_time", "epoch", "runtime", "per_second")
    lines = [{k: v for k, v in line.items() if not k.endswith(timed)} for line in run.state.log_history[:-1]]
    return change, lines, passes.tokens()


RUNS: dict[str, tuple[Any, dict[str, Any], int, float]] = {
    "reward": (reward_run, {}, 90, 1e-6),
    "dpo": (offline_run, {}, 90, 1e-10),
    "dpo, plain rows": (offline_run, {"prefix_sharing": "never"}, 150, 1e-10),
    "dpo, precomputed": (offline_run, {"precompute_reference": True}, 90, 1e-6),
    "dpo, llama": (offline_run, {"make": tiny_llama}, 90, 1e-6),
    "grpo": (online_run, {}, 20, 1e-10),
    "grpo, plain rows": (online_run, {"prefix_sharing": "never"}, 30, 1e-6),
    "grpo, llama": (online_run, {"make": tiny_llama}, 20, 1e-6),
    "grpo, checkpointing": (online_run, {"gradient_checkpointing": True}, 20, 1e-10),
}


@pytest.mark.parametrize("name", RUNS)
def test_same_loss_and_gradient(name: str, tmp_path: Path) -> None:
    """No budget, one of several passes a batch, and one of a token: an example a pass. Losses, figures and gradients of
    the optimiser steps agree, and no pass of several examples is over the budget.

    In float64 to 1e-10. Some parts round to float32 whatever the model's type, and there it is 1e-6: a reward head, a
    Llama's norms, the cache of the reference, the fused head of TRL's plain rows.
    """
    make, settings, budget, accuracy = RUNS[name]
    whole, lines, passes = trained(*make(tmp_path / "whole", None, **settings))
    batches = len(passes)
    examples = 12 if make is not online_run else 2 * 16
    assert batches == (2 if make is not online_run else 4)
    assert max(float(value.abs().max()) for value in whole.values()) > 1e-3
    alone: list[int] = []
    for limit in (1, budget):
        run = make(tmp_path / f"{limit}", limit, **settings)
        change, found, tokens = trained(*run)
        for label, value in whole.items():
            torch.testing.assert_close(change[label], value, atol=accuracy, rtol=0)
        for one, other in zip(lines, found, strict=True):
            assert one.keys() == other.keys()
            for figure, number in one.items():
                assert other[figure] == pytest.approx(number, abs=1e-5, rel=1e-5), figure
        if limit == 1:
            assert len(tokens) == examples
            alone = tokens
        else:
            assert batches < len(tokens) < examples
            assert max(tokens) <= max(limit, *alone)
            assert sum(size > limit for size in tokens) <= sum(size > limit for size in alone)


@pytest.mark.parametrize("make", [reward_run, offline_run])
def test_same_evaluation(make: Any, tmp_path: Path) -> None:
    """Six pairs in two batches of four and two: every figure, to 1e-6; predictions in the order of the data."""
    found = []
    for budget in (None, 1, 90):
        run, _ = make(tmp_path / f"{budget}", budget, per_device_eval_batch_size=4)
        metrics = {k: v for k, v in run.evaluate().items() if not k.endswith(("runtime", "per_second", "time"))}
        found.append((metrics, run.predict(run.eval_dataset).predictions))
    for metrics, predictions in found[1:]:
        assert metrics == pytest.approx(found[0][0], abs=1e-6)
        assert predictions == pytest.approx(found[0][1], abs=1e-6)


def test_online_evaluation(tmp_path: Path) -> None:
    """Without gradient the passes' losses are added up, too."""
    found = []
    for budget in (None, 1, 20):
        run, passes = online_run(tmp_path / f"{budget}", budget, eval_dataset=Dataset.from_dict({"prompt": ["1+1="]}))
        found.append(run.evaluate()["eval_loss"])
        assert passes.events == []
    assert found[1:] == pytest.approx([found[0]] * 2, abs=1e-10)


def test_passes_of_completions(tmp_path: Path) -> None:
    """Prompts of 4 bytes, completions of 2 to 5 tokens: trees of 4 + 14 = 18 tokens, two in a batch of 8 rows.

    Budget 18: a group a pass. Budget 13: the longest of a group first, 4 + 5 + 4 = 13, then 4 + 3 + 2 = 9, beside
    which the next group's first, 4 + 5 = 9, does not fit, 2 * 9 = 18: 13, 9, 13, 9.
    Every pass is backwarded before the next.
    """
    settings = {"max_steps": 1, "num_iterations": 1, "gradient_accumulation_steps": 1, "steps_per_generation": 1}
    for budget, expected in ((18, [18, 18]), (13, [13, 9, 13, 9]), (36, [36])):
        run, passes = online_run(tmp_path / f"{budget}", budget, **settings)
        run.train()
        assert passes.tokens() == expected
        assert passes.events[1::2] == ["backward"] * len(expected)


def test_a_loss_of_whole_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that compares a prompt's completions has all of them in one pass: 18 tokens each under a budget of 13."""
    monkeypatch.setattr(OnlineTrainer, "whole_groups", True)
    settings = {"max_steps": 1, "num_iterations": 1, "gradient_accumulation_steps": 1, "steps_per_generation": 1}
    run, passes = online_run(tmp_path, 13, **settings)
    run.train()
    assert passes.tokens() == [18, 18]


def test_a_bad_pass_skips_the_step_and_names_its_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The sixth row's loss is NaN, in a pass that is neither first nor last in its batch: no weight moves."""
    run, _ = reward_run(tmp_path, 1)
    original = run.row_losses

    def poisoned(model: Any, part: Any) -> Any:
        losses, figures = original(model, part)
        return losses * (float("nan") if 5 in part["row"].tolist() else 1.0), figures

    run.row_losses = poisoned
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.train()
    assert run.finite_steps.skipped == 1
    assert "rows: row 6;" in caplog.text
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())


@pytest.mark.parametrize("make", [reward_run, offline_run, online_run])
def test_a_resumed_run_is_the_uninterrupted_run(make: Any, tmp_path: Path) -> None:
    """Four steps, saved after two: parameters are equal to the last bit."""
    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "learning_rate": 1e-2}
    whole, _ = make(tmp_path, 20, **settings)
    whole.train()
    again, _ = make(tmp_path, 20, **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name


def test_two_processes_with_unequal_numbers_of_passes(tmp_path: Path) -> None:
    """Two processes (gloo) under a budget, one without: losses and weights agree to 1e-5.

    On each step the first process has four short pairs, one pass, and the second four long ones, one each.
    """
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port",
               str(free_port()), token_budget_on_ranks.__file__, str(tmp_path)]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    two = json.loads((tmp_path / "result.json").read_text())
    one = token_budget_on_ranks.results(tmp_path / "one", None)
    for trainer, expected in one.items():
        assert two[trainer]["losses"] == pytest.approx(expected["losses"], abs=1e-5)
        assert two[trainer]["weights"] == pytest.approx(expected["weights"], abs=1e-5)
    assert two["reward"]["passes"] == two["offline"]["passes"] == [[1, 1, 1], [4, 4, 4]]
    assert two["online"]["passes"][0] != two["online"]["passes"][1]


def test_passes_without_gradient(tmp_path: Path) -> None:
    """Behaviour and reference log-probabilities of 16 completions on 4 prompts: 18 tokens a group, 4 passes of a budget
    of 18; without one, device batches of 8 rows, two groups each. The numbers are the same.
    """
    found = []
    for budget, expected in ((None, [36, 36]), (18, [18] * 4), (72, [72])):
        run, _ = online_run(tmp_path / f"{budget}", budget)
        run.model.train()
        batch = run._generate_and_score_completions([dict(prompts()[i // GROUP]) for i in range(16)])
        assert run.reference is not None
        seen: list[int] = []
        run.reference.model.base_model.register_forward_hook(
            lambda module, inputs, named, output, seen=seen: seen.append(output.last_hidden_state[..., 0].numel()),
            with_kwargs=True,
        )
        found.append((batch["old_per_token_logps"], run.reference.logps(batch)))
        assert seen == expected
    for behaviour, reference in found[1:]:
        torch.testing.assert_close(behaviour, found[0][0], atol=1e-10, rtol=0)
        torch.testing.assert_close(reference, found[0][1], atol=1e-10, rtol=0)


def test_images_are_refused(tmp_path: Path) -> None:
    """Their tokens are not those of the text."""
    run, _ = online_run(tmp_path, 18)
    with pytest.raises(UserError, match="token_budget counts tokens of text"):
        run._compute_loss(run.model, {"pixel_values": torch.zeros(1)})


@pytest.mark.parametrize("make", [RewardConfig, quiet, online_config])
def test_a_budget_of_nothing_is_refused(make: Any, tmp_path: Path) -> None:
    """With the setting's name."""
    with pytest.raises(UserError, match="token_budget must be at least 1 token, got 0"):
        make(tmp_path, token_budget=0)


def test_where_passes_cannot_differ(tmp_path: Path) -> None:
    """Sharded weights, a balancing loss of experts, an optimiser that steps in every backward pass: each says why."""

    def fake(kind: DistributedType = DistributedType.NO, optim: str = "sgd", budget: int | None = 9) -> Any:
        return SimpleNamespace(
            args=SimpleNamespace(token_budget=budget, optim=optim), accelerator=SimpleNamespace(distributed_type=kind)
        )

    check_passes(fake())
    check_passes(fake(DistributedType.FSDP, budget=None))
    for kind in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        with pytest.raises(UserError, match=f"does not go with sharded weights \\({kind.value}\\)"):
            check_passes(fake(kind))
    with pytest.raises(UserError, match="LOMO"):
        check_passes(fake(optim="adalomo"))
