"""Detached weights that depend on the current policy."""

from prefopt.online.policy_weight.curvature import CurvatureMask
from prefopt.online.policy_weight.off_policy import OffPolicyMask
from prefopt.online.policy_weight.second_moment import SecondMomentMask

__all__ = ["CurvatureMask", "OffPolicyMask", "SecondMomentMask"]
