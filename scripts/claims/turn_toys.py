"""Tabular conversations: one decision a turn, learnt turn by turn or all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from prefopt import recipes
from prefopt.batch import PolicyOutputs, Rollouts
from prefopt.online.objective import OnlineObjective
from prefopt.online.turnwise import TurnwiseObjective, advanced, turn_ratio
from scripts.claims.toys import Decisions, Streams

Order = Literal["last first", "first first", "all at once"]


def learn_turns(
    policy: Decisions,
    reward: Callable[[Tensor], Tensor],
    value: Callable[[Tensor], float],
    seed: int,
    *,
    order: Order,
    steps: int,
    group: int,
    learning_rate: float,
    corrected: bool = True,
) -> np.ndarray:
    """Train one policy of T turns by SeeUPO's passes, or by as many steps of GRPO, and return its exact reward.

    Args:
        policy: one context; its logits are trained in place.
        reward: actions ``(G, T)`` -> ``(G,)``. value: probabilities ``(T,)`` -> expected reward.
        order: of the passes; ``all at once`` is GRPO with T steps a batch, log-probabilities summed over turns.
        steps: batches. group: completions a batch. corrected: carry what later turns have moved.

    Returns:
        ``(steps + 1,)``.
    """
    objective = recipes.build("seeupo", beta=0.0)
    together = recipes.build("grpo", aggregate="rloo")
    assert isinstance(objective, TurnwiseObjective)
    streams, turns = Streams([seed]), policy.logits.shape[1]
    optimiser = torch.optim.SGD([policy.logits], lr=learning_rate)

    def step(method: OnlineObjective, rows: Rollouts, actions: Tensor) -> None:
        optimiser.zero_grad()
        method.loss(rows, method.prepare(rows), PolicyOutputs(policy.logps(actions)[0])).backward()
        optimiser.step()

    seen = [value(policy.probabilities[0])]
    for _ in range(steps):
        actions = policy.sample(streams.uniform(group, turns))
        batch = Rollouts(
            torch.zeros(group, dtype=torch.int64),
            torch.ones(group, turns, dtype=torch.bool),
            reward(actions[0])[:, None],
            policy.logps(actions)[0].detach(),
            {"turn_ids": torch.arange(turns).expand(group, turns)},
        )
        if order == "all at once":
            for _ in range(turns):
                step(together, batch, actions)
        else:
            correction, passes = objective.start(batch), list(objective.passes(batch))
            for _, rows in passes if order == "last first" else reversed(passes):
                before = policy.logps(actions)[0].detach()
                step(objective, objective.at_turn(rows, before, correction), actions)
                if corrected:
                    moved = turn_ratio(before, policy.logps(actions)[0].detach(), rows.mask)
                    correction = advanced(correction, moved)
        seen.append(value(policy.probabilities[0]))
    return np.array(seen)
