"""By how much each pair counts."""

from prefopt.offline.pair_weight.aligned_probability import AlignedProbability
from prefopt.offline.pair_weight.equal import Equal

__all__ = ["AlignedProbability", "Equal"]
