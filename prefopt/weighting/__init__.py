"""K rewards to one signal."""

from prefopt.weighting.advantage_sum import AdvantageSum
from prefopt.weighting.consistency import Consistency
from prefopt.weighting.gdpo import GDPO
from prefopt.weighting.interval_agreement import IntervalAgreement
from prefopt.weighting.weighted_sum import WeightedSum

__all__ = ["GDPO", "AdvantageSum", "Consistency", "IntervalAgreement", "WeightedSum"]
