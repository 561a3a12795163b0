"""Runs of several stages, stopped between and inside them: every game, and a guide with a policy that has a state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from prefopt import recipes
from prefopt.offline.reference import Guide
from prefopt.trainers.games import play as loop
from prefopt.trainers.games.play import play_game
from prefopt.trainers.offline import align_offline
from scripts.faults.resuming import offline_cases as offline
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer
from tests.trainers.games.test_play import PLAYABLE, SAVED, Stop, config, prompts, stopping_draw, stopping_judge, vowels
from tests.trainers.games.test_play import weights as of_folder
from tests.trainers.pairs import pairs, quiet
from tests.trainers.test_guided import SETTINGS, StopAt, losses, weights

STOPS = ("training 1", "training 2", "judge", "candidates")


@pytest.mark.slow
@pytest.mark.parametrize("where", STOPS)
@pytest.mark.parametrize("recipe", PLAYABLE)
def test_games(recipe: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the training of either iteration, in the judge's chunks, or between chunks of candidates."""
    base = save_tiny(tmp_path / "base", tiny_llama(layers=1, hidden=16), tiny_tokenizer())
    more = {**SAVED, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 1}
    whole = play_game(base, prompts(8), vowels, config(tmp_path / "whole", recipe, **more), prompts(2))
    settings, judge = config(tmp_path / "again", recipe, **more), vowels
    with monkeypatch.context() as patch:
        if where.startswith("training"):
            stop, align = Stop(int(where[-1]), 1), loop.align_offline
            patch.setattr(loop, "align_offline", lambda *a, **k: align(*a, **k, callbacks=[stop]))
        elif where == "judge":
            judge = stopping_judge(1)
        else:
            patch.setattr(loop, "draw", stopping_draw(loop.draw, 2))
        with pytest.raises(KeyboardInterrupt):
            play_game(base, prompts(8), judge, settings, prompts(2))
    again = play_game(base, prompts(8), vowels, settings, prompts(2))
    assert torch.equal(of_folder(tmp_path / "again"), of_folder(tmp_path / "whole"))
    assert again.iterations == whole.iterations


@pytest.mark.slow
@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize(("number", "step"), [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_a_guide_of_a_recipe_with_a_state(number: int, step: int, accumulation: int, tmp_path: Path) -> None:
    """BCO's running mean, guided by SimPO: stopped in either run, before and after its checkpoint of step 2."""
    objective: Any = recipes.build("bco_pair", beta=0.5, reference=Guide("simpo", {}))

    def align(folder: Path, **more: Any) -> Any:
        settings = {**SETTINGS, "per_device_train_batch_size": 2, "gradient_accumulation_steps": accumulation}
        rows, asked = pairs(offline.ROWS), quiet(folder, **settings)
        return align_offline(tiny_llama(layers=1), rows, asked, tokenizer=tiny_tokenizer(), objective=objective, **more)

    whole = align(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        align(tmp_path / "again", callbacks=[StopAt(number, step)])
    again = align(tmp_path / "again", resume_from=True)
    assert torch.equal(weights(again.model), weights(whole.model))
    assert losses(again) == losses(whole)


def test_no_game_is_left_out() -> None:
    """Games of language models are in `PLAYABLE`; the others are solved on a table, and have no checkpoints."""
    played = {name for name in recipes.names("game") if hasattr(recipes.build(name), "pairs")}
    assert played <= set(PLAYABLE)
