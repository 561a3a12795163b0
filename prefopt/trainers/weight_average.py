"""WARM: members trained from one start, each resumable, then averaged where the line between them allows it."""

from __future__ import annotations

import gc
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import set_seed

from prefopt.errors import UserError
from prefopt.trainers.adapters import AdapterArguments
from prefopt.trainers.checkpointing.choice import newest_whole_checkpoint
from prefopt.trainers.guided import content, settings_of
from prefopt.trainers.member_selection import Selection, select_members
from prefopt.trainers.pairs.texts import texts_of
from prefopt.trainers.reward import score_statistics, train_reward
from prefopt.trainers.reward_config import RewardConfig, reward_loss
from prefopt.trainers.reward_trainer import LONGEST
from prefopt.trainers.stages import StagedRun
from reward_models.averaging import average_models, check_alike
from reward_models.backbones import locate, position_limit
from reward_models.evaluation import PairEvaluation, evaluate_model
from reward_models.freezing import set_dropout
from reward_models.heads import RewardHead
from reward_models.linear_probe import linear_probe
from reward_models.model import RewardModel
from reward_models.weight_average import Member, WeightAverage, identity_of
from reward_models.whole_files import model_written_beside, replace_json

RECORD = "warm.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AveragedReward:
    """What the run leaves behind: the model, why it is an average or a single member, figures on held-out pairs."""

    model: RewardModel
    folder: Path
    plan: tuple[Member, ...]
    selection: Selection
    held_out: PairEvaluation | None


def train_average(
    model: str | Path,
    train: Dataset,
    config: RewardConfig,
    recipe: WeightAverage,
    evaluation: Dataset | None = None,
    judges: Dataset | None = None,
    checkpoints: Sequence[str | Path] = (),
    pooling: str | None = None,
    adapter: AdapterArguments | None = None,
) -> AveragedReward:
    """Train the members, choose, check the lines between them, average; the result is in ``config.output_dir``.

    A run that was stopped goes on where it was: finished members are not trained again. Members that are adapters are
    merged, since the mean of products is not the product of means.

    Args:
        model: the pretrained backbone's folder or hub name.
        train: rows with prompt, chosen, rejected.
        config: of each member's training; learning rate, dropout and seeds are the recipe's.
        evaluation: held-out pairs. judges: pairs that choose members and check the lines, best out of distribution;
            None = ``evaluation``.
        checkpoints: further checkpoints of the backbone's own training run (arXiv 2401.12187, "Baklava"): members start
            from the backbone and from these in turn, with the same head.
        pooling: see `RewardModel`. adapter: LoRA settings, used where ``use_peft`` is set.

    Raises:
        UserError: settings that do not go together, or an output folder of another run.
        ModelError: checkpoints of different architectures; members that have no average.
    """
    check_settings(config, recipe, evaluation, judges)
    recipe = replace(recipe, seed=config.seed)
    check_alike([locate(name) for name in (model, *checkpoints)])
    work = _Work(config, recipe, train, evaluation, judges or evaluation, (model, *checkpoints), pooling, adapter)
    run = StagedRun(Path(config.output_dir))
    run.stage("start", work.start_settings(), work.start)
    for member in recipe.plan():
        run.stage(member.name, work.member_settings(member), partial(work.member, member=member))
    found = run.stage("average", asdict(recipe) | {"judges": work.content_of(work.judges)}, work.average)
    return work.finish(Selection(**found["selection"]))


def check_settings(
    config: RewardConfig, recipe: WeightAverage, evaluation: Dataset | None, judges: Dataset | None
) -> None:
    """Raise ``UserError`` for what would be ignored in silence, before a model is loaded."""
    default = type(config).__dataclass_fields__["learning_rate"].default
    if config.learning_rate != default:
        raise UserError(
            "members of an average have learning rates of their own; give them as the setting learning_rates, such as "
            f"[{config.learning_rate:g}], and leave learning_rate out"
        )
    inner: dict[str, Any] = {"loss": recipe.loss, "loss_settings": None}
    if reward_loss(replace(config, **inner)).reads != "pairs":
        raise UserError(f"members learn from pairs, and loss '{recipe.loss}' reads something else; choose another")
    if recipe.best is not None and recipe.best < recipe.members and evaluation is None and judges is None:
        raise UserError(
            f"best={recipe.best} of {recipe.members} members are chosen by accuracy on pairs; give eval_data, "
            "eval_split or ood_data"
        )


