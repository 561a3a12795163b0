"""The loop: what an iteration learns from, and that it is done once, whatever stops it."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import TrainerCallback

from prefopt import recipes
from prefopt.cli import main
from prefopt.errors import UserError
from prefopt.offline.reference import Blended
from prefopt.trainers.adapters import AdapterArguments
from prefopt.trainers.games import play as loop
from prefopt.trainers.games.pairs import choose, mixed_in
from prefopt.trainers.games.play import GameConfig, play_game, portion
from prefopt.trainers.offline import OfflineTrainer
from prefopt.trainers.pairs.reference import ReferenceLogps
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer

PLAYABLE = ("dno", "inpo", "nash_md", "sppo", "xpo")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("base"), tiny_llama(), tiny_tokenizer())


def prompts(count: int = 6) -> Dataset:
    return Dataset.from_dict({"prompt": [f"Q{i}?" for i in range(count)], "answer": [str(i) for i in range(count)]})


def vowels(prompts, completions):
    """Share of letters a to m, which differs between any two answers of random bytes."""
    return [sum(ord(letter) % 7 for letter in text) / (1 + len(text)) for text in completions]


def config(folder: Path, recipe: str = "inpo", **settings) -> GameConfig:
    return GameConfig(
        **{
            "output_dir": str(folder), "recipe": recipe, "iterations": 2, "max_completion_length": 6, "use_cpu": True,
            "disable_tqdm": True, "save_strategy": "no", "learning_rate": 1e-3, "logging_steps": 1,
            "per_device_train_batch_size": 2, "completions_at_once": 4, **settings,
        }
    )  # fmt: skip


def weights(folder: Path) -> torch.Tensor:
    return torch.cat([value.flatten() for _, value in sorted(load_file(folder / "model.safetensors").items())])


def logged(folder: Path) -> list[dict]:
    lines = (folder / "history.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if "loss" in line]


@pytest.mark.parametrize("recipe", PLAYABLE)
def test_every_game_is_played(tmp_path: Path, base: Path, recipe: str) -> None:
    """Two iterations on disjoint halves of six prompts; the output directory holds the second policy, which is another
    than the first, and the model at the start is untouched.
    """
    before = weights(base)
    done = play_game(base, prompts(), vowels, config(tmp_path, recipe), prompts(2))
    assert [one["prompts"] for one in done.iterations] == [3, 3]
    per_prompt = {"dno": 10}.get(recipe, 1)
    assert [one["pairs"] for one in done.iterations] == [3 * per_prompt] * 2
    assert all(0 < one["win_rate"] < 1 and one["held_out"] == 2 for one in done.iterations)
    first, second = (weights(tmp_path / f"iteration_0{number}" / "policy") for number in (1, 2))
    assert torch.equal(weights(tmp_path), second)
    assert not torch.equal(first, second)
    assert torch.equal(weights(base), before)
    assert json.loads((tmp_path / "game.json").read_text())["recipe"] == recipe
    rows = [row["row"] for number in (1, 2) for row in read(tmp_path, number, "candidates")]
    assert sorted(rows) == list(range(6))


def read(folder: Path, number: int, name: str) -> list[dict]:
    return list(loop.read_chunks(folder / f"iteration_0{number}" / name, name))


@pytest.mark.parametrize(
    ("recipe", "settings", "first"),
    [
        ("inpo", {"eta": 0.5, "tau": 0.1}, 1.0),
        ("dno", {"practical": False, "beta": 0.1}, math.log(2)),
        ("xpo", {"alpha": 0.0}, math.log(2)),
    ],
)
def test_first_loss_of_an_iteration(tmp_path: Path, base: Path, recipe: str, settings: dict, first: float) -> None:
    """Policy, last policy and anchor are the same in iteration 1: h = 0, so ``(1 / (2 eta))^2`` = 1 and log 2.

    In iteration 2 the policy is the last policy: dno's first loss is log 2 again, the others' is not, as the anchor
    stayed.
    """
    play_game(base, prompts(), vowels, config(tmp_path, recipe, recipe_settings=settings))
    losses = [logged(tmp_path / f"iteration_0{number}" / "policy")[0]["loss"] for number in (1, 2)]
    assert losses[0] == pytest.approx(first, abs=1e-5)
    assert (abs(losses[1] - first) < 1e-5) == (recipe == "dno")


def test_blended_log_probabilities(base: Path) -> None:
    """.25 of the anchor's, .75 of the policy's at the start, token by token; a share of 1 needs the anchor alone."""
    policy, anchor = tiny_llama(seed=1), tiny_llama()
    data = {"prompt": ["Q?"], "chosen": ["Yes."], "rejected": ["No, never."]}
    settings = {"output_dir": "unused", "use_cpu": True, "disable_tqdm": True}

    def logps(reference) -> torch.Tensor:
        from prefopt import recipes

        objective = recipes.build("dpo", reference=reference)
        trainer = OfflineTrainer(
            tiny_llama(seed=1), loop.GameConfig(**settings), objective, Dataset.from_dict(data),
            processing_class=tiny_tokenizer(),
        )  # fmt: skip
        batch = next(iter(trainer.get_train_dataloader()))
        part = loop_parts(batch)
        return trainer.reference(part, trainer.model, trainer.accelerator)

    own, theirs = logps(Blended(0.0, str(base))), logps(Blended(1.0, str(base)))
    assert not torch.allclose(own, theirs, atol=1e-3)
    torch.testing.assert_close(logps(Blended(0.25, str(base))), 0.75 * own + 0.25 * theirs, atol=1e-5, rtol=0)
    assert torch.equal(logps(Blended(0.25)), own)
    assert ReferenceLogps(Blended(1.0, str(base)), policy, False).anchor is None
    assert torch.equal(
        ReferenceLogps(Blended(1.0, str(base)), policy, False).model.lm_head.weight, anchor.lm_head.weight
    )


def loop_parts(batch):
    from prefopt.trainers.token_budget import parts_of

    (part,) = parts_of(batch)
    return part


class Stop(TrainerCallback):
    """Stops the training of an iteration after a step, as a terminal would."""

    def __init__(self, number: int, step: int) -> None:
        self.number, self.step, self.begun = number, step, 0

    def on_train_begin(self, args, state, control, **kwargs):
        self.begun += 1

    def on_step_end(self, args, state, control, **kwargs):
        if (self.begun, state.global_step) == (self.number, self.step):
            raise KeyboardInterrupt


def stopping_judge(after: int):
    calls = Counter()

    def vowels_until(prompts, completions):
        calls["asked"] += 1
        if calls["asked"] > after:
            raise KeyboardInterrupt
        return vowels(prompts, completions)

    vowels_until.__name__ = "vowels"
    return vowels_until


SAVED = {"save_strategy": "steps", "save_steps": 1}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, base: Path) -> tuple[Path, list]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, play_game(base, prompts(8), vowels, config(folder, **SAVED), prompts(2)).iterations


@pytest.mark.parametrize("where", ["training 1", "training 2", "judge", "candidates", "between"])
def test_a_stopped_game_goes_on_to_the_same_end(
    tmp_path: Path, base: Path, uninterrupted, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Stopped in the training of either iteration, in the judge's second chunk, in the third chunk of candidates, or
    between two iterations: the same command gives the same weights, bit by bit, and draws no candidate twice.
    """
    settings, judge = config(tmp_path, **SAVED), vowels
    with monkeypatch.context() as patch:
        if where.startswith("training"):
            number = int(where[-1])
            stop = Stop(number, 1)
            align = loop.align_offline
            patch.setattr(loop, "align_offline", lambda *a, **k: align(*a, **k, callbacks=[stop]))
        elif where == "judge":
            judge = stopping_judge(1)
        elif where == "candidates":
            patch.setattr(loop, "draw", stopping_draw(loop.draw, 2))
        else:
            settings = config(tmp_path, iterations=1, prompts_per_iteration=4, **SAVED)
        if where == "between":
            play_game(base, prompts(8), judge, settings, prompts(2))
        else:
            with pytest.raises(KeyboardInterrupt):
                play_game(base, prompts(8), judge, settings, prompts(2))
    drawn = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("candidates_*.json")}
    settings = config(tmp_path, **SAVED, **({"prompts_per_iteration": 4} if where == "between" else {}))
    done = play_game(base, prompts(8), vowels, settings, prompts(2))
    whole, iterations = uninterrupted
    assert torch.equal(weights(tmp_path), weights(whole))
    assert [one["win_rate"] for one in done.iterations] == [one["win_rate"] for one in iterations]
    assert [one["loss"] for one in done.iterations] == [one["loss"] for one in iterations]
    assert all(file.stat().st_mtime_ns == when for file, when in drawn.items())


