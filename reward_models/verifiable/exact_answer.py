"""Whether a completion ends with the right answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from reward_models.formatting import Text
from reward_models.verifiable.texts import text_of

NUMBER = re.compile(r"(?<![\w.,])[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?(?![\w])(?!,\d)(?!\.\d)")
MARK = "####"
LONGEST = 50


@dataclass(frozen=True)
class ExactAnswer:
    """``r_i = 1 if last(completion_i) == answer_i else 0``.

    Where the reference is a number, ``last`` is the completion's last number, compared exactly: ``1,200``, ``1200.0``
    and ``2400/2`` are the same. Otherwise the completion must end with the reference as a whole word, upper and lower
    case alike, closing quotes and full stops apart. Of a reference like ``... #### 42`` only what follows the last
    ``####`` counts. A row without a reference is not scored (None).

    Columns: ``answer``, the reference.
    """

    def __call__(
        self, prompts: Sequence[Text], completions: Sequence[Text], answer: Sequence[Any]
    ) -> list[float | None]:
        """Return one score a completion: 1, 0, or None without a reference."""
        return [self.score(text_of(completion), one) for completion, one in zip(completions, answer, strict=True)]

    @staticmethod
    def score(completion: str, answer: Any) -> float | None:
        """Score one completion."""
        reference = "" if answer is None else str(answer).rsplit(MARK, 1)[-1].strip()
        if not reference:
            return None
        number = exact_number(reference)
        if number is None:
            return float(_ends_with(completion, reference))
        found = [match.group() for match in NUMBER.finditer(completion)]
        return float(bool(found) and exact_number(found[-1]) == number)


def exact_number(text: str) -> Fraction | None:
    """Return the number that a text is, or None: digits with ``,`` between thousands, a decimal part, a denominator."""
    text = text.strip().removesuffix(".")
    if len(text) > LONGEST or not NUMBER.fullmatch(text):
        return None
    above, _, below = text.replace(",", "").replace("−", "-").partition("/")
    return Fraction(above) / int(below) if below and int(below) else (None if below else Fraction(above))


def _ends_with(completion: str, reference: str) -> bool:
    closing = " \t\r\n.!\"'”’)*"
    end, wanted = completion.rstrip(closing).casefold(), reference.rstrip(closing).casefold()
    if not wanted or not end.endswith(wanted):
        return False
    before = end[: -len(wanted)][-1:]
    return not (before.isalnum() and wanted[0].isalnum())
