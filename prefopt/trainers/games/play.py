"""A preference game for language models: draw candidates, judge them, learn from the pairs, again."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from prefopt import __version__
from prefopt.errors import UserError
from prefopt.games.judged import Candidates, Played
from prefopt.offline.objective import OfflineObjective
from prefopt.offline.reference import Blended
from prefopt.trainers.adapters import AdapterArguments
from prefopt.trainers.checkpointing.choice import newest_whole_checkpoint
from prefopt.trainers.data_record import record_data
from prefopt.trainers.games.config import GameConfig, game_objective
from prefopt.trainers.games.judge import Judge, JudgeEntry, fingerprint, read_judge
from prefopt.trainers.games.pairs import (
    Prompts,
    as_tokens,
    choose,
    draw,
    encoded,
    in_chunks,
    judge_rows,
    mixed_in,
    read_chunks,
    summary_of,
)
from prefopt.trainers.games.sampling import Sampler, seed_of
from prefopt.trainers.guided import content, settings_of
from prefopt.trainers.offline import align_offline
from prefopt.trainers.policies import check_policy, load_policy, load_tokenizer, policy_config, prepare_tokenizer
from prefopt.trainers.prompts import check_columns, check_lengths
from prefopt.trainers.stages import StagedRun
from reward_models.backbones import position_limit
from reward_models.data import load_with_report, sift
from reward_models.whole_files import model_written_beside, replace_json

__all__ = ["GameConfig", "PlayedGame", "play_game"]

POLICY, PAIRS, SUMMARY = "policy", "pairs.json", "game.json"
LOOP = ("iterations", "completions_at_once")


@dataclass(frozen=True)
class PlayedGame:
    """What a game leaves behind: the folder of the last policy, and what each iteration found."""

    folder: Path
    iterations: list[Mapping[str, Any]] = field(default_factory=list)


def play_game(
    model: str | Path,
    data: Dataset | str | Path,
    judge: JudgeEntry,
    config: GameConfig,
    evaluation: Dataset | str | Path | None = None,
    adapter: AdapterArguments | None = None,
    dtype: str = "float32",
) -> PlayedGame:
    """Play; what was done is not done again when the same call is made after an interruption.

        config = GameConfig(output_dir="played", recipe="inpo", iterations=3, learning_rate=5e-7)
        play_game("my-model", "prompts.jsonl", "judge.py:which_is_better", config)

    Each iteration is a folder with its candidates, verdicts, pairs and policy; the output directory holds the last
    policy. With evaluation prompts each iterate plays against the model at the start, an answer each, for ``win_rate``.

    Args:
        model: folder or hub name of the policy at the start, which is the anchor too.
        data: rows with ``prompt`` and what the judge reads, or a file that `load_prompts` reads.
        judge: a reward model's folder, a verifier, ``file.py:function``, or a mapping; see `read_judge`.
        config: settings of the loop and of the training in each iteration.
        evaluation: held-out prompts.
        adapter: LoRA settings; each iteration trains an adapter and merges it.
        dtype: of the weights: float32, bfloat16 or auto.

    Raises:
        UserError: recipe, judge, data or settings that the user can mend; verdicts that leave no pair.
    """
    objective = game_objective(config)
    assert isinstance(objective.pairs, Played)
    asked = read_judge(judge)
    if asked.compares and objective.pairs.choice.reads_scores:
        raise UserError(
            f"{type(objective.pairs.choice).__name__} chooses pairs by scores, and judge '{asked.source.label}' only "
            "compares; take a judge that scores, or another recipe"
        )
    start = check_policy(model)
    tokenizer = load_tokenizer(start)
    prepare_tokenizer(tokenizer)
    rows = _rows(data, config, asked, tokenizer, start, "training")
    held_out = None if evaluation is None else _rows(evaluation, config, asked, tokenizer, start, "evaluation")
    game = _Game(
        config, objective, objective.pairs, asked, start, tokenizer, encoded(rows, tokenizer, config.teacher_column),
        None if held_out is None else encoded(held_out, tokenizer, None), adapter, dtype,
    )  # fmt: skip
    run, policy, found = StagedRun(Path(config.output_dir)), start, []
    fixed = game.settings(content(rows), None if held_out is None else content(held_out))
    for number in range(1, config.iterations + 1):
        chosen = portion(len(rows), number, config)
        work = partial(game.iteration, number=number, chosen=chosen, before=policy)
        found.append(run.stage(_name(number), fixed | {"rows": seed_of(*chosen)}, work))
        policy = run.folder / _name(number) / POLICY
    if config.process_index == 0:
        _finish(policy, Path(config.output_dir), objective, found)
    return PlayedGame(Path(config.output_dir), found)


@dataclass(frozen=True)
class _Game:
    config: GameConfig
    objective: OfflineObjective
    played: Played
    judge: Judge
    start: Path
    tokenizer: Any
    prompts: Prompts
    held_out: Prompts | None
    adapter: AdapterArguments | None
    dtype: str

    def settings(self, data: str, held_out: str | None) -> dict[str, Any]:
        """Return what an iteration's result depends on, as JSON holds it."""
        own = {key: value for key, value in settings_of(self.config).items() if key not in LOOP}
        source = self.judge.source
        judge = {"judge": source.label, "folder": source.folder, "judge_content": fingerprint(source)}
        return {
            **own,
            "objective": repr(replace(self.objective, recipe="")),
            "model": str(self.start),
            "data": data,
            "held_out": held_out,
            **judge,
            "judge_temperature": self.judge.temperature,
            "judge_both_orders": self.judge.both_orders,
            "completions_at_once": self.config.completions_at_once,
            "adapter": None if self.adapter is None else asdict(self.adapter),
            "dtype": self.dtype,
        }

    def iteration(self, folder: Path, number: int, chosen: list[int], before: Path) -> Mapping[str, Any]:
        """Draw, judge, choose, learn; each a stage inside the iteration's."""
        inner = StagedRun(folder)
        _free()
        inner.stage("candidates", {}, lambda place: self.draw(place, number, chosen, before))
        inner.stage("verdicts", {}, lambda place: self.ask(place, folder / "candidates", self.prompts))
        pairs = inner.stage("pairs", {}, lambda place: self.choose(place, folder, number))
        learnt = inner.stage(POLICY, {}, lambda place: self.learn(place, folder, number, before))
        won: Mapping[str, Any] = {}
        if self.held_out is not None:
            won = inner.stage("evaluation", {}, lambda place: self.evaluate(place, folder / POLICY))
        return {"iteration": number, "prompts": len(chosen), **pairs, **learnt, **won}

    def draw(self, place: Path, number: int, chosen: list[int], before: Path) -> Mapping[str, Any]:
        """Write the candidates of the iteration's prompts."""
        self._draw(place, self.played.candidates, self.prompts, chosen, before, number)
        return {}

    def _draw(
        self, place: Path, candidates: Candidates, prompts: Prompts, chosen: list[int], policy: Path, number: int
    ) -> None:
        device = self.config.device
        models = [policy, *([self.start] if candidates.reads_reference else [])]
        own, *other = (load_policy(one, self.dtype).to(device).eval() for one in models)
        sampler = Sampler(
            own, other[0] if other else None, self.tokenizer, candidates, self.config.max_completion_length, device
        )
        side_by_side = max(candidates.policy, candidates.opponent, candidates.reference)
        size = max(1, self.config.completions_at_once // side_by_side)

        def work(chunk: int, rows: list[int]) -> Any:
            return draw(sampler, prompts, rows, seed_of(self.config.seed, number, chunk))

        in_chunks(place, "candidates", size, chosen, work)

    def ask(self, place: Path, candidates: Path, prompts: Prompts) -> Mapping[str, Any]:
        """Write the judge's verdicts on a folder of candidates, chunk by chunk."""
        judge = self.judge.load(self.config.device)
        files = sorted(candidates.glob("candidates_*.json"))

        def work(chunk: int, _: list[int]) -> Any:
            return judge_rows(judge, prompts, json.loads(files[chunk].read_text(encoding="utf-8")))

        in_chunks(place, "verdicts", 1, range(len(files)), work)
        return {}

    def choose(self, place: Path, folder: Path, number: int) -> Mapping[str, Any]:
        """Write the iteration's own pairs."""
        drawn, verdicts = (list(read_chunks(folder / name, name)) for name in ("candidates", "verdicts"))
        pairs, unjudged = choose(self.played, drawn, verdicts, seed_of(self.config.seed, number, "pairs"))
        if self.config.process_index == 0:
            replace_json(place / PAIRS, pairs, indent=None)
        return summary_of(pairs, unjudged)

    def learn(self, place: Path, folder: Path, number: int, before: Path) -> Mapping[str, Any]:
        """Train from the policy before on the iteration's pairs and what is mixed in."""
        own, *earlier = (_read_pairs(folder.parent / _name(one)) for one in range(number, 0, -1))
        pairs = mixed_in(own, earlier, self.played.history, seed_of(self.config.seed, number, "history"))
        tokens = as_tokens(pairs, self.prompts, self.objective.needs)
        objective = self.objective
        if isinstance(objective.reference, Blended):
            objective = replace(objective, reference=replace(objective.reference, anchor=str(self.start)))
        adapter = None if self.adapter is None else replace(self.adapter, merge_adapter=True)
        there: dict[str, Any] = {"output_dir": str(place)}
        done = align_offline(
            str(before), tokens, replace(self.config, **there), tokenizer=self.tokenizer,
            adapter=adapter, objective=objective, resume_from=newest_whole_checkpoint(place), dtype=self.dtype,
        )  # fmt: skip
        losses = [line["loss"] for line in done.log if "loss" in line]
        _free()
        return {"trained_on": len(tokens.rows), "loss": losses[-1] if losses else None}

    def evaluate(self, place: Path, policy: Path) -> Mapping[str, Any]:
        """Return how often the policy's answer beats that of the model at the start, one each a held-out prompt."""
        assert self.held_out is not None
        against = Candidates(policy=1, reference=1)
        rows = list(range(len(self.held_out.rows)))
        self._draw(place, against, self.held_out, rows, policy, 0)
        self.ask(place, place, self.held_out)
        wins = [row["wins"][0][1] for row in read_chunks(place, "verdicts")]
        known = [one for one in wins if one is not None]
        return {"win_rate": sum(known) / len(known) if known else None, "held_out": len(known)}


def portion(count: int, number: int, config: GameConfig) -> list[int]:
    """Return the rows of iteration ``number`` (from 1): the next of a shuffled order, which starts anew at its end.

    Raises:
        UserError: fewer prompts than iterations.
    """
    size = config.prompts_per_iteration or count // config.iterations
    if size < 1:
        raise UserError(
            f"{count} prompts do not go into {config.iterations} disjoint parts; set prompts_per_iteration, and they "
            "are asked again"
        )
    found: list[int] = []
    place = (number - 1) * size
    while len(found) < size:
        turn, offset = divmod(place + len(found), count)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed_of(config.seed, "prompts", turn)))
        found += order[offset : offset + size - len(found)].tolist()
    return found


