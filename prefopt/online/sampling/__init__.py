"""Which rows of a generation batch are kept."""

from prefopt.online.sampling.accuracy_history import accuracy_spread
from prefopt.online.sampling.demonstration_switch import DemonstrationSwitch
from prefopt.online.sampling.finished import FinishedCompletions
from prefopt.online.sampling.informative import InformativeGroups
from prefopt.online.sampling.max_lag import MaxLag, weight_lag
from prefopt.online.sampling.off_mean import OffMean
from prefopt.online.sampling.outcome import ByOutcome
from prefopt.online.sampling.solve_rate import SolveRateBand
from prefopt.online.sampling.unsolved import UnsolvedGroups

__all__ = [
    "ByOutcome",
    "DemonstrationSwitch",
    "FinishedCompletions",
    "InformativeGroups",
    "MaxLag",
    "OffMean",
    "SolveRateBand",
    "UnsolvedGroups",
    "accuracy_spread",
    "weight_lag",
]
