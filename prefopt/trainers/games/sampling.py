"""Candidates of a preference game, drawn from the policy, the reference and their mixture."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from prefopt.games.judged import Candidates, Origin

NGRAM, TIMES = 8, 4


@dataclass(frozen=True)
class Drawn:
    """A candidate: who wrote it, its tokens (the end token among them, where it ended), its text."""

    origin: Origin
    ids: list[int]
    text: str

    @property
    def broken(self) -> bool:
        """Whether it repeats itself: some run of `NGRAM` tokens stands in it at least `TIMES` times."""
        runs = Counter(tuple(self.ids[i : i + NGRAM]) for i in range(len(self.ids) - NGRAM + 1))
        return max(runs.values(), default=0) >= TIMES


class MixedLogits(LogitsProcessor):
    """``(1 - share) logits_policy + share logits_reference``, before temperature and top-p.

    Args:
        reference: a causal language model. share: its weight.
        mask: ``(B, P)``, the prompts' attention mask, padding on the left.
    """

    def __init__(self, reference: Any, share: float, mask: Tensor) -> None:
        self.reference, self.share, self.mask = reference, share, mask
        self.cache: Any = None

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the mixed logits ``(B, V)`` of the next token."""
        grown = input_ids.shape[1] - self.mask.shape[1]
        mask = torch.nn.functional.pad(self.mask, (0, grown), value=1)
        places = (mask.long().cumsum(1) - 1).clamp(min=0)
        new = input_ids.shape[1] if self.cache is None else 1
        found = self.reference(
            input_ids=input_ids[:, -new:],
            attention_mask=mask,
            position_ids=places[:, -new:],
            past_key_values=self.cache,
            use_cache=True,
        )
        self.cache = found.past_key_values
        # A banned token has no finite logit, and stays banned whatever the share.
        return torch.where(scores.isinf(), scores, torch.lerp(scores, found.logits[:, -1].to(scores), self.share))


@dataclass
class Sampler:
    """Draws the candidates of some prompts.

    Attributes:
        policy, reference: causal language models in evaluation mode; the reference where anything reads it.
        tokenizer: of both. longest: tokens of a completion.
    """

    policy: Any
    reference: Any
    tokenizer: Any
    candidates: Candidates
    longest: int
    device: Any = "cpu"
    ends: list[int] = field(init=False)

    def __post_init__(self) -> None:
        named = self.policy.generation_config.eos_token_id
        every = named if isinstance(named, list) else [named]
        self.ends = sorted({token for token in (*every, self.tokenizer.eos_token_id) if token is not None})

    def __call__(self, prompts: Sequence[list[int]], seed: int) -> list[list[Drawn]]:
        """Return each prompt's own candidates, teachers left out, in the order of their origins."""
        found: list[list[Drawn]] = [[] for _ in prompts]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for origin, count in (
                ("policy", self.candidates.policy),
                ("opponent", self.candidates.opponent),
                ("reference", self.candidates.reference),
            ):
                if count:
                    rows = self._draw([prompt for prompt in prompts for _ in range(count)], origin)
                    for number, ids in enumerate(rows):
                        text = self.tokenizer.decode(ids, skip_special_tokens=True)
                        found[number // count].append(Drawn(origin, ids, text))  # type: ignore[arg-type]
        return found

    @torch.inference_mode()
    def _draw(self, prompts: list[list[int]], origin: str) -> list[list[int]]:
        width, pad = max(map(len, prompts)), self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(one)) + one for one in prompts], device=self.device)
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=self.device)
        model = self.reference if origin == "reference" else self.policy
        mixed = [MixedLogits(self.reference, self.candidates.mixture, mask)]
        manner = GenerationConfig(
            do_sample=True,
            temperature=self.candidates.temperature,
            top_p=self.candidates.top_p,
            top_k=0,
            max_new_tokens=self.longest,
            pad_token_id=pad,
            eos_token_id=self.ends or None,
        )
        processors = LogitsProcessorList(mixed if origin == "opponent" and self.candidates.mixture else [])
        with _plain(model):
            written = model.generate(
                input_ids=ids, attention_mask=mask, generation_config=manner, logits_processor=processors
            )
        return [self._cut(row) for row in written[:, width:].tolist()]

    def _cut(self, ids: list[int]) -> list[int]:
        """Return the tokens up to the first end token, which stays."""
        end = next((place for place, token in enumerate(ids) if token in self.ends), len(ids) - 1)
        return ids[: end + 1]


@contextmanager
def _plain(model: Any) -> Iterator[None]:
    """Let a model generate from its own distribution, less the tokens that it never writes.

    What a call leaves open, `generate` takes from the settings in the model's folder: with a repetition penalty there,
    candidates would not be draws from the policy that the loss speaks of.
    """
    own = model.generation_config
    model.generation_config = GenerationConfig(suppress_tokens=own.suppress_tokens)
    try:
        yield
    finally:
        model.generation_config = own


def seed_of(*names: Any) -> int:
    """Return a seed that follows from all names."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
