"""Reward models that compare, as a user trains, scores and evaluates them."""

from __future__ import annotations

import json
import math
import random

import pytest
import torch
from torch.testing import assert_close

from prefopt import recipes
from prefopt.cli import main
from reward_models import RewardModel
from reward_models.errors import ModelError
from reward_models.evaluation import read_answer_sets
from reward_models.goal import answer_states, goal_values
from reward_models.reference import Referenced, check_served
from reward_models.source import ModelReward
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A backbone and 32 pairs with a reference: chosen answers and references are x's, rejected ones y's."""
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path / "base", tiny_llama(), tiny_tokenizer())
    draw = random.Random(0)
    rows = [
        {
            "prompt": "".join(draw.choices("abc", k=4)),
            "reference": "x" * draw.randint(2, 6),
            "chosen": "x" * draw.randint(1, 6),
            "rejected": "y" * draw.randint(1, 6),
        }
        for _ in range(32)
    ]
    write(tmp_path / "pairs.jsonl", rows)
    return tmp_path


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def train(loss, *more):
    command = f"train-reward --model base --data pairs.jsonl --output-dir out --eval-split 8 --loss {loss} --use-cpu"
    return main([*command.split(), "--learning-rate", "1e-2", "--num-train-epochs", "4", "--disable-tqdm", *more])


def run(command):
    return main(command.split())


def evaluated():
    assert run("evaluate-reward --model out --data pairs.jsonl --json eval.json --device cpu") == 0


@pytest.mark.parametrize("loss", recipes.names("reward"))
def test_every_recipe_of_rewards_has_settings_that_are_shown(loss, capsys):
    """`prefopt methods NAME` prints the recipe."""
    assert main(["methods", loss]) == 0
    assert loss in capsys.readouterr().out


def test_a_policy_discriminator(place, capsys):
    """Its folder says how it reads; scores in the file are those of an answer beside its reference."""
    assert train("policy_discriminator") == 0
    assert json.loads((place / "out" / "reward_head.json").read_text())["layout"] == {
        "separator": "\n", "marker": None, "against": "reference",
    }  # fmt: skip
    evaluated()
    found = json.loads((place / "eval.json").read_text())
    assert found["accuracy"] == 1.0
    assert run("score --model out --data pairs.jsonl --output scored.jsonl --device cpu") == 0
    rows = read(place / "scored.jsonl")
    model = RewardModel.from_pretrained("out")
    asked = [Referenced(row["prompt"], row["reference"]) for row in rows]
    assert_close(
        model.score(asked, [row["chosen"] for row in rows])[:, 0],
        torch.tensor([row["score_chosen"] for row in rows]), atol=1e-4, rtol=0,
    )  # fmt: skip
    margins = [row["score_chosen"] - row["score_rejected"] for row in rows]
    assert sum(margins) / 32 == pytest.approx(found["mean_margin"], abs=1e-4)
    source = ModelReward(model)
    assert source.reads == ("reference",)
    given = source(["ab"] * 2, ["xx", "yy"], reference=["xxx"] * 2)
    assert given[0] > given[1]


def test_a_missing_reference_is_said_at_once(place, capsys):
    """In training (before a model is loaded), scoring, evaluation and as a reward source."""
    assert train("policy_discriminator") == 0
    rows = read(place / "pairs.jsonl")
    write(place / "pairs.jsonl", [{key: value for key, value in row.items() if key != "reference"} for row in rows])
    capsys.readouterr()
    for command in (
        "train-reward --model base --data pairs.jsonl --output-dir o --loss policy_discriminator --use-cpu",
        "score --model out --data pairs.jsonl --output scored.jsonl --device cpu",
        "evaluate-reward --model out --data pairs.jsonl --device cpu",
    ):
        assert run(command) == 2
        assert "reference" in capsys.readouterr().err
    from prefopt.trainers.rewards.reading import read_source

    assert read_source({"source": "out"}).required_columns() == {"reference": "reference"}
    assert read_source({"source": "out", "columns": {"reference": "gold"}}).required_columns() == {"reference": "gold"}


def test_where_a_comparing_model_cannot_be_asked(place, capsys):
    """A server's request and answers with gold rewards hold no reference: refused with what to use instead.

    Both is said from the folder's description alone: its weights are gone.
    """
    assert train("policy_discriminator", "--max-steps", "1") == 0
    write(place / "answers.jsonl", [{"prompt": "ab", "completions": ["xx", "yy"], "gold": [1, 0]}])
    (place / "out" / "model.safetensors").unlink()
    capsys.readouterr()
    assert run("serve --model out --port 0") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "out scores an answer beside a reference, which a request to a server has no field for" in said
    assert "with `prefopt score`" in said
    assert run("evaluate-reward --model out --data pairs.jsonl --answers answers.jsonl --device cpu") == 2
    assert "answers with gold rewards (--answers) have none" in " ".join(capsys.readouterr().err.split())


def test_a_judge_of_two_answers(place):
    """Scores of a pair are shares of one comparison in both orders: they sum to 1, and the evaluation's margin is

    their log-odds. Lists of three have means over two comparisons each, which sum to 3/2; so has the reward source.
    """
    assert train("groupwise_pairwise") == 0
    assert json.loads((place / "out" / "reward_head.json").read_text())["statistics"] == {}
    evaluated()
    found = json.loads((place / "eval.json").read_text())
    assert found["accuracy"] == 1.0
    assert run("score --model out --data pairs.jsonl --output scored.jsonl --device cpu") == 0
    rows = read(place / "scored.jsonl")
    assert all(row["score_chosen"] + row["score_rejected"] == pytest.approx(1.0) for row in rows)
    odds = [math.log(row["score_chosen"] / row["score_rejected"]) for row in rows]
    assert sum(odds) / 32 == pytest.approx(found["mean_margin"], rel=1e-3)
    write(place / "lists.jsonl", [{"prompt": "ab", "completions": ["xx", "yy", "xyx"]}])
    assert run("score --model out --data lists.jsonl --output scored.jsonl --device cpu") == 0
    rates = read(place / "scored.jsonl")[0]["score"]
    assert sum(rates) == pytest.approx(1.5)
    assert rates[0] > rates[1]
    source = ModelReward("out")
    assert source(["ab"] * 3, ["xx", "yy", "xyx"])[:, 0].tolist() == pytest.approx(rates, abs=1e-5)
    sets = read_answer_sets([{"prompt": "ab", "completions": ["xx", "yy", "xyx"], "gold": [1, 0, 0]}])
    assert sets.scores(source.model)[0].tolist() == pytest.approx(rates, abs=1e-5)
    with pytest.raises(ModelError, match="beside the other answers of its group"):
        check_served("out")


def test_a_judge_needs_two_answers(place, capsys):
    """A row with one answer has nobody to be compared with."""
    assert train("groupwise_pairwise", "--max-steps", "1") == 0
    write(place / "one.jsonl", [{"prompt": "ab", "completion": "xx"}])
    assert run("score --model out --data one.jsonl --output scored.jsonl --device cpu") == 2
    assert "two or more" in capsys.readouterr().err


def test_levels(place, capsys):
    """Trained on pairs as they are; the plain model scores prompts with and without constraints."""
    assert train("multi_level", "--max-length", "200") == 0
    shown = capsys.readouterr().out
    assert "held-out intra accuracy" in shown
    evaluated()
    assert json.loads((place / "eval.json").read_text())["accuracy"] == 1.0


def test_a_goal(place, capsys):
    """The goal is the mean of the chosen answers' last states; a value a token, the end's too, in [-1, 1]."""
    assert train("goal_conditioned") == 0
    assert "held-out goal cosine" in capsys.readouterr().out
    model = RewardModel.from_pretrained("out")
    assert model.goal.shape == (32,)
    (states,) = answer_states(model, ["ab"], ["xyx"])
    assert states.shape == (4, 32)
    (values,) = goal_values(model, ["ab"], ["xyx"])
    assert_close(values, torch.cosine_similarity(states, model.goal[None], dim=1))
    good, bad = goal_values(model, ["ab"] * 2, ["xxx", "yyy"])
    assert good[-1] > bad[-1]
    evaluated()
    assert json.loads((place / "eval.json").read_text())["accuracy"] == 1.0


def test_a_reward_without_training_is_no_loss(place, capsys):
    """hybrid_reward is a source of rewards."""
    assert train("hybrid_reward") == 2
    assert "no loss" in capsys.readouterr().err
