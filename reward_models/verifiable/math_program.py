"""What the process beside us runs for `MathAnswer`: math-verify on one reference and one answer after another.

Run as a script. A request is a line of JSON, ``{"gold": [text, exact], "answer": [text, exact], "seconds": n}``. Two
lines answer it, as a reference that cannot be read is another matter than an answer that cannot: ``{"gold": bool}``,
then ``{"equal": true | false | null, "reason": text}``.
"""

from __future__ import annotations

import json
import os
import sys
from functools import lru_cache
from typing import Any

MEMORY = 4 << 30
SPARE_SECONDS = 5
TOO_BIG = (MemoryError, RecursionError, OverflowError)


def main() -> None:
    """Answer requests until the input ends."""
    # The answers have a descriptor of their own: whatever a library prints goes nowhere.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _limit_memory()
    parse, verify = _library()

    def say(**answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    say(ready=True)
    for line in sys.stdin:
        request = json.loads(line)
        _limit_processor_time(request["seconds"])
        gold = _gold(parse, *request["gold"])
        say(gold=bool(gold))
        if gold:
            equal, reason = _compare(parse, verify, gold, request["answer"])
            say(equal=equal, reason=reason)


def _library() -> tuple[Any, Any]:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    boxed, plain = LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()
    # Its own time limits are signals; ours is the parent, which ends this process.
    fixed: dict[str, Any] = {
        "fallback_mode": "no_fallback",
        "extraction_mode": "first_match",
        "parsing_timeout": None,
        "raise_on_error": True,
    }

    @lru_cache(256)
    def read(text: str, exact: bool) -> tuple[Any, ...]:
        found = [] if exact else parse(text, extraction_config=[boxed, plain], **fixed)
        return tuple(found or parse(f"\\boxed{{{text}}}", extraction_config=[boxed], **fixed))

    def same(gold: tuple[Any, ...], answer: tuple[Any, ...]) -> bool:
        return bool(verify(list(gold), list(answer), timeout_seconds=None, raise_on_error=True))

    return read, same


def _gold(parse: Any, text: str, exact: bool) -> tuple[Any, ...]:
    try:
        return parse(text, exact)  # type: ignore[no-any-return]
    except Exception:
        return ()


def _compare(parse: Any, verify: Any, gold: tuple[Any, ...], answer: list[Any]) -> tuple[bool | None, str]:
    try:
        found = parse(*answer)
    except Exception as error:
        return False, f"the answer cannot be read: {type(error).__name__}"
    if not found:
        return False, "the answer cannot be read"
    try:
        return verify(gold, found), ""
    except TOO_BIG as error:
        return False, f"the answer is too much to compare: {type(error).__name__}"
    except Exception as error:
        return None, f"the comparison failed: {type(error).__name__}: {error}"[:300]


def _limit_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        return


def _limit_processor_time(seconds: float) -> None:
    """A computation without end stops even where the parent has gone and cannot end it."""
    try:
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        soft = int(used.ru_utime + used.ru_stime + seconds + SPARE_SECONDS)
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    except (ImportError, ValueError, OSError):
        return


if __name__ == "__main__":
    main()
