"""Importance ratios between the current and the behaviour policy."""

from prefopt.online.ratio.gumbel import GumbelRatio
from prefopt.online.ratio.mean_token import MeanTokenRatio
from prefopt.online.ratio.product import ProductRatio
from prefopt.online.ratio.router_shift import RouterShift
from prefopt.online.ratio.sequence import SequenceRatio
from prefopt.online.ratio.to_reference import ReferenceRatio
from prefopt.online.ratio.token import TokenRatio

__all__ = [
    "GumbelRatio",
    "MeanTokenRatio",
    "ProductRatio",
    "ReferenceRatio",
    "RouterShift",
    "SequenceRatio",
    "TokenRatio",
]
