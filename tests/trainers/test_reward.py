"""Reward trainer: the loss of a batch does not depend on how it is cut, a resumed run is the same run."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from datasets import Dataset
from torch.nn.functional import softplus
from torch.testing import assert_close
from transformers import TrainerCallback

from prefopt.errors import UserError
from prefopt.trainers.adapters import AdapterArguments
from prefopt.trainers.guards.mixin import NonFiniteError
from prefopt.trainers.reward import RewardConfig, RewardTrainer, train_reward
from prefopt.trainers.reward_data import RowCollator
from reward_models import RewardModel
from reward_models.errors import ModelError
from reward_models.losses import Example, Focal, RaoKupper, RowLoss
from tests.tiny import save_tiny, tiny_bert, tiny_llama, tiny_tokenizer

RANKS = Path(__file__).with_name("reward_on_ranks.py")


def pairs(count: int = 24, seed: int = 0) -> Dataset:
    """Prompts of random letters; chosen answers end in x, rejected ones in y, of random lengths."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        prompt = "".join(draw.choices("abc", k=draw.randint(2, 9)))
        rows.append(
            {"prompt": prompt, "chosen": prompt[0] + "x" * draw.randint(1, 12), "rejected": "y" * draw.randint(1, 12)}
        )
    return Dataset.from_list(rows)


@pytest.fixture
def backbone(tmp_path):
    return save_tiny(tmp_path / "backbone", tiny_llama(), tiny_tokenizer())


def config(folder, **settings) -> RewardConfig:
    base = {
        "learning_rate": 1e-2,
        "per_device_train_batch_size": 4,
        "disable_tqdm": True,
        "save_strategy": "no",
        "use_cpu": True,
        "logging_steps": 1,
        "seed": 3,
    }
    return RewardConfig(output_dir=str(folder), **{**base, **settings})


