"""Weights of rewards as words in a prompt: what a policy is trained with, and what its user writes afterwards.

A policy that was aligned with ``weighting: preference_conditioned`` keeps in its folder how weights were put. To ask
it for an answer that is mostly helpful and a little brief::

    form = PreferencePrompt.of_folder("aligned")
    prompt = form("What is a prime?", {"helpful": 0.8, "brief": 0.2})

or, in a shell, ``prefopt preference --model aligned --weights helpful=0.8 brief=0.2 --prompt "What is a prime?"``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefopt.errors import UserError, nearest
from reward_models.whole_files import replace_text

TEMPLATE = "Weights: {weights}.\n{prompt}"
FILE = "preference.json"


@dataclass(frozen=True)
class PreferencePrompt:
    """Writes weights into prompts.

    Attributes:
        rewards: their names, in the order in which they are written.
        template: holds ``{weights}`` and ``{prompt}``, once each. In messages it is put around the last user's message.
    """

    rewards: tuple[str, ...]
    template: str = TEMPLATE

    def __post_init__(self) -> None:
        for place in ("{weights}", "{prompt}"):
            if self.template.count(place) != 1:
                raise UserError(f"preference_template holds {place} not exactly once: {self.template!r}")

    @classmethod
    def of_folder(cls, folder: str | Path) -> PreferencePrompt:
        """Return the form that the policy in ``folder`` was trained with.

        Raises:
            UserError: the folder has none.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise UserError(f"{folder} has no {FILE}: it holds no policy that was told preferences in its prompts")
        stored = json.loads(path.read_text(encoding="utf-8"))
        return cls(tuple(stored["rewards"]), stored["template"])

    def save(self, folder: str | Path) -> None:
        """Write what `of_folder` reads."""
        stored = {"rewards": list(self.rewards), "template": self.template}
        replace_text(Path(folder) / FILE, json.dumps(stored, indent=2, ensure_ascii=False) + "\n")

    def __call__(self, prompt: Any, weights: Mapping[str, float]) -> Any:
        """Return ``prompt``, text or messages, with the weights; they are scaled to sum to 1, absent ones are 0.

        Raises:
            UserError: a name that is no reward, a negative weight, or none above 0.
        """
        for name in weights:
            if name not in self.rewards:
                raise UserError(f"no reward is called '{name}'.{nearest(name, self.rewards)} {self._known()}")
        given = [float(weights.get(name, 0.0)) for name in self.rewards]
        if min(given) < 0 or not math.isfinite(sum(given)) or sum(given) == 0:
            raise UserError(f"weights must be at least 0, and one of them above. {self._known()}")
        return self.written(prompt, in_hundredths([weight / sum(given) for weight in given]))

    def written(self, prompt: Any, shares: Sequence[float]) -> Any:
        """Return ``prompt`` with weights that are rounded already, one a reward."""
        words = ", ".join(f"{name} {share:.2f}" for name, share in zip(self.rewards, shares, strict=True))
        if isinstance(prompt, str):
            return self._filled(prompt, words)
        messages = [dict(message) for message in prompt]
        asked = [message for message in messages if message.get("role") == "user"]
        if not asked or not isinstance(asked[-1].get("content"), str):
            raise UserError("a prompt of messages needs one of the user, with text, for weights to be written into")
        asked[-1]["content"] = self._filled(asked[-1]["content"], words)
        return messages

    def _filled(self, prompt: str, words: str) -> str:
        # Not str.format: other braces of the template are its own.
        before, _, after = self.template.replace("{weights}", words).partition("{prompt}")
        return before + prompt + after

    def _known(self) -> str:
        return f"Rewards: {', '.join(self.rewards)}."


def in_hundredths(shares: Sequence[float]) -> list[float]:
    """Round shares that sum to 1 to two decimals that sum to 1: the largest remainders are rounded up."""
    hundredths = [100 * share for share in shares]
    whole = [math.floor(value + 1e-9) for value in hundredths]
    order = sorted(range(len(whole)), key=lambda i: (whole[i] - hundredths[i], i))
    for i in order[: 100 - sum(whole)]:
        whole[i] += 1
    return [value / 100 for value in whole]