@dataclass(frozen=True)
class _Work:
    config: RewardConfig
    recipe: WeightAverage
    train: Dataset
    evaluation: Dataset | None
    judges: Dataset | None
    backbones: tuple[str | Path, ...]
    pooling: str | None
    adapter: AdapterArguments | None

    @property
    def folder(self) -> Path:
        return Path(str(self.config.output_dir))

    @property
    def leads(self) -> bool:
        return self.config.process_index == 0

    def start_settings(self) -> dict[str, Any]:
        return {
            "backbones": [str(name) for name in self.backbones],
            "pooling": self.pooling,
            "data": content(self.train),
            "max_length": self.config.max_length,
            "probe_strength": self.recipe.probe_strength,
        }

    def member_settings(self, member: Member) -> dict[str, Any]:
        adapter = None if self.adapter is None else asdict(self.adapter)
        return {**settings_of(self.of_member(member, self.folder)), **asdict(member), "adapter": adapter}

    @staticmethod
    def content_of(data: Dataset | None) -> str | None:
        return None if data is None else content(data)

    def start(self, folder: Path) -> Mapping[str, Any]:
        """Write each backbone with the one head that was fitted on the first one's states."""
        head, identity = None, ""
        for number, name in enumerate(self.backbones):
            model = RewardModel.from_backbone(name, pooling=self.pooling).to(self.config.device).eval()
            limit = position_limit(model.tokenizer, model.config)
            model.max_length = self.config.max_length or min(limit or LONGEST, LONGEST)
            if head is None:
                head = probed(model, self.train, self.recipe.probe_strength, self.config.per_device_eval_batch_size)
                identity = identity_of(head)
            model.set_heads(RewardHead.of(head, ("score",)))
            model.start = identity
            if self.leads:
                model.save_pretrained(folder / f"{number + 1:02d}")
        return {"identity": identity}

    def of_member(self, member: Member, folder: Path) -> RewardConfig:
        own: dict[str, Any] = {
            "output_dir": str(folder),
            "loss": self.recipe.loss,
            "loss_settings": None,
            "learning_rate": member.learning_rate,
            "seed": member.seed,
            "data_seed": None,
            "disable_dropout": False,
        }
        return replace(self.config, **own)

    def member(self, folder: Path, member: Member) -> Mapping[str, Any]:
        """Train one; its folder is an ordinary reward model."""
        start = self.folder / "start" / f"{member.number % len(self.backbones) + 1:02d}"
        model = RewardModel.from_pretrained(start)
        set_dropout(model.backbone, member.dropout)
        adapter = None if self.adapter is None else replace(self.adapter, merge_adapter=True)
        done = train_reward(
            model, self.train, self.of_member(member, folder), self.evaluation, adapter=adapter,
            resume_from=newest_whole_checkpoint(folder),
        )  # fmt: skip
        found = {"metrics": done.metrics, "skipped_steps": done.skipped_steps}
        del done, model
        gc.collect()
        return found

    def average(self, folder: Path) -> Mapping[str, Any]:
        """Choose members, walk the lines, and write the mean where they are connected."""
        if not self.leads:
            return {}
        members = [self.folder / member.name for member in self.recipe.plan()]
        found = select_members(
            members, self.recipe, self.judges, self.config.device, self.config.per_device_eval_batch_size
        )
        if found.averaged:
            shutil.rmtree(folder / "model", ignore_errors=True)
            average_models([members[number] for number in found.chosen], folder / "model")
        return {"selection": asdict(found)}

    def finish(self, selection: Selection) -> AveragedReward:
        """Put the result into the output folder, with its score statistics and the record of how it came to be."""
        set_seed(self.config.seed)
        plan = self.recipe.plan()
        source = self.folder / ("average/model" if selection.averaged else plan[selection.chosen[0]].name)
        model = RewardModel.from_pretrained(source).to(self.config.device)
        model.statistics = score_statistics(model, texts_of(self.train))
        held_out = None
        if self.evaluation is not None:
            held_out, _ = evaluate_model(model, self.evaluation, batch_size=self.config.per_device_eval_batch_size)
        if self.leads:
            with model_written_beside(self.folder) as beside:
                model.save_pretrained(beside)
            record = {
                "plan": [asdict(member) for member in plan],
                "selection": asdict(selection),
                "held_out": None if held_out is None else held_out.as_json(),
            }
            replace_json(self.folder / RECORD, record)
        if selection.warning:
            logger.warning("%s", selection.warning)
        return AveragedReward(model.eval(), self.folder, plan, selection, held_out)


def probed(model: RewardModel, train: Dataset, strength: float, batch_size: int = 16) -> torch.Tensor:
    """Return the head ``(1, d)`` of a linear probe on a model's states of pairs; ties of the labels are left out."""
    labels = train["label_chosen_preferred"] if "label_chosen_preferred" in train.column_names else [1.0] * len(train)
    toward = torch.tensor([1.0 if label is None else float(label) for label in labels]) - 0.5
    rows = model.formatter().encode_many(list(train["prompt"]) * 2, [*train["chosen"], *train["rejected"]])
    chosen, rejected = model.embed_encoded(rows, batch_size)[0].chunk(2)
    ordered = toward != 0
    signed = ((chosen - rejected) * toward.sign()[:, None])[ordered]
    return linear_probe(signed, torch.zeros_like(signed), strength)
