"""Detached weights that depend on the current policy."""

from prefopt.online.policy_weight.answer_conditioned import AnswerConditioned
from prefopt.online.policy_weight.curvature import CurvatureMask
from prefopt.online.policy_weight.off_policy import OffPolicyMask
from prefopt.online.policy_weight.second_moment import SecondMomentMask

__all__ = ["AnswerConditioned", "CurvatureMask", "OffPolicyMask", "SecondMomentMask"]