def stopping_draw(draw, after: int):
    calls = Counter()

    def stop(*given):
        calls["drawn"] += 1
        if calls["drawn"] > after:
            raise KeyboardInterrupt
        return draw(*given)

    return stop


def test_a_finished_game_is_not_played_again(tmp_path: Path, base: Path) -> None:
    """Neither judge nor trainer is asked; another setting is refused before anything is overwritten."""
    first = play_game(base, prompts(4), vowels, config(tmp_path))
    again = play_game(base, prompts(4), stopping_judge(0), config(tmp_path))
    assert again.iterations == first.iterations
    with pytest.raises(UserError, match="was run with learning_rate"):
        play_game(base, prompts(4), vowels, config(tmp_path, learning_rate=2e-3))
    with pytest.raises(UserError, match="was run with data"):
        play_game(base, prompts(5).select(range(1, 5)), vowels, config(tmp_path))


def test_a_changed_judge_is_refused(tmp_path: Path, base: Path) -> None:
    """Verdicts of two judges in one game would be nobody's."""
    file = tmp_path / "judge.py"
    text = "def judge(prompts, completions):\n    return [{}float(len(one)) for one in completions]\n"
    file.write_text(text.format(""))
    play_game(base, prompts(4), f"{file}:judge", config(tmp_path / "game", iterations=1))
    file.write_text(text.format("-"))
    with pytest.raises(UserError, match="was run with judge_content"):
        play_game(base, prompts(4), f"{file}:judge", config(tmp_path / "game", iterations=1))


