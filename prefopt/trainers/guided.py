"""Two runs on the same pairs: the first one's policy is the second one's reference."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from prefopt import __version__, recipes
from prefopt.errors import UserError, nearest
from prefopt.offline import OfflineObjective
from prefopt.offline.reference import Folder, Guide
from prefopt.trainers.adapted import is_adapted
from prefopt.trainers.adapters import AdapterArguments
from prefopt.trainers.checkpointing.choice import newest_whole_checkpoint
from prefopt.trainers.checkpointing.promise import ELSEWHERE
from prefopt.trainers.offline_config import OfflineConfig, offline_objective
from prefopt.trainers.pairs.reference import fingerprint
from prefopt.trainers.pairs.tokens import PairTokens
from prefopt.trainers.stages import StagedRun
from reward_models.whole_files import replace_json

GUIDE = "guide"
"""Folder of the first run, inside the output directory; the second one has the output directory itself."""


@dataclass(frozen=True)
class TwoRuns:
    """What both runs take. ``align`` trains once, see `prefopt.trainers.offline.align_offline`."""

    align: Callable[..., Any]
    model: Any
    train: Dataset | PairTokens | str | Path
    evaluation: Dataset | PairTokens | str | Path | None
    tokenizer: Any
    adapter: AdapterArguments | None
    dtype: str
    other: Mapping[str, Any]

    def __call__(self, config: OfflineConfig, objective: OfflineObjective) -> Any:
        """Train a guide and then a policy from the same start; return what ``align`` gave for the policy.

        None where both had finished before: the policy is in the output directory.

        A run that was stopped goes on where it was: a guide that was finished is not trained again.

        Raises:
            UserError: as ``align`` does, and where the output directory holds a run with other settings.
        """
        guide = objective.reference
        assert isinstance(guide, Guide)
        if not isinstance(self.model, (str, Path)) and is_adapted(self.model):
            raise UserError(
                "two runs cannot start from a model in memory that has an adapter: the guide has to be a whole model. "
                "Merge it first (merge_and_unload), or give the base and adapter settings"
            )
        folder = Path(config.output_dir)
        first = first_config(config, guide)
        run, done = StagedRun(folder), None
        start = self._start()

        def train_guide(place: Path) -> Mapping[str, Any]:
            model = self.model if isinstance(self.model, (str, Path)) else copy.deepcopy(self.model)
            own = offline_objective(first)
            # A whole model: an adapter alone would need the start beside it to be a reference.
            adapter = None if self.adapter is None else replace(self.adapter, merge_adapter=True)
            return _found(self._align(model, first, own, adapter, newest_whole_checkpoint(place)))

        def train_policy(place: Path) -> Mapping[str, Any]:
            nonlocal done
            guided = replace(objective, reference=Folder(str(folder / GUIDE)))
            done = self._align(self.model, config, guided, self.adapter, newest_whole_checkpoint(place))
            return _found(done)

        run.stage(GUIDE, {**start, **settings_of(first), "recipe": guide.recipe, **guide.settings}, train_guide)
        run.stage(".", {**start, **settings_of(config), "objective": repr(replace(objective, recipe=""))}, train_policy)
        if config.process_index == 0:
            _write_summary(run, objective)
        return done

    def _align(self, model: Any, config: OfflineConfig, objective: Any, adapter: Any, checkpoint: str | None) -> Any:
        return self.align(
            model, self.train, config, self.evaluation, self.tokenizer, adapter, objective, checkpoint, self.dtype,
            **self.other,
        )  # fmt: skip

    def _start(self) -> dict[str, Any]:
        """Return what both runs start from, as JSON holds it."""
        model = str(self.model) if isinstance(self.model, (str, Path)) else fingerprint(self.model)
        return {
            "model": model,
            "data": content(self.train),
            "adapter": None if self.adapter is None else asdict(self.adapter),
            "dtype": self.dtype,
        }


def first_config(config: OfflineConfig, guide: Guide) -> OfflineConfig:
    """Return the settings of the first run: those of the second, but for ``first_stage`` and the recipe.

    Raises:
        UserError: ``first_stage`` names no setting, or one that the recipe decides.
    """
    given, known = dict(config.first_stage or {}), {one.name for one in fields(config) if one.init}
    for key in given:
        if key not in known:
            raise UserError(f"first_stage: there is no setting '{key}'.{nearest(key, known)}")
        if key in ("recipe", "recipe_settings", "output_dir", "reference_model", "first_stage"):
            raise UserError(f"first_stage: '{key}' is not set here; the first run's recipe is recipe_settings.guide")
    needed = "ref_logps" in recipes.build(guide.recipe, **guide.settings).needs
    fixed: dict[str, Any] = {
        "output_dir": str(Path(config.output_dir) / GUIDE),
        "recipe": guide.recipe,
        "recipe_settings": dict(guide.settings),
        "first_stage": None,
        "precompute_reference": config.precompute_reference and needed,
    }
    return replace(config, **{**given, **fixed})


def content(data: Dataset | PairTokens | str | Path) -> str:
    """Return a SHA-256 of a file or of rows; the name itself for data that is no file here."""
    data = data.rows if isinstance(data, PairTokens) else data
    if not isinstance(data, Dataset) and not Path(data).is_file():
        return str(data)
    digest = hashlib.sha256()
    if isinstance(data, Dataset):
        for row in data:
            digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    else:
        digest.update(Path(data).read_bytes())
    return digest.hexdigest()


def settings_of(config: OfflineConfig) -> dict[str, Any]:
    """Return the settings that a run's result depends on, where they are not the defaults."""
    return {
        one.name: value
        for one in fields(config)
        if one.init and not one.name.startswith(ELSEWHERE) and (value := getattr(config, one.name)) != one.default
        and isinstance(value, (bool, int, float, str, dict, list))
    }  # fmt: skip


def _found(done: Any) -> dict[str, Any]:
    return {
        "recipe": done.objective.recipe,
        "metrics": done.metrics,
        "truncated": done.truncated,
        "refused": done.refused,
        "skipped_steps": done.skipped_steps,
    }


def _write_summary(run: StagedRun, objective: OfflineObjective) -> None:
    stages = [{**asdict(record), "folder": str(run.folder / record.name)} for record in run.records]
    summary = {"recipe": objective.recipe, "stages": stages, "prefopt": __version__}
    replace_json(run.folder / "summary.json", summary)
