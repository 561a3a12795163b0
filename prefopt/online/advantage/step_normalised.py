"""Step rewards, normalised over the group, summed over the steps to come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.online.groups import Groups
from prefopt.online.slots import Advantage


@dataclass(frozen=True)
class StepNormalised(Advantage):
    """``A_t = sum of n over the steps that end at or after t``, ``n = (r_step - mean) / (std + eps)``, mean and std
    over all steps of all completions of the group.

    Steps are numbered from 0; an absent step is NaN. Tokens before the first step get the sum of all, tokens after the
    last step 0. A group whose steps all earn the same gives 0; one with fewer than two scored completions gives NaN.

    Attributes:
        ddof: 1 = unbiased standard deviation, 0 = population. eps: added to it.

    Reference: GRPO with process supervision, arXiv 2402.03300.
    """

    ddof: int = 1
    eps: float = 1e-6
    needs: ClassVar[frozenset[str]] = frozenset({"step_rewards", "step_ids"})
    arxiv: ClassVar[str] = "2402.03300"
    group_relative: ClassVar[bool] = True
    token_level: ClassVar[bool] = True
    from_rewards: ClassVar[bool] = False

    def __call__(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return ``(B, T)``."""
        rewards = rollouts.extras["step_rewards"].double().where(~torch.isnan(signal)[:, None], torch.nan)
        rows, steps = rewards.shape
        flat = rewards.flatten()
        over_steps = Groups.of(rollouts.group.repeat_interleave(steps), flat)
        normalised = over_steps.z_score(flat, self.ddof, self.eps).where(over_steps.scored, 0.0).view(rows, steps)
        to_go = normalised.flip(-1).cumsum(-1).flip(-1)
        to_go = torch.nn.functional.pad(to_go, (0, 1))
        step = torch.where(rollouts.mask, rollouts.extras["step_ids"].long(), 0).clamp(0, steps)
        groups = Groups.of(rollouts.group, signal)
        known = groups.compared
        return to_go.gather(1, step).where(known[:, None], torch.nan).to(signal.dtype)

    def scale(self, signal: Tensor, rollouts: Rollouts) -> Tensor:
        """Return 0: the outcome's reward does not reach the advantage."""
        return torch.zeros_like(signal)
