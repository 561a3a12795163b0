"""Gates: what of a token's policy gradient passes, given its ratio and advantage."""

from prefopt.online.gate.cispo import CISPO
from prefopt.online.gate.clip import Clip
from prefopt.online.gate.log_probability import LogProbability
from prefopt.online.gate.sapo import SAPO

__all__ = ["CISPO", "SAPO", "Clip", "LogProbability"]
