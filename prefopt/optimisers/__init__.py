"""Optimisers: ``torch.optim.Optimizer`` classes that any training loop can use, and a choice of one for a trainer."""

from __future__ import annotations

from prefopt.optimisers.choice import OptimiserChoice
from prefopt.optimisers.groups import parameter_groups
from prefopt.optimisers.lift import LIFT
from prefopt.optimisers.mgup_adamw import MGUPAdamW
from prefopt.optimisers.mgup_lion import MGUPLion
from prefopt.optimisers.mgup_muon import MGUPMuon

__all__ = ["LIFT", "MGUPAdamW", "MGUPLion", "MGUPMuon", "OptimiserChoice", "parameter_groups"]
