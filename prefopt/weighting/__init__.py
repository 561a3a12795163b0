"""K rewards to one signal."""

from prefopt.weighting.advantage_sum import AdvantageSum
from prefopt.weighting.gdpo import GDPO
from prefopt.weighting.weighted_sum import WeightedSum

__all__ = ["GDPO", "AdvantageSum", "WeightedSum"]
