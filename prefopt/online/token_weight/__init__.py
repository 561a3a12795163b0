"""Token weights: parts that multiply the aggregation's weights."""

from prefopt.online.token_weight.divergent_positions import DivergentPositions
from prefopt.online.token_weight.entropy_softmax import EntropySoftmax
from prefopt.online.token_weight.hint_weight import HintWeight
from prefopt.online.token_weight.one_sign import OneSign
from prefopt.online.token_weight.sampler_importance import SamplerImportance
from prefopt.online.token_weight.sampler_rejection import SamplerRejection

__all__ = ["DivergentPositions", "EntropySoftmax", "HintWeight", "OneSign", "SamplerImportance", "SamplerRejection"]
