"""Candidates: the mixture decodes from mixed logits, and what was drawn is drawn again."""

from __future__ import annotations

import pytest
import torch

from prefopt.games.judged import Candidates
from prefopt.trainers.games.sampling import Drawn, MixedLogits, Sampler, seed_of
from tests.tiny import tiny_gpt2, tiny_llama, tiny_tokenizer

PROMPTS = [[1, 20, 30, 40], [1, 50]]


def sampler(candidates: Candidates, longest: int = 5) -> Sampler:
    return Sampler(tiny_llama(), tiny_llama(seed=1), tiny_tokenizer(), candidates, longest)


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_mixed_logits_are_those_of_both_models_on_the_whole_text(make) -> None:
    """Step by step with its cache and padding on the left, as without either: ``.7 policy + .3 reference``."""
    reference, draw = make(seed=1), torch.Generator().manual_seed(0)
    width = max(map(len, PROMPTS))
    ids = torch.tensor([[0] * (width - len(one)) + one for one in PROMPTS])
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in PROMPTS])
    mixed = MixedLogits(reference, 0.3, mask)
    for _ in range(3):
        scores = torch.randn(2, reference.config.vocab_size, generator=draw)
        found = mixed(ids, scores)
        for row, prompt in enumerate(PROMPTS):
            own = ids[row, width - len(prompt) :][None]
            with torch.no_grad():
                alone = reference(own).logits[0, -1]
            torch.testing.assert_close(found[row], 0.7 * scores[row] + 0.3 * alone, atol=2e-5, rtol=0)
        ids = torch.cat([ids, torch.randint(10, 60, (2, 1), generator=draw)], 1)


def test_a_mixture_of_one_model_is_that_model() -> None:
    """share 1: the opponent draws what the reference draws from the same numbers; share 0: what the policy draws."""

    def opponent(mixture: float) -> list[list[int]]:
        one = sampler(Candidates(policy=1, opponent=1, mixture=mixture))
        torch.manual_seed(0)
        return one._draw(PROMPTS, "opponent")

    plain = sampler(Candidates(policy=1, reference=1))
    for mixture, origin in ((1.0, "reference"), (0.0, "policy")):
        found = opponent(mixture)
        torch.manual_seed(0)
        assert found == plain._draw(PROMPTS, origin)
    assert opponent(1.0) != opponent(0.0)


def test_the_first_token_follows_the_mixture() -> None:
    """2,000 first tokens at share .5: the frequencies are softmax(mean of both logits), total variation below .12.

    The two models' own distributions lie further apart than that.
    """
    one = sampler(Candidates(policy=1, opponent=2000, mixture=0.5), longest=1)
    found = one([PROMPTS[0]], seed=1)[0][1:]
    counts = torch.bincount(torch.tensor([drawn.ids[0] for drawn in found]), minlength=264) / 2000
    with torch.no_grad():
        logits = [model(torch.tensor([PROMPTS[0]])).logits[0, -1] for model in (one.policy, one.reference)]
    mixture = ((logits[0] + logits[1]) / 2).softmax(-1)

    def apart(p: torch.Tensor, q: torch.Tensor) -> float:
        return float((p - q).abs().sum() / 2)

    noise = sum(float((p * (1 - p) / 2000).sqrt()) for p in mixture) / 2
    assert apart(counts[: len(mixture)], mixture) < 1.2 * noise
    assert all(apart(one_model.softmax(-1), mixture) > 0 for one_model in logits)


def test_candidates_are_the_policys_own_draws() -> None:
    """Settings in a model's folder (a repetition penalty, a cut of unlikely tokens) change no draw; they stay there."""
    found = []
    for settings in ({}, {"repetition_penalty": 5.0, "min_p": 0.9, "min_new_tokens": 4, "bad_words_ids": [[9], [60]]}):
        one = sampler(Candidates(policy=2, opponent=1, reference=1, mixture=0.5))
        for model in (one.policy, one.reference):
            model.generation_config.update(**settings)
        found.append(one(PROMPTS, seed=3))
        assert all(getattr(one.policy.generation_config, name) == value for name, value in settings.items())
    assert found[0] == found[1]


def test_a_banned_token_stays_banned_in_a_mixture() -> None:
    """-inf + share * (z - -inf) is no number; at share 1 as well."""
    for share in (0.3, 1.0):
        scores = torch.zeros(1, 263)
        scores[0, 7] = -torch.inf
        mixed = MixedLogits(tiny_llama(seed=1), share, torch.ones(1, 4, dtype=torch.long))
        found = mixed(torch.tensor([PROMPTS[0]]), scores)
        assert found[0, 7] == -torch.inf
        assert found.isfinite().sum() == found.shape[1] - 1


def test_what_was_drawn_is_drawn_again() -> None:
    """The same seed gives the same candidates, whatever was drawn before; the outer random state is left alone."""
    one = sampler(Candidates(policy=2, opponent=1, reference=1, mixture=0.5))
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = one(PROMPTS, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    one(PROMPTS, seed=4)
    assert one(PROMPTS, seed=3) == first
    assert [[drawn.origin for drawn in some] for some in first] == [["policy", "policy", "opponent", "reference"]] * 2


def test_an_answer_ends_with_its_first_end_token() -> None:
    one = sampler(Candidates())
    assert one.ends == [2]
    assert one._cut([5, 6, 2, 0, 0]) == [5, 6, 2]
    assert one._cut([5, 6, 7]) == [5, 6, 7]
    assert one._cut([2, 0]) == [2]


def test_repetition() -> None:
    """A run of eight tokens four times is broken, three times is not; 8 + 3 equal tokens hold such runs four times."""
    run = list(range(8))
    assert Drawn("policy", run * 4, "").broken
    assert not Drawn("policy", run * 3, "").broken
    assert Drawn("policy", [9] * 11, "").broken
    assert not Drawn("policy", [9] * 10, "").broken


def test_seeds() -> None:
    """They follow from names alone, and fit torch's generator."""
    assert seed_of(0, 1, "pairs") == seed_of(0, 1, "pairs") != seed_of(0, 11, "pairs")
    assert 0 <= seed_of("x") < 2**63