def test_the_tokens_that_were_drawn_are_those_that_are_learnt(tmp_path: Path, base: Path) -> None:
    """A cut answer gets no end token that nobody wrote: its tokens in the pairs are its tokens in the candidates."""
    play_game(base, prompts(4), vowels, config(tmp_path, iterations=1))
    drawn = {tuple(one["ids"]) for row in read(tmp_path, 1, "candidates") for one in row["candidates"]}
    pairs = json.loads((tmp_path / "iteration_01" / "pairs" / "pairs.json").read_text())
    assert {tuple(pair[side]["ids"]) for pair in pairs for side in ("chosen", "rejected")} <= drawn
    assert any(ids[-1] != 2 for ids in drawn)


def test_a_teacher_and_history(tmp_path: Path, base: Path) -> None:
    """DNO-Prct: six candidates, the last the data's own answer, with its end token. A judge of six points; iteration 2
    has 30 % of the first's pairs beside its own, rounded down.
    """

    def points(prompts, completions, answer):
        return [
            6.0 if text == wanted else float(len(text) % 3) for text, wanted in zip(completions, answer, strict=True)
        ]

    settings = config(tmp_path, "dno", recipe_settings={"practical": True}, teacher_column="answer")
    done = play_game(base, prompts(8), points, settings)
    rows = read(tmp_path, 1, "candidates")
    assert {len(row["candidates"]) for row in rows} == {6}
    assert all(row["candidates"][-1]["text"] == str(row["row"]) for row in rows)
    assert all(row["candidates"][-1]["ids"][-1] == 2 for row in rows)
    first, second = done.iterations
    assert first["trained_on"] == first["pairs"]
    assert second["trained_on"] == second["pairs"] + int(0.3 * first["pairs"])


def test_history_halves() -> None:
    """Ten pairs each, share .5: five of the last iteration's, two of the one before (2.5 rounded down), one."""
    earlier = [[{"from": number, "pair": pair} for pair in range(10)] for number in (3, 2, 1)]
    found = mixed_in([{"from": 4}], earlier, 0.5, seed=0)
    assert Counter(one["from"] for one in found) == {4: 1, 3: 5, 2: 2, 1: 1}
    assert len({(one["from"], one.get("pair")) for one in found}) == len(found)


def test_portions_of_prompts(tmp_path: Path) -> None:
    """Disjoint parts unless a number is given; then a shuffled order, each prompt once before any comes twice."""
    parts = [portion(7, number, config(tmp_path)) for number in (1, 2)]
    assert len({*parts[0], *parts[1]}) == 6
    settings = config(tmp_path, prompts_per_iteration=3)
    found = [row for number in range(1, 5) for row in portion(4, number, settings)]
    assert [sorted(found[start : start + 4]) for start in (0, 4, 8)] == [[0, 1, 2, 3]] * 3
    with pytest.raises(UserError, match="set prompts_per_iteration"):
        portion(1, 1, config(tmp_path))


def test_adapters_are_merged_after_each_iteration(tmp_path: Path, base: Path) -> None:
    """Each iteration leaves a whole model, which the next one starts from."""
    adapter = AdapterArguments(use_peft=True, lora_r=4)
    play_game(base, prompts(4), vowels, config(tmp_path), adapter=adapter)
    for folder in (tmp_path / "iteration_01" / "policy", tmp_path):
        assert weights(folder).shape == weights(base).shape
        assert not (folder / "adapter_config.json").exists()


def test_messages_are_judged_as_messages(tmp_path: Path, base: Path) -> None:
    """A prompt of messages: its answers are lists of one assistant message."""
    asked = Dataset.from_dict({"prompt": [[{"role": "user", "content": f"Q{i}?"}] for i in range(4)]})
    seen = []

    def judge(prompts, first, second):
        seen.extend(first)
        return [0.7] * len(first)

    play_game(base, asked, judge, config(tmp_path, iterations=1))
    assert seen
    assert all([message["role"] for message in one] == ["assistant"] for one in seen)


