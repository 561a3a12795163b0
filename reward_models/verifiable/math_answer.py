"""Whether a completion's final answer is mathematically the right one."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

from reward_models.errors import ModelError
from reward_models.failures import Failure, InfrastructureError, Ungradable
from reward_models.formatting import Text
from reward_models.patience import Patience
from reward_models.verifiable import math_process
from reward_models.verifiable.exact_answer import exact_number
from reward_models.verifiable.final_answer import FinalAnswer, final_answer, reference_answer
from reward_models.verifiable.texts import text_of

HARMLESS = FinalAnswer("0", True)
WORD = re.compile(r"(?:\\(?:text|textbf|mathrm)\{)?\s*([A-Za-z][A-Za-z' -]{2,})\s*\}?")


@dataclass(frozen=True)
class MathVerdict:
    """A score with the reason for a None, or for a 0 that is no plain inequality."""

    score: float | None
    reason: str = ""
    failure: Failure | None = None


@dataclass(frozen=True)
class MathAnswer:
    r"""``r_i = 1 if final(completion_i) == answer_i else 0``, equality by math-verify (symbolic, else numeric).

    `final_answer` defines the one place of a text that counts: of several boxes the last one. The reference is read by
    the same rule, so ``42``, ``\frac{1}{2}``, a solution with a box, and one that ends with ``#### 42`` all do. It is
    math-verify's first argument, for its relation is not symmetric. Plain words are compared as words.

    None, not scored: no reference; a reference that cannot be read, or not in time; an exception in the comparison;
    processes that the machine cannot keep up. `with_failures` tells which: the last is infrastructure, the two before
    are ungradable, and a row without a reference is plainly None.
    0, the completion's own fault: no answer; one that cannot be read; one on which the comparison ends neither in
    ``deadline`` seconds nor in 4 GB, or ends its process twice. Else an endless answer would beat a wrong one.

    Comparisons run in processes of their own, killed at the deadline; no signals, so any thread may call.

    Attributes:
        deadline: wall-clock seconds a completion.
        workers: processes at a time; None = one a core, four at most.

    Columns: ``answer``, the reference.
    """

    deadline: float = 10.0
    workers: int | None = None

    patience: ClassVar[Patience] = Patience(row_wise=True, retries=2)

    def __post_init__(self) -> None:
        if not self.deadline > 0:
            raise ModelError(f"math_answer: deadline must be positive, not {self.deadline}")
        if self.workers is not None and self.workers < 1:
            raise ModelError(f"math_answer: workers must be at least 1, not {self.workers}")
        if importlib.util.find_spec("math_verify") is None:
            raise ModelError("math_answer needs math-verify: pip install 'prefopt[math]'")

    def __call__(
        self, prompts: Sequence[Text], completions: Sequence[Text], answer: Sequence[Any]
    ) -> list[float | None]:
        """Return one score a completion: 1, 0, or None."""
        return [verdict.score for verdict in self.judge(completions, answer)]

    def with_failures(
        self, prompts: Sequence[Text], completions: Sequence[Text], answer: Sequence[Any]
    ) -> list[float | Failure | None]:
        """Return the same, with the failure in the place of None."""
        verdicts = self.judge(completions, answer)
        return [one.score if one.failure is None else one.failure for one in verdicts]

    def judge(self, completions: Sequence[Text], answer: Sequence[Any]) -> list[MathVerdict]:
        """Return one verdict a completion; equal questions are asked once."""
        pairs = [
            (text_of(completion), "" if one is None else str(one))
            for completion, one in zip(completions, answer, strict=True)
        ]
        questions = list(dict.fromkeys(pairs))
        workers = self.workers or min(4, os.cpu_count() or 1)
        with ThreadPoolExecutor(workers) as pool:
            verdicts = dict(zip(questions, pool.map(lambda pair: self._verdict(*pair), questions), strict=True))
        return [verdicts[pair] for pair in pairs]

    def _verdict(self, completion: str, reference: str) -> MathVerdict:
        gold = reference_answer(reference)
        if gold is None:
            unread = None if not reference.strip() else Ungradable("a reference without an answer in it")
            return MathVerdict(None, "no reference", unread)
        answer = final_answer(completion)
        if answer is None:
            return MathVerdict(0.0, "no answer")
        wanted = WORD.fullmatch(gold.text)
        if wanted:
            found = WORD.fullmatch(answer.text.rstrip("."))
            return MathVerdict(float(found is not None and _words(found) == _words(wanted)))
        number = exact_number(gold.text)
        if number is not None and exact_number(answer.text) == number:
            return MathVerdict(1.0)
        try:
            return self._compared(gold, answer)
        except InfrastructureError as error:
            return MathVerdict(None, str(error), error)

    def _compared(self, gold: FinalAnswer, answer: FinalAnswer) -> MathVerdict:
        stage, equal, reason = self._asked(gold, answer)
        if stage == "answer":
            # Whose fault is it? The reference's, if there is no end beside a harmless answer either.
            stage = self._asked(gold, HARMLESS)[0]
            if stage == "done":
                return MathVerdict(0.0, f"the comparison with this answer did not end: {reason}")
        if stage in ("answer", "gold"):
            return MathVerdict(None, f"reference: {reason}", Ungradable(f"reference: {reason}"))
        if equal is None:
            return MathVerdict(None, reason, Ungradable(reason))
        return MathVerdict(float(equal), reason)

    def _asked(self, gold: FinalAnswer, answer: FinalAnswer, attempts: int = 2) -> math_process.Comparison:
        checker = math_process.take()
        try:
            comparison = checker.compare(gold, answer, self.deadline)
        finally:
            math_process.give_back(checker)
        # An end of the process may once be anybody's doing, such as a machine without memory.
        again = comparison.reason == math_process.ENDED and attempts > 1
        return self._asked(gold, answer, attempts - 1) if again else comparison


def _words(match: re.Match[str]) -> str:
    return " ".join(match[1].casefold().split())
