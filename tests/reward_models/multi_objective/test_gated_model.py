"""A gated reward model: its folder, its scores with shared prompts, what explains a score, stopped embedding."""

from __future__ import annotations

import json
import os
import random

import pytest
import torch
from datasets import Dataset

from reward_models import RewardModel
from reward_models.errors import DataError, ModelError
from reward_models.folder import check_gated
from reward_models.multi_objective.armo import ArmoRM
from reward_models.multi_objective.embedding import embed
from reward_models.multi_objective.gate import Gate, GateSettings
from reward_models.multi_objective.mixture import Mixture
from reward_models.scoring import Part, ScoringSettings, join_parts, score_file, score_part
from reward_models.scoring.processes import score_in_processes
from tests.tiny import save_tiny, tiny_bert, tiny_llama, tiny_tokenizer

SMALL = GateSettings(width=16, layers=1, steps=20, batch_size=32)


def backbone(path, make):
    """A random backbone's folder."""
    return save_tiny(path, make(), tiny_tokenizer(encoder=make is tiny_bert))


def gated(path, make) -> RewardModel:
    """Two attributes, a random gate and a debiasing that is not the identity."""
    model = RewardModel.from_backbone(backbone(path, make), heads=("helpful", "length"))
    torch.manual_seed(1)
    gate = Gate(model.config.hidden_size, 2, width=8, temperature=1.0).eval()
    model.mixture = Mixture(gate, torch.tensor([[1.0, 0.0], [-0.4, 0.0]]))
    return model.eval()


@pytest.mark.parametrize("make", [tiny_llama, tiny_bert])
def test_score_is_the_sum_of_what_explains_it(tmp_path, make) -> None:
    """Columns: score, two attributes, two weights; score = sum of weight * attribute. The folder gives the same."""
    model = gated(tmp_path / "base", make)
    assert model.names == ("score", "helpful", "length")
    prompts, answers = ["ab", "ab", "c", "abc"], ["x", "yy", "zz", "xyz"]
    plain = model.score(prompts, answers)
    model.explain = True
    assert model.names == ("score", "helpful", "length", "weight_helpful", "weight_length")
    found = model.score(prompts, answers)
    torch.testing.assert_close(found[:, :3], plain)
    torch.testing.assert_close(found[:, 0], (found[:, 1:3] * found[:, 3:]).sum(-1))
    # The gate sees the prompt alone: equal prompts have equal weights.
    torch.testing.assert_close(found[0, 3:], found[1, 3:])
    assert not torch.allclose(found[0, 3:], found[2, 3:])
    model.save_pretrained(tmp_path / "saved")
    again = RewardModel.from_pretrained(tmp_path / "saved")
    torch.testing.assert_close(again.score(prompts, answers), plain)


def test_shared_prompts_change_nothing(tmp_path) -> None:
    """Eight answers to one prompt in one row, and each in a row of its own: the same scores and weights."""
    model = gated(tmp_path / "base", tiny_llama)
    model.explain = True
    answers = ["x" * n + "y" for n in range(8)]
    together = model.score(["abcab"] * 8, answers)
    alone = torch.cat([model.score(["abcab"], [answer]) for answer in answers])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_a_decoders_prompt_state_is_that_of_the_prompt_alone(tmp_path) -> None:
    """Causal attention: the state at the prompt's last token does not know the answer."""
    model = gated(tmp_path / "base", tiny_llama)
    rows = [model.formatter().encode("abc", answer) for answer in ("x", "zzzz")]
    _, prompts = model.embed_encoded(rows)
    torch.testing.assert_close(prompts[0], prompts[1])
    ids = torch.tensor([rows[0].input_ids[: rows[0].response_start]])
    with torch.no_grad():
        alone = model.backbone(input_ids=ids).last_hidden_state[0, -1]
    torch.testing.assert_close(prompts[0], alone)


