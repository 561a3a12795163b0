"""What is graded and what comes back: cases (one a cell of the pass matrix), a job (one program), its verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "wrong", "error", "timeout", "memory", "output_limit", "crashed", "ungradable", "infra"]
UNGRADED: frozenset[Status] = frozenset({"ungradable", "infra"})


@dataclass(frozen=True)
class StdinCase:
    """The program reads ``input`` on its standard input and must print ``output``.

    Compared line by line without blanks at line ends and without empty lines at the end; both must have as many lines.
    With ``tolerance``, words that are numbers may differ by that much, relative or absolute. The program must also
    end by itself, with exit status 0.
    """

    input: str
    output: str
    timeout: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True)
class CallCase:
    """``function(*args, **kwargs)`` must return ``expected``; what ``expected`` is never enters the program's process.

    ``function`` is a global of the program; a name with a dot is a method, ``Class.method``, of an object made without
    arguments, and so is a plain name that only the class ``Solution`` has. Arguments and ``expected`` are made of None,
    bool, int, float, str, bytes, complex, list, tuple, set, frozenset and dict. For how they are compared see
    ``comparison.py``.
    """

    function: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    expected: Any = None
    timeout: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True)
class AssertCase:
    """Trusted test code, usually one ``assert``, that uses the program's globals; passes if nothing is raised."""

    source: str
    timeout: float | None = None


@dataclass(frozen=True)
class CheckCase:
    """Trusted test code that defines ``check(candidate)``; passes if the call with the entry point raises nothing."""

    source: str
    entry_point: str
    timeout: float | None = None


Case = StdinCase | CallCase | AssertCase | CheckCase


@dataclass(frozen=True)
class Job:
    """One program and its cases.

    Attributes:
        code: the program, written by a model.
        cases: one a cell; kinds may be mixed.
        setup: trusted code that runs before each AssertCase and CheckCase in the tests' process: imports, and helpers
            of the problem (a HumanEval prompt as it is: functions with nothing but a docstring are left out). A name
            that it defines is never looked up in the program.
        timeout: seconds a case, where the case does not say; also for loading the program.
        fresh: a process of its own for each case, so that a program cannot keep anything between them.
    """

    code: str
    cases: Sequence[Case]
    setup: str = ""
    timeout: float = 10.0
    fresh: bool = False


@dataclass(frozen=True)
class Execution:
    """How a job went, all its processes together.

    Attributes:
        status: ok if every cell is True; otherwise that of the first cell that failed by the program's fault; where
            none did, infra or ungradable.
        passed: number of cells that are True, of ``total``.
        wall_ms, cpu_ms: sums over processes. peak_kb: the largest process.
        stdout: beginning of what the program printed, for a person to read.
        tier: of the sandbox. mode: blackbox, two_process or same_process, joined by ``+``. ``same_process`` gives no
            integrity: the program could have forged its verdicts.
        reason: of the first cell that is not True, for a person to read.
    """

    status: Status
    passed: int
    total: int
    wall_ms: float
    cpu_ms: float
    peak_kb: int
    stdout: str
    tier: str
    mode: str
    reason: str = ""


@dataclass(frozen=True)
class Graded:
    """Verdicts of a job: a cell a case, True, False, or None where the grader, not the program, is the reason."""

    cells: tuple[bool | None, ...]
    execution: Execution
    statuses: tuple[Status, ...] = ()

    @property
    def ungraded(self) -> int:
        """Number of cells that are None."""
        return self.cells.count(None)
