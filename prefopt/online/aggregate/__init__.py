"""Aggregations: how the tokens of a generation batch are weighted in the loss."""

from prefopt.online.aggregate.by_origin import HybridSum, PromptMean
from prefopt.online.aggregate.constant_length import ConstantLength
from prefopt.online.aggregate.delta_l import DeltaL
from prefopt.online.aggregate.pivotal_mean import PivotalMean
from prefopt.online.aggregate.sequence_mean import SequenceMean
from prefopt.online.aggregate.sequence_sum import SequenceSum
from prefopt.online.aggregate.token_mean import TokenMean
from prefopt.online.aggregate.uncertain_mean import UncertainMean

__all__ = [
    "ConstantLength",
    "DeltaL",
    "HybridSum",
    "PivotalMean",
    "PromptMean",
    "SequenceMean",
    "SequenceSum",
    "TokenMean",
    "UncertainMean",
]
