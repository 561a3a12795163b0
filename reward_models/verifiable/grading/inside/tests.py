"""The tests' side of two-process grading: trusted test code, with stand-ins for what the program defines.

It gets ``{"setup": ..., "cases": [(token, source, entry_point, names), ...]}``. A line that begins with ``A`` asks the
program's process something, the answer comes on descriptor 0; one with ``V`` is a verdict ``[token, status, reason]``.
The program can write neither: it has no part of this process but plain values.
"""

from __future__ import annotations

import builtins
import sys
from posix import _exit
from typing import Any

from reward_models.verifiable.grading.inside.abilities import tell_the_truth
from reward_models.verifiable.grading.inside.channel import receive, send
from reward_models.verifiable.grading.inside.codec import decode
from reward_models.verifiable.grading.inside.remote_object import (
    RAISED,
    STUCK,
    NotTransferableError,
    ProgramFault,
    ask,
)
from reward_models.verifiable.grading.inside.verdicts import prepare, status_of, test, verdict


def look_up(names: list[str]) -> dict[str, Any]:
    """Return what the program defines of these names.

    A module that it imported is imported here, where its name is the module's own, so that no program can call a
    module of its choice ``math``. Names that nobody asked for are not taken.
    """
    found = {}
    for name, kind, what in ask("names", names)[0]:
        if name not in names:
            continue
        if kind == "value":
            found[name] = what
        elif what == name and name in sys.stdlib_module_names:
            found[name] = __import__(name)
    return found


class Solution(type(sys)):  # type: ignore[misc]
    """The program as a module, for tests that import from it."""

    def __getattr__(self, name: str) -> Any:
        found = {} if name.startswith("__") else look_up([name])
        if name not in found:
            raise AttributeError(f"the program does not define '{name}'")
        return found[name]


def run(setup: str, source: str, entry_point: str | None, names: list[str]) -> tuple[str, str]:
    """Return status and reason of one case."""
    STUCK.clear()
    RAISED.clear()
    status, reason = "ok", ""
    try:
        known = prepare(setup)
        # The function that is tested is never the setup's own.
        known.pop(entry_point or "", None)
        found = look_up(names)
        known |= {name: value for name, value in found.items() if name == entry_point or name not in known}
        # A builtin that is asked for is the task's function: the real one shall not pass for it.
        missing = [name for name in names if name not in found and hasattr(builtins, name)]
        if missing:
            raise NameError(f"the program does not define '{missing[0]}'")
        test(source, known, entry_point)
    except ProgramFault as error:
        status, reason = "output_limit", str(error)
    except NotTransferableError:
        pass
    except BaseException as error:
        status, reason = status_of(error, any(error is one for one in RAISED))
    return ("ungradable", f"not transferable: {STUCK[0]}") if STUCK else (status, reason)


def main() -> None:
    """Read the request and run each case."""
    request = decode(receive())
    send('["ready"]')
    sys.modules["solution"] = Solution("solution")
    tell_the_truth()
    for token, source, entry_point, names in request["cases"]:
        send(verdict(token, *run(request["setup"], source, entry_point, names)))
    _exit(0)


if __name__ == "__main__":
    main()
