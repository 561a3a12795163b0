"""What a report needs to know about a run: plain values, written as JSON beside the report.

Every section may be missing. An offline-only run has no training history, a reward-only run has no policies;
the report leaves such a section out and says so. A score that a source did not give is ``None``, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from prefopt.report.codec import decode, encode


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; ``low`` and ``high`` are None where no interval was computed."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Both ends of the interval, None where one is missing or not finite."""
        if self.low is None or self.high is None or not math.isfinite(self.low + self.high):
            return None
        return self.low, self.high

    def side(self, of: float) -> int:
        """1 where the whole interval lies above ``of``, -1 where it lies below, 0 where it holds it or is missing."""
        if self.bounds is None:
            return 0
        return int(self.bounds[0] > of) - int(self.bounds[1] < of)


@dataclass(frozen=True)
class Stage:
    """One stage of the run and the seconds it took."""

    name: str
    seconds: float


@dataclass(frozen=True)
class DataCheck:
    """What the data check found in one source; ``notes`` holds one sentence a finding."""

    name: str
    rows: int
    kept: int
    shape: str = ""
    quarantined: int = 0
    duplicates: int = 0
    contradictions: int = 0
    leaks: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SubsetAccuracy:
    """A reward model's accuracy on one named subset of its held-out pairs."""

    name: str
    pairs: int
    accuracy: Estimate


@dataclass(frozen=True)
class ReliabilityBin:
    """Pairs whose confidence lies in [low, high]: how sure the model was, and how often it was right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Histogram:
    """Counts between edges; ``len(edges) == len(counts) + 1``."""

    edges: tuple[float, ...]
    counts: tuple[float, ...]


@dataclass(frozen=True)
class RewardModelEvaluation:
    """A reward model on held-out pairs.

    Both histograms share their edges, so that they can be laid over one another.
    """

    name: str
    pairs: int
    accuracy: Estimate
    mean_margin: float | None = None
    calibration_error: float | None = None
    subsets: tuple[SubsetAccuracy, ...] = ()
    reliability: tuple[ReliabilityBin, ...] = ()
    chosen_scores: Histogram | None = None
    rejected_scores: Histogram | None = None


@dataclass(frozen=True)
class RewardSource:
    """A reward by its name in the history and in the samples, and one sentence on what it rewards."""

    name: str
    description: str = ""


@dataclass(frozen=True)
class Sample:
    """One completion on a held-out prompt: its score from each source and its length in tokens."""

    rewards: Mapping[str, float | None]
    length: int


@dataclass(frozen=True)
class Policy:
    """A policy on the held-out prompts.

    ``accuracy`` and the two ends of its interval are shares in [0, 1]; ``gain`` is the paired difference in
    accuracy to the base policy on the same prompts, also as a share (0.31 is 31 points); None for the base.
    """

    name: str
    description: str = ""
    accuracy: Estimate | None = None
    gain: Estimate | None = None
    rewards: Mapping[str, Estimate] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class Completion:
    """What one policy answered; ``correct`` is the verifier's word, None where it has none."""

    policy: str
    text: str
    rewards: Mapping[str, float | None] = field(default_factory=dict)
    correct: bool | None = None


@dataclass(frozen=True)
class Example:
    """A held-out prompt and the answers of the policies, in the order in which they are shown."""

    prompt: str
    completions: tuple[Completion, ...]
    reference: str = ""


@dataclass(frozen=True)
class Goal:
    """What was asked before the run: this policy gains at least this share of accuracy over the base."""

    policy: str
    gain: float


@dataclass(frozen=True)
class RunRecord:
    """All that a report shows.

    ``history`` has one mapping per logged step of online training, with the keys ``step``,
    ``reward/<name>``, ``weight/<name>``, ``reward_std``, ``advantage_std``, ``groups_without_signal`` (a
    share), ``completion_length``, ``entropy``, ``clip_fraction``, ``unscored`` (a count), ``loss``. All
    but ``step`` are optional; others are kept and not drawn. ``base`` is the name of the policy that the
    others are compared with. ``verdict`` sentences stand at the head of the report; without them they are
    computed from the figures.
    """

    title: str
    subtitle: str = ""
    created: str = ""
    command: str = ""
    verdict: tuple[str, ...] = ()
    goal: Goal | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    data: tuple[DataCheck, ...] = ()
    reward_model: RewardModelEvaluation | None = None
    rewards: tuple[RewardSource, ...] = ()
    history: tuple[Mapping[str, float | None], ...] = ()
    base: str = "base"
    policies: tuple[Policy, ...] = ()
    examples: tuple[Example, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the record as JSON; a figure that is not finite becomes null."""
        return encode(self)

    @classmethod
    def from_json(cls, text: str) -> RunRecord:
        """Read what ``to_json`` wrote.

        Raises:
            UserError: the text is not JSON, or a key is unknown, missing, or of the wrong type; the message
                has its path.
        """
        return decode(text, cls)
