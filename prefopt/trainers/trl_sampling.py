"""Completions that the online trainer makes beside TRL's: from prefixes, and written by an expert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prefopt.trainers.supply.soft import Thoughts, think
from prefopt.trainers.trl_passes import GRPOPasses

if TYPE_CHECKING:
    from prefopt.trainers.supply.hints import Hints


class GRPOSampling(GRPOPasses):
    """Generates behind prefixes, and puts demonstrations among completions."""

    _asked: list[dict[str, Any]]
    thoughts: Thoughts | None = None
    hints: Hints | None = None
    _first = False

    @property
    def group_size(self) -> int:
        """Completions a prompt."""
        return int(self.num_generations if self.mode == "train" else self.num_generations_eval)

    @property
    def tokenizer(self) -> Any:
        """The policy's, also where a processor holds it."""
        return self._tokenizer

    @property
    def end_ids(self) -> list[int]:
        """Tokens with which a completion that was not cut short ends."""
        return [*self.eos_token_ids, self._tokenizer.pad_token_id]

    def as_completion(self, prompt: Any, text: str) -> Any:
        """Return a completion as sources get it: text for a prompt that is text, else a list of one message."""
        return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]

    @torch.no_grad()
    def continue_from(self, prefixes: Sequence[list[int]], left: Sequence[int]) -> list[list[int]]:
        """Return what the policy generates behind each prefix, at most ``left`` tokens, sampled as completions are.

        Those with equally much to come are generated together. An engine generates up to its own limit.
        """
        at_once = max(1, self.rows_at_once * (self.args.steps_per_generation if self.mode == "train" else 1))
        order = sorted(range(len(prefixes)), key=lambda i: -left[i])
        found: dict[int, list[int]] = {}
        limit = self.generation_config.max_new_tokens
        try:
            for start in range(0, len(order), at_once):
                some = order[start : start + at_once]
                self.generation_config.max_new_tokens = max(1, left[some[0]])
                drawn = self._generate_single_turn([prefixes[i] for i in some], None, {}, 1)[0]
                found |= {i: tokens[: left[i]] for i, tokens in zip(some, drawn, strict=True)}
        finally:
            self.generation_config.max_new_tokens = limit
        return [found[i] for i in range(len(prefixes))]

    def replaced(self, rows: int) -> Tensor:
        """Return ``(B,)`` bool: which completions of this process a demonstration replaces, the last of each group."""
        places = torch.arange(rows) + self.accelerator.process_index * rows
        return places % self.group_size == self.group_size - 1

    def demonstrations(self, rows: list[dict[str, Any]]) -> list[tuple[list[int], str]] | None:
        """Return tokens and text of each row's demonstration, or None where none are wanted."""
        return None

    def draw(self, prompts: list[list[int]]) -> list[list[int]]:
        """Return a completion of each prompt, as TRL generates them."""
        return list(self._generate_single_turn(prompts, None, {}, 1)[0])

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        first, self._first = self._first, False
        if first and self.hints is not None:
            return self.hints(self._asked, prompt_ids), None
        count = self.args.soft_tokens
        if count is None:
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)
        model = self.accelerator.unwrap_model(self.model)
        longest, filler = self.args.max_completion_length, self._tokenizer.pad_token_id
        training = model.training
        try:
            found, self.thoughts = think(
                model.eval(), prompt_ids, count, longest, self.eos_token_ids, self.args, filler
            )
        finally:
            model.train(training)
        return found, None

    def _generate(self, prompts: list[Any]) -> Any:
        self._first = True
        found = list(super()._generate(prompts))
        written = self.demonstrations(self._asked)
        if written is None:
            return tuple(found)
        _, ids, own, completions, logps, *_ = found
        for i in self.replaced(len(ids)).nonzero().flatten().tolist():
            ids[i], text = written[i]
            completions[i] = self.as_completion(prompts[i], text)
            if own is not None:
                own[i] = [1] * len(ids[i])
            if logps is not None:
                logps[i] = [None] * len(ids[i])
        return tuple(found)
