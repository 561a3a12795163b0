"""Penalties per token that are added to the loss."""

from prefopt.online.regularise.behaviour_kl import BehaviourKL
from prefopt.online.regularise.candidate_imitation import CandidateImitation
from prefopt.online.regularise.entropy import EntropyBonus
from prefopt.online.regularise.entropy_band import EntropyBand
from prefopt.online.regularise.expert_guide import ExpertGuide
from prefopt.online.regularise.gumbel_kl import GumbelKL
from prefopt.online.regularise.imitation import Imitation
from prefopt.online.regularise.kl import KL
from prefopt.online.regularise.perception import Perception
from prefopt.online.regularise.value_loss import ValueLoss

__all__ = [
    "KL",
    "BehaviourKL",
    "CandidateImitation",
    "EntropyBand",
    "EntropyBonus",
    "ExpertGuide",
    "GumbelKL",
    "Imitation",
    "Perception",
    "ValueLoss",
]