def test_explained_scores_of_a_file(tmp_path) -> None:
    """Columns of score, attributes and weights; score = sum of weight * attribute. Two parts joined: the same bytes."""
    gated(tmp_path / "base", tiny_llama).save_pretrained(tmp_path / "saved")
    model = RewardModel.from_pretrained(tmp_path / "saved")
    source, name = tmp_path / "in.jsonl", tmp_path / "saved"
    rows = [{"prompt": "ab" * (1 + i % 3), "completion": "x" * i + "y"} for i in range(12)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ScoringSettings(explain=True, shard_rows=3)
    score_file(model, source, tmp_path / "out.jsonl", settings, name)
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().split("\n") if line]
    parts = ["helpful", "length"]
    assert list(found[0])[2:] == ["score", *parts, *(f"weight_{part}" for part in parts)]
    for row in found:
        assert row["score"] == pytest.approx(sum(row[f"weight_{part}"] * row[part] for part in parts), abs=1e-5)
    again = RewardModel.from_pretrained(name)
    for number in (1, 2):
        score_part(again, source, tmp_path / "joined.jsonl", settings, name, Part(number, 2))
    join_parts(source, tmp_path / "joined.jsonl", 2)
    assert (tmp_path / "joined.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()


def test_several_processes_explain_as_one_does(tmp_path, monkeypatch) -> None:
    """Two processes of one thread each beside one of one thread: attributes and weights too, byte for byte."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    gated(tmp_path / "base", tiny_llama).save_pretrained(tmp_path / "saved")
    source, name = tmp_path / "in.jsonl", tmp_path / "saved"
    source.write_text("".join(f'{{"prompt": "ab", "completion": "{"x" * i}y"}}\n' for i in range(8)))
    settings = ScoringSettings(explain=True, shard_rows=2)
    score_file(RewardModel.from_pretrained(name), source, tmp_path / "one.jsonl", settings, name)
    report = score_in_processes(name, source, tmp_path / "two.jsonl", 2, settings, "cpu")
    assert (report.rows, report.scored) == (8, 8)
    assert (tmp_path / "two.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()
    first = json.loads((tmp_path / "two.jsonl").read_text().split("\n")[0])
    assert {"helpful", "length", "weight_helpful", "weight_length"} <= set(first)


def test_a_plain_score_has_nothing_to_explain(tmp_path) -> None:
    """Refused with the way out, by the engine and, from the folder alone, by the command."""
    model = RewardModel.from_backbone(backbone(tmp_path / "base", tiny_llama))
    model.save_pretrained(tmp_path / "plain")
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "a", "completion": "b"}\n')
    with pytest.raises(ModelError, match="this model has no gate; leave explain out"):
        score_file(model, source, tmp_path / "out.jsonl", ScoringSettings(explain=True))
    with pytest.raises(ModelError, match="plain: explain writes what each attribute counts"):
        check_gated(tmp_path / "plain")


def preference_data() -> tuple[Dataset, Dataset]:
    """Ratings and pairs of random texts: 'even' is the share of x's, 'long' the length; each row rates one of them."""
    draw = random.Random(0)
    texts = ["".join(draw.choices("xyz", k=draw.randint(1, 8))) for _ in range(120)]
    ratings = [
        {
            "prompt": "ab",
            "completion": text,
            "even": text.count("x") / len(text) if i % 3 else None,
            "long": len(text) / 8 if i % 2 else None,
        }
        for i, text in enumerate(texts)
    ]
    pairs = [{"prompt": draw.choice(["a", "b"]), "chosen": texts[i], "rejected": texts[i + 60]} for i in range(60)]
    return Dataset.from_list(ratings), Dataset.from_list(pairs)


def test_both_stages_end_to_end(tmp_path) -> None:
    """Fit, save, load: columns, held-out figures, and scores that equal the fitted parts' own."""
    model = RewardModel.from_backbone(backbone(tmp_path / "base", tiny_llama))
    ratings, pairs = preference_data()
    found = ArmoRM(verbosity="long", strengths=(1.0,), gate=SMALL)(model, ratings, pairs, tmp_path / "cache")
    assert model.names == ("score", "even", "long")
    assert [fit.rows for fit in found.heads.fits] == [80, 60]
    assert found.gated.total == 12
    record = json.loads(json.dumps(found.as_json()))
    assert set(record["held_out_accuracy"]) == {"gated", "mean", "even", "long"}
    assert record["penalties"]["long"] == 1.0
    model.save_pretrained(tmp_path / "armo")
    scores = RewardModel.from_pretrained(tmp_path / "armo").score(["a"], ["xyx"])
    rows = [model.formatter().encode("a", "xyx")]
    answers, prompts = model.embed_encoded(rows)
    attributes = answers @ found.heads.weights.T
    torch.testing.assert_close(scores[:, 1:], attributes, atol=1e-5, rtol=1e-5)
    assert model.mixture is not None
    with torch.no_grad():
        model.eval()
        expected = (model.mixture.gate(prompts) * found.debias(attributes)).sum(-1)
    torch.testing.assert_close(scores[:, 0], expected, atol=1e-5, rtol=1e-5)


def test_pairs_of_their_own_may_judge(tmp_path) -> None:
    """The gate learns from all 60 pairs, the 24 others judge; without them it learns from 48 and is another."""
    ratings, pairs = preference_data()
    found = []
    for judges in (pairs.select(range(24)), None):
        model = RewardModel.from_backbone(backbone(tmp_path / "base", tiny_llama))
        armo = ArmoRM(verbosity="long", strengths=(1.0,), gate=SMALL)
        fit = armo(model, ratings, pairs, tmp_path / "cache", judges=judges)
        found.append((fit.gated.total, model.mixture.gate.network[0].weight))
    assert [total for total, _ in found] == [24, 12]
    assert not torch.equal(found[0][1], found[1][1])


def test_unusable_columns_are_named_first(tmp_path) -> None:
    """Before anything is embedded."""
    model = RewardModel.from_backbone(backbone(tmp_path / "base", tiny_llama))
    ratings, pairs = preference_data()
    with pytest.raises(DataError, match="no column 'kind'"):
        ArmoRM(attributes=("kind",))(model, ratings, pairs, tmp_path / "cache")
    with pytest.raises(DataError, match="verbosity 'words' is none of the attributes even, long"):
        ArmoRM(verbosity="words")(model, ratings, pairs, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_stopped_embedding_goes_on(tmp_path, monkeypatch) -> None:
    """Blocks of four rows. The third fails; the next call computes it and the torn second one, and no other."""
    monkeypatch.setattr("reward_models.multi_objective.embedding.ROWS", 4)
    model = RewardModel.from_backbone(backbone(tmp_path / "base", tiny_llama))
    rows = [model.formatter().encode("ab", "x" * n) for n in range(1, 12)]
    whole = model.embed_encoded(rows)
    computed: list[int] = []
    plain = RewardModel.embed_encoded

    def counted(self, part, batch_size=16):
        computed.append(len(part[0].input_ids))
        if len(computed) == 3:
            raise KeyboardInterrupt
        return plain(self, part, batch_size)

    monkeypatch.setattr(RewardModel, "embed_encoded", counted)
    with pytest.raises(KeyboardInterrupt):
        embed(model, rows, tmp_path / "cache", quiet=True)
    torn = tmp_path / "cache" / "states-000000004.safetensors"
    torn.write_bytes(torn.read_bytes()[:-7])
    found = embed(model, rows, tmp_path / "cache", quiet=True)
    assert found is not None
    for ours, theirs in zip(found, whole, strict=True):
        torch.testing.assert_close(ours, theirs)
    lengths = [len(rows[i].input_ids) for i in (0, 4, 8)]
    assert computed == [*lengths, lengths[1], lengths[2]]
    with pytest.raises(ModelError, match="of other rows"):
        embed(model, rows[:5], tmp_path / "cache", quiet=True)


def test_parts_side_by_side(tmp_path, monkeypatch) -> None:
    """The first of two processes gets None, since blocks are missing; the second finds all."""
    monkeypatch.setattr("reward_models.multi_objective.embedding.ROWS", 4)
    model = RewardModel.from_backbone(backbone(tmp_path / "base", tiny_llama))
    rows = [model.formatter().encode("ab", "x" * n) for n in range(1, 12)]
    assert embed(model, rows, tmp_path / "cache", part=(0, 2), quiet=True) is None
    found = embed(model, rows, tmp_path / "cache", part=(1, 2), quiet=True)
    assert found is not None
    torch.testing.assert_close(found[0], model.embed_encoded(rows)[0])


def test_a_folder_without_its_mixture_is_refused(tmp_path) -> None:
    """A score that is one of many heads must not be taken for the mixed one."""
    gated(tmp_path / "base", tiny_llama).save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "mixture.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no mixture\.safetensors"):
        RewardModel.from_pretrained(tmp_path / "saved")
