"""Importance ratios between the current and the behaviour policy."""

from prefopt.online.ratio.sequence import SequenceRatio
from prefopt.online.ratio.token import TokenRatio

__all__ = ["SequenceRatio", "TokenRatio"]