def test_verdicts_that_leave_nothing(tmp_path: Path, base: Path) -> None:
    with pytest.raises(UserError, match="left no pair to learn from"):
        play_game(base, prompts(4), lambda prompts, completions: [None] * len(prompts), config(tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipe": "dpo"}, "takes its pairs from data; a game is one of dno, inpo, nash_md, sppo, xpo"),
        ({"recipe": "dno", "recipe_settings": {"practical": True}}, "set teacher_column"),
        ({"teacher_column": "answer"}, "asks no teacher"),
        ({"reference_model": "somewhere"}, "its anchor is the model that it starts from"),
        ({"recipe": "halpern"}, "is of kind game, not offline"),
        ({"max_completion_length": 600}, "600"),
        ({"max_length": 64}, "max_length is not set in a game"),
        ({"sample_weights": True}, "sample_weights is for pairs from data"),
        ({"recipe_settings": {"eta": 0.0}}, "eta must be positive, not 0"),
        ({"recipe_settings": {"tau": 0.1}}, r"tau must lie in \[0, eta=0.005\], not 0.1"),
    ],
)
def test_settings_are_refused_before_a_model_is_loaded(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, settings: dict, message: str
) -> None:
    monkeypatch.setattr(loop, "load_policy", None)
    with pytest.raises(UserError, match=message):
        play_game(base, prompts(4), vowels, config(tmp_path, **{"recipe": "inpo", **settings}))


def test_scores_are_asked_for_before_anything_is_drawn(tmp_path: Path, base: Path, monkeypatch) -> None:
    def compares(prompts, first, second):
        return [0.5] * len(first)

    monkeypatch.setattr(loop, "load_policy", None)
    settings = config(tmp_path, "dno", recipe_settings={"practical": True}, teacher_column="answer")
    with pytest.raises(UserError, match="ClearMargin chooses pairs by scores, and judge 'compares' only compares"):
        play_game(base, prompts(4), compares, settings)


@pytest.mark.parametrize(("recipe", "kept"), [("nash_md", 1), ("inpo", 0), ("sppo", 0), ("dno", 0)])
def test_equal_answers(recipe: str, kept: int) -> None:
    """Of two equal answers nothing is learnt by their difference; Nash-MD's KL has a gradient in y alone.

    E[l(y) grad log pi(y)] is over all answers of the policy: without those that the opponent gave too, the likeliest
    ones, it would not be the KL's.
    """
    played = recipes.build(recipe).pairs
    answer = {"ids": [5, 2], "text": "a"}
    drawn = [{"row": 0, "candidates": [{"origin": origin, **answer} for origin in played.candidates.origins]}]
    count = len(played.candidates.origins)
    verdicts = [{"row": 0, "wins": [[0.5] * count] * count, "scores": None}]
    assert len(choose(played, drawn, verdicts, seed=0)[0]) == kept


def test_a_column_that_the_judge_reads_must_be_there(tmp_path: Path, base: Path) -> None:
    def judge(prompts, first, second, gold):
        return [0.5] * len(first)

    with pytest.raises(UserError, match="gold reads the column 'gold', which the training data does not have"):
        play_game(base, prompts(4), judge, config(tmp_path))


def test_from_the_command_line(tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prompts in a file, a user's function as the judge, YAML and flags; the same command again does nothing."""
    data, judge = tmp_path / "prompts.jsonl", tmp_path / "judge.py"
    data.write_text("".join(json.dumps({"prompt": f"Q{i}?", "answer": str(i)}) + "\n" for i in range(4)))
    judge.write_text(
        "def longer(prompts, first, second):\n"
        "    return [0.9 if len(a) > len(b) else 0.4 for a, b in zip(first, second)]\n"
    )
    settings = tmp_path / "play.yaml"
    settings.write_text(
        f"model: {base}\ndata: {data}\njudge:\n  source: {judge}:longer\n  both_orders: false\nrecipe: nash_md\n"
    )
    command = [
        "play", "--config", str(settings), "--output-dir", str(tmp_path / "out"), "--iterations", "2",
        "--use-cpu", "true", "--max-completion-length", "5", "--learning-rate", "1e-3", "--disable-tqdm", "true",
    ]  # fmt: skip
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "Iterations" in shown
    assert (tmp_path / "out" / "model.safetensors").exists()
    first = weights(tmp_path / "out")
    assert main(command) == 0
    assert torch.equal(weights(tmp_path / "out"), first)