def weights(model: RewardModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_it_learns_and_the_folder_scores_like_the_model(tmp_path, backbone):
    """x answers beat y answers on held-out prompts; the folder scores the same and says how it was made."""
    done = train_reward(backbone, pairs(64), config(tmp_path / "out", num_train_epochs=2), pairs(32, seed=1))
    assert done.metrics["accuracy"] == 1.0
    assert done.metrics["loss"] < 0.2
    again = RewardModel.from_pretrained(done.folder)
    rows = pairs(8, seed=2)
    scores = done.model.score(rows["prompt"], rows["chosen"])
    assert_close(again.score(rows["prompt"], rows["chosen"]), scores, atol=1e-6, rtol=0)
    assert again.statistics["score"]["rows"] == 128
    assert json.loads((done.folder / "training_args.json").read_text())["loss"] == "bradley_terry"
    assert not (done.folder / "training_args.bin").exists()


def test_evaluation_is_the_mean_over_pairs(tmp_path, backbone):
    """10 pairs in batches of 4, 4, 2: loss and accuracy equal those computed from `score` by hand."""
    model = RewardModel.from_backbone(backbone)
    data = pairs(10)
    settings = config(tmp_path / "out", per_device_eval_batch_size=4, centring=0.5, num_train_epochs=0)
    found = RewardTrainer(model, settings, data, data).evaluate()
    chosen = model.score(data["prompt"], data["chosen"])[:, 0]
    rejected = model.score(data["prompt"], data["rejected"])[:, 0]
    expected = softplus(rejected - chosen).mean() + 0.5 * (chosen + rejected).square().mean()
    assert found["eval_loss"] == pytest.approx(expected.item(), abs=1e-5)
    assert found["eval_accuracy"] == pytest.approx((chosen > rejected).float().mean().item())
    assert found["eval_margin"] == pytest.approx((chosen - rejected).mean().item(), abs=1e-5)
    assert found["eval_mean_score"] == pytest.approx(((chosen + rejected) / 2).mean().item(), abs=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_micro_batches_do_not_change_a_step(tmp_path, backbone, size):
    """10 pairs as one batch, or as micro-batches of 1, 2 or 3 (the last one smaller): same loss, same gradient step.

    SGD with rate 1 and no clipping makes the parameter change equal to minus the gradient.
    """
    plain = {"optim": "sgd", "learning_rate": 1.0, "lr_scheduler_type": "constant", "max_grad_norm": 0.0}
    steps = []
    for batch, accumulation in ((10, 1), (size, -(-10 // size))):
        model = RewardModel.from_backbone(backbone)
        torch.manual_seed(0)
        model.score_head.weight.data.normal_()
        before = weights(model)
        settings = config(
            tmp_path / "out",
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
            max_steps=1,
            **plain,
        )
        trainer = RewardTrainer(model, settings, pairs(10))
        trainer.train()
        change = {name: value - before[name] for name, value in weights(model).items()}
        steps.append((change, trainer.state.log_history[0]))
    (whole, log), (cut, cut_log) = steps
    assert max(value.abs().max() for value in whole.values()) > 1e-3
    for name in whole:
        assert_close(cut[name], whole[name], atol=2e-6, rtol=1e-4)
    for key in ("loss", "accuracy", "margin", "mean_score"):
        assert cut_log[key] == pytest.approx(log[key], abs=1e-5)


class Order(TrainerCallback):
    """Records which rows each step saw."""

    def __init__(self):
        self.rows = []

    def watch(self, trainer):
        loss = trainer.compute_loss

        def seen(model, inputs, **options):
            self.rows.append(trainer.rows_of(inputs))
            return loss(model, inputs, **options)

        trainer.compute_loss = seen


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
@pytest.mark.parametrize("save_at", [2, 6, 8])
def test_a_resumed_run_is_the_uninterrupted_run(tmp_path, backbone, strategy, save_at):
    """24 pairs, 6 steps an epoch, 12 steps, dropout on: parameters and data order equal bit for bit.

    The save falls inside the first epoch, between the epochs, and inside the second.
    """
    settings = {
        "num_train_epochs": 2,
        "train_sampling_strategy": strategy,
        "save_strategy": "steps",
        "save_steps": save_at,
        "gradient_accumulation_steps": 1,
        "disable_dropout": False,
    }
    runs = []
    for resume in (None, str(tmp_path / "whole" / f"checkpoint-{save_at}")):
        torch.manual_seed(0)
        model = RewardModel.from_backbone(backbone)
        for layer in model.backbone.layers:
            layer.self_attn.attention_dropout = 0.1
        folder = tmp_path / ("whole" if resume is None else "resumed")
        trainer = RewardTrainer(model, config(folder, **settings), pairs(24))
        order = Order()
        order.watch(trainer)
        trainer.train(resume_from_checkpoint=resume)
        runs.append((weights(model), order.rows))
    (whole, rows), (resumed, later) = runs
    assert len(rows) == 12
    assert rows[:6] != rows[6:], "epochs must differ in order for this test to mean anything"
    assert later == rows[save_at:]
    for name in whole:
        assert torch.equal(resumed[name], whole[name]), name


def test_over_length_pairs_are_dropped_and_counted_or_cut(tmp_path, backbone):
    """A prompt of 60 bytes does not fit 32 tokens: dropped with "drop", cut with "truncate_prompt"."""
    rows = [*pairs(7), {"prompt": "a" * 60, "chosen": "x", "rejected": "y"}]
    data = Dataset.from_list(rows)
    dropped = train_reward(backbone, data, config(tmp_path / "a", max_length=32, over_length="drop"))
    assert (dropped.dropped, dropped.truncated) == (1, 0)
    cut = train_reward(backbone, data, config(tmp_path / "b", max_length=32))
    assert (cut.dropped, cut.truncated) == (0, 1)
    assert RewardModel.from_pretrained(tmp_path / "b").max_length == 32
    with pytest.raises(UserError, match="all 1 pairs of training data are longer than max_length=32"):
        train_reward(backbone, data.select([7]), config(tmp_path / "c", max_length=32, over_length="drop"))


@pytest.mark.parametrize("bad", ["loss", "gradient"])
def test_one_bad_step_changes_nothing_and_names_its_rows(tmp_path, backbone, caplog, bad):
    """The sixth row's loss is NaN, or its gradient infinite (a hook): that step leaves every weight as it was."""
    model = RewardModel.from_backbone(backbone)
    settings = config(
        tmp_path / "out", use_margin=True, train_sampling_strategy="sequential", per_device_train_batch_size=1
    )
    trainer = RewardTrainer(model, settings, pairs(8).add_column("margin", [0.0] * 8))
    seen = []

    class Watch(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            seen.append(weights(model))

    trainer.add_callback(Watch())
    step = trainer.compute_loss

    def poisoned(model_, inputs, **kwargs):
        loss = step(model_, inputs, **kwargs)
        if inputs["row"].tolist() != [5]:
            return loss
        if bad == "loss":
            return loss * float("nan")
        loss.register_hook(lambda gradient: gradient * float("inf"))
        return loss

    trainer.compute_loss = poisoned
    trainer.train()
    assert trainer.finite_steps.skipped == 1
    assert "rows: row 6;" in caplog.text
    assert all(torch.equal(seen[6][name], seen[5][name]) for name in seen[5])
    assert any(not torch.equal(seen[5][name], seen[4][name]) for name in seen[5])
    assert all(torch.isfinite(value).all() for value in weights(model).values())


def test_three_bad_steps_in_a_row_stop_the_run(tmp_path, backbone):
    """From step 5 on every loss is NaN: the run stops at step 7, and checkpoint-4 holds the last good weights."""
    model = RewardModel.from_backbone(backbone)
    settings = config(tmp_path / "out", save_strategy="steps", save_steps=4, per_device_train_batch_size=1)
    trainer = RewardTrainer(model, settings, pairs(12))
    step = trainer.compute_loss
    calls = []

    def poisoned(*arguments, **kwargs):
        calls.append(1)
        return step(*arguments, **kwargs) * (float("nan") if len(calls) > 4 else 1.0)

    trainer.compute_loss = poisoned
    with pytest.raises(NonFiniteError, match=r"stopped at step 7.*3 steps in a row"):
        trainer.train()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["checkpoint-4", "skipped_steps"]
    saved = RewardModel.from_pretrained(tmp_path / "out" / "checkpoint-4").state_dict()
    for name, value in weights(model).items():
        assert torch.equal(saved[name], value)


def test_lora_trains_the_adapter_and_the_head_only(tmp_path, backbone):
    """Base weights stay; adapter and head change; adapter folder and merged folder score like the model."""
    start = RewardModel.from_backbone(backbone)
    rows = pairs(16)
    adapter = AdapterArguments(use_peft=True, lora_r=4)
    done = train_reward(backbone, rows, config(tmp_path / "out"), adapter=adapter)
    base = done.model.backbone.base_model.model.layers[0].self_attn.q_proj.base_layer.weight
    assert torch.equal(base, start.backbone.layers[0].self_attn.q_proj.weight)
    again = RewardModel.from_pretrained(done.folder)
    assert again.is_adapter
    scores = done.model.score(rows["prompt"], rows["chosen"])
    assert_close(again.score(rows["prompt"], rows["chosen"]), scores, atol=1e-6, rtol=0)
    adapter.merge_adapter = True
    merged = train_reward(backbone, rows, config(tmp_path / "merged"), adapter=adapter)
    whole = RewardModel.from_pretrained(merged.folder)
    assert not whole.is_adapter
    assert_close(whole.score(rows["prompt"], rows["chosen"]), scores, atol=1e-5, rtol=0)


def test_lora_resumes_bit_for_bit(tmp_path, backbone):
    """A run of 6 steps saved at 3 and resumed ends with the same adapter and head."""
    adapter = AdapterArguments(use_peft=True, lora_r=4)
    settings = {"save_strategy": "steps", "save_steps": 3}
    whole = train_reward(backbone, pairs(24), config(tmp_path / "a", **settings), adapter=adapter)
    resumed = train_reward(
        backbone,
        pairs(24),
        config(tmp_path / "b", **settings),
        adapter=adapter,
        resume_from=str(tmp_path / "a" / "checkpoint-3"),
    )
    expected = weights(whole.model)
    for name, value in weights(resumed.model).items():
        assert torch.equal(value, expected[name]), name


def test_each_pair_trains_the_head_that_it_names(tmp_path, backbone):
    """Pairs of head b only: head a keeps its weights bit for bit (no weight decay), b changes."""
    model = RewardModel.from_backbone(backbone, heads=("a", "b"))
    before = model.score_head.weight.detach().clone()
    data = pairs(8).add_column("head", ["b"] * 8)
    train_reward(model, data, config(tmp_path / "out"))
    assert torch.equal(model.score_head.weight[0], before[0])
    assert not torch.equal(model.score_head.weight[1], before[1])
    with pytest.raises(UserError, match="row 1: head 'c' is none of the model's: a, b"):
        train_reward(model, pairs(2).add_column("head", ["c", "a"]), config(tmp_path / "x"))
    with pytest.raises(UserError, match="needs a column head"):
        train_reward(model, pairs(2), config(tmp_path / "x"))


def test_frozen_layers_stay_and_heads_have_their_own_rate(tmp_path):
    """trainable_layers=1 of 2: the first layer and the embeddings stay; the head's group has its own rate."""
    folder = save_tiny(tmp_path / "b", tiny_bert(), tiny_tokenizer(encoder=True))
    model = RewardModel.from_backbone(folder)
    before = weights(model)
    settings = config(tmp_path / "out", trainable_layers=1, head_learning_rate=0.5, learning_rate=1e-3)
    trainer = RewardTrainer(model, settings, pairs(8))
    trainer.train()
    groups = {group["initial_lr"]: sum(p.numel() for p in group["params"]) for group in trainer.optimizer.param_groups}
    assert groups[0.5] == 32
    changed = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
    assert "score_head.weight" in changed
    assert any(name.startswith("backbone.encoder.layer.1.") for name in changed)
    assert not any("layer.0." in name or "embeddings" in name for name in changed)


def test_soft_labels_and_margins_reach_the_loss(tmp_path, backbone):
    """Label 0, margin 2, one pair: loss softplus(d + 2), d = r_chosen - r_rejected; accuracy counts it turned."""
    model = RewardModel.from_backbone(backbone)
    row = {"prompt": "ab", "chosen": "x", "rejected": "yy", "margin": 2.0, "label_chosen_preferred": 0.0}
    data = Dataset.from_list([row])
    found = RewardTrainer(model, config(tmp_path / "o", use_margin=True, centring=0.0), data, data).evaluate()
    difference = (model.score(["ab"], ["x"]) - model.score(["ab"], ["yy"])).item()
    assert found["eval_loss"] == pytest.approx(softplus(torch.tensor(difference + 2.0)).item(), abs=1e-5)
    assert found["eval_accuracy"] == float(difference < 0)


def test_what_cannot_work_is_refused_before_training(tmp_path, backbone):
    """Each message names the setting or the column."""
    with pytest.raises(UserError, match="Did you mean 'bradley_terry'"):
        config(tmp_path, loss="bradly_terry")
    with pytest.raises(UserError, match="use_margin goes with bradley_terry"):
        config(tmp_path, loss="rao_kupper", use_margin=True)
    with pytest.raises(UserError, match="over_length"):
        config(tmp_path, over_length="ignore")
    with pytest.raises(UserError, match="no column prompt"):
        train_reward(backbone, Dataset.from_list([{"chosen": "a", "rejected": "b"}]), config(tmp_path))
    with pytest.raises(UserError, match="no rows"):
        train_reward(backbone, pairs(2).select([]), config(tmp_path))
    with pytest.raises(UserError, match="no column margin"):
        train_reward(backbone, pairs(2), config(tmp_path, use_margin=True))
    with pytest.raises(UserError, match="holds no checkpoint"):
        train_reward(backbone, pairs(2), config(tmp_path / "none"), resume_from=True)
    with pytest.raises(UserError, match="no evaluation data"):
        train_reward(backbone, pairs(2), config(tmp_path, eval_strategy="epoch"))
    with pytest.raises(ModelError, match="longer than the model's 512 positions"):
        train_reward(backbone, pairs(2), config(tmp_path, max_length=600))
    with pytest.raises(UserError, match="row 2, field 'margin': expected a finite number, found nan"):
        train_reward(backbone, pairs(2).add_column("margin", [0.0, float("nan")]), config(tmp_path, use_margin=True))


def test_two_processes_are_one(tmp_path, backbone):
    """1 process with batches of 8 and 2 with 4 each (gloo): same losses and weights to 1e-5.

    21 rows leave 5 for an epoch's last step, of which rank 1 has one and three fillers: they count for nothing, in
    whatever order the rows come, and two epochs are six steps.

    Then row 9 (second step, rank 0 alone) gets a NaN loss: both ranks skip that step, and still agree.
    """
    found = {}
    for processes in (1, 2):
        out = tmp_path / f"{processes}"
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
        command += ["--master-port", str(free_port()), str(RANKS), str(backbone), str(out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(RANKS.parents[2])}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        found[processes] = json.loads((out / "result.json").read_text())
    one, two = found[1], found[2]
    assert len(one["losses"]) == 3
    for name in ("losses", "head", "accuracies"):
        assert two[name] == pytest.approx(one[name], abs=1e-5)
    for order, (losses, accuracies) in one["ragged"].items():
        assert len(losses) == 6, order
        assert two["ragged"][order] == [pytest.approx(losses, abs=1e-5), pytest.approx(accuracies, abs=1e-6)]
    assert one["poisoned"]["skipped"] == two["poisoned"]["skipped"] == 1
    assert two["poisoned"]["heads_of_ranks_equal"]
    assert two["poisoned"]["head"] == pytest.approx(one["poisoned"]["head"], abs=1e-5)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_dropout_is_off_by_default(tmp_path):
    """BERT has dropout 0.1 in its layers; two training forward passes agree once the trainer is built."""
    folder = save_tiny(tmp_path / "b", tiny_bert(), tiny_tokenizer(encoder=True))
    model = RewardModel.from_backbone(folder).train()
    ids = torch.tensor([[1, 80, 81, 2]])
    assert not torch.equal(model(ids, torch.ones_like(ids)), model(ids, torch.ones_like(ids)))
    RewardTrainer(model, config(tmp_path / "out"), pairs(2))
    model.train()
    assert torch.equal(model(ids, torch.ones_like(ids)), model(ids, torch.ones_like(ids)))


def test_sharing_the_prompt_changes_no_step(tmp_path, backbone):
    """Both answers in one row behind their prompt, or each in its own: the same gradient step (SGD, rate 1)."""
    plain = {"optim": "sgd", "learning_rate": 1.0, "lr_scheduler_type": "constant", "max_grad_norm": 0.0}
    after = []
    for share in (True, False):
        model = RewardModel.from_backbone(backbone)
        torch.manual_seed(0)
        model.score_head.weight.data.normal_()
        settings = config(tmp_path / "out", per_device_train_batch_size=10, max_steps=1, **plain)
        trainer = RewardTrainer(model, settings, pairs(10))
        assert trainer.shares_prompts
        trainer.data_collator = RowCollator(share)
        trainer.train()
        after.append(weights(model))
    for name, value in after[0].items():
        assert_close(value, after[1][name], rtol=1e-4, atol=1e-5)


def test_a_cost_model(tmp_path, backbone):
    """x answers are safe, y answers are not: scores end above and below 0, where a comparison alone fixes no origin.

    Answers whose safety nobody told (None) are compared only. Data without the columns is refused.
    """
    data = pairs(64)
    told = data.add_column("chosen_safe", [None, True] * 32).add_column("rejected_safe", [False] * 64)
    done = train_reward(backbone, told, config(tmp_path / "out", loss="safety", num_train_epochs=3))
    held = pairs(16, seed=1)
    assert (done.model.score(held["prompt"], held["chosen"]) > 0).all()
    assert (done.model.score(held["prompt"], held["rejected"]) < 0).all()
    with pytest.raises(
        UserError, match="loss 'safety' reads whether each answer is safe, and training data has neither"
    ):
        train_reward(backbone, data, config(tmp_path / "other", loss="safety"))
    wrong = data.add_column("chosen_safe", ["yes"] * 64)
    with pytest.raises(UserError, match="row 1: chosen_safe is 'yes'; it must be true, false, or nothing"):
        train_reward(backbone, wrong, config(tmp_path / "wrong", loss="safety"))


def test_losses_are_recipes(tmp_path):
    """``loss`` names a recipe of kind reward; its settings have flags of their own or stand in ``loss_settings``."""
    assert config(tmp_path, loss="rao_kupper", tie_theta=2.0).row_loss().loss == RaoKupper(2.0)
    assert config(tmp_path, loss="focal", loss_settings={"gamma": 1.0}).row_loss().loss == Focal(1.0)
    with pytest.raises(UserError, match=r"loss 'bradly_terry' is unknown.*Did you mean 'bradley_terry'"):
        config(tmp_path, loss="bradly_terry")
    with pytest.raises(UserError, match=r"recipe 'focal' has no setting 'gama'\. Did you mean 'gamma'"):
        config(tmp_path, loss="focal", loss_settings={"gama": 1.0})


@dataclass(frozen=True)
class Spread(RowLoss):
    """Three answers, and the distance of the outer states of the first: what no loss of pairs could say."""

    columns: ClassVar[tuple[str, ...]] = ("prompt", "chosen", "rejected")
    needs: ClassVar[frozenset[str]] = frozenset({"answer_states"})

    def example(self, row):
        texts = [(row["prompt"], row["chosen"]), (row["rejected"], row["chosen"])]
        return Example([*texts, (row["prompt"], "z")][: 2 + row["more"]], {"length": len(row["chosen"])})

    def __call__(self, readings):
        first = readings.states[:, 0]
        last = readings.state_mask[:, 0].sum(1) - 1
        return (first[torch.arange(len(first)), last] - first[:, 0]).square().sum(-1) + readings.own.sum(1)

    def figures(self, readings):
        tokens = readings.state_mask[:, 0].sum(1).float()
        return {"tokens": tokens - readings.numbers["length"], "texts": readings.mask.sum(1).float()}


@pytest.mark.parametrize("budget", [None, 30])
def test_a_loss_of_any_texts_and_states(tmp_path, backbone, monkeypatch, budget):
    """Rows of two or three texts, of which one has another prompt, with the states of answers.

    An answer of n letters has n tokens and an end token, so the figure ``tokens`` is 1; half of the rows have three
    texts, the others two: 2.5 on average. The loss is what `score`, and the hidden states of each text alone, give.
    """
    monkeypatch.setattr(RewardConfig, "row_loss", lambda self: Spread())
    data = pairs(8).add_column("more", [0, 1] * 4)
    model = RewardModel.from_backbone(backbone)
    torch.nn.init.normal_(model.score_head.weight)
    settings = config(tmp_path / "out", per_device_eval_batch_size=4, token_budget=budget)
    found = RewardTrainer(model, settings, data, data).evaluate()
    assert (found["eval_tokens"], found["eval_texts"]) == (1.0, 2.5)
    expected = []
    for row in data:
        texts = Spread().example(row).texts
        total = float(model.score(*zip(*texts, strict=True))[:, 0].sum())
        text = model.formatter().encode(*texts[0])
        with torch.no_grad():
            states = model.backbone(torch.tensor([text.input_ids])).last_hidden_state[0, text.response_start :]
        expected.append(total + float((states[-1] - states[0]).square().sum()))
    assert found["eval_loss"] == pytest.approx(sum(expected) / len(expected), abs=1e-4)
