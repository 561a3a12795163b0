"""Which rows of a generation batch are kept."""

from prefopt.online.sampling.informative import InformativeGroups
from prefopt.online.sampling.unsolved import UnsolvedGroups

__all__ = ["InformativeGroups", "UnsolvedGroups"]