def _rows(data: Any, config: GameConfig, judge: Judge, tokenizer: Any, start: Path, name: str) -> Dataset:
    rows = data
    quarantine = Path(config.output_dir) / f"quarantine_{name}.jsonl"
    settings = {"on_bad_row": config.on_bad_row, "quarantine_path": quarantine}
    if not isinstance(data, Dataset):
        rows, report = load_with_report(data, "prompts", **settings)
        record_data(config.output_dir, f"{name} data", report)
    elif "prompt" in data.column_names and len(data):
        rows, report = sift(data, "prompts", f"{name} data", **settings)
        record_data(config.output_dir, f"{name} data", report)
    check_columns(rows, [], f"the {name} data")
    wanted = judge.required_columns()
    if name == "training" and config.teacher_column is not None:
        wanted["teacher_column"] = config.teacher_column
    for reader, column in wanted.items():
        if column not in rows.column_names:
            raise UserError(f"{reader} reads the column '{column}', which the {name} data does not have; it has "
                            f"{', '.join(rows.column_names)}")  # fmt: skip
    positions = position_limit(tokenizer, policy_config(start))
    too_long = Path(config.output_dir) / f"quarantine_{name}_length.jsonl"
    found: Dataset = check_lengths(
        rows, tokenizer, positions, config.max_completion_length, config.on_bad_row, too_long
    )
    return found


def _read_pairs(iteration: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((iteration / "pairs" / PAIRS).read_text(encoding="utf-8"))
    return found


def _name(number: int) -> str:
    return f"iteration_{number:02d}"


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _finish(policy: Path, folder: Path, objective: OfflineObjective, found: list[Mapping[str, Any]]) -> None:
    """Put the last policy into the output directory, and say what happened."""
    with model_written_beside(folder) as beside:
        for file in policy.iterdir():
            if file.is_file() and file.name not in ("stage.json", "history.jsonl"):
                shutil.copy2(file, beside / file.name)
    summary = {
        "recipe": objective.recipe,
        "parts": {slot: repr(part) for slot, part in objective.parts()},
        "iterations": list(found),
        "prefopt": __version__,
    }
    replace_json(folder / SUMMARY, summary)
