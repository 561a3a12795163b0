"""What a generation batch shows, as ``(sum, count)`` pairs that add up over processes and steps."""

from __future__ import annotations

import torch
from torch import Tensor

from prefopt.batch import Rollouts
from prefopt.composition import StatefulPart
from prefopt.online.groups import Groups
from prefopt.online.slots import Advantage, Metrics


def batch_metrics(
    source_weights: Tensor,
    judged: bool,
    advantage: Advantage,
    signal: Tensor,
    estimated: Tensor,
    advantages: Tensor,
    known: Tensor,
    kept: Tensor,
    rollouts: Rollouts,
) -> Metrics:
    """Return the figures of one ``prepare``; ``source_weights`` ``(K,)`` of the weighting, ``judged``: of advantages.

    ``reward.K`` (mean), ``reward_std.K`` (within groups), ``unscored.K``, ``weight.K`` (what a unit of the raw
    reward counts in the advantage, normalisation and adjustments included), ``influence.K`` (correlation of the reward
    with the advantage), ``correlation.K.L`` (of two rewards over the rows of a prompt), ``advantage_std``,
    ``groups_without_signal``, ``groups_dropped`` (too few scores in them to say anything), ``rows_dropped``,
    ``completion_length``. K is the source's number.
    """
    metrics: Metrics = {}
    taking_part = rollouts.mask & kept[:, None]
    unadjusted = estimated is advantages
    adjusted_by = torch.ones(()) if unadjusted else _slope(estimated[taking_part], advantages[taking_part])
    row_advantage = advantages.sum(-1).double() / rollouts.mask.sum(-1).clamp(min=1)
    for k, column in enumerate(rollouts.rewards.unbind(-1)):
        scored = ~torch.isnan(column)
        groups = Groups.of(rollouts.group, column)
        metrics[f"reward.{k}"] = _mean(column, scored)
        metrics[f"reward_std.{k}"] = _mean(groups.std(column, 1), scored & (groups.count > 1))
        metrics[f"unscored.{k}"] = ((~scored).sum(), _count(scored))
        metrics[f"influence.{k}"] = (_correlation(column, row_advantage, scored & kept), torch.ones(()))
        scaled = column if judged else signal
        weight, count = _effective_weight(source_weights[k], advantage, scaled, rollouts)
        metrics[f"weight.{k}"] = (weight * adjusted_by, count)
    metrics |= _agreement(rollouts)
    spread = advantages[taking_part].double()
    metrics["advantage_std"] = (spread.std() if spread.numel() > 1 else torch.zeros(()), torch.ones(()))
    silent = (advantages == 0).all(-1) | ~kept
    labels, index = torch.unique(rollouts.group, return_inverse=True)
    speaking = torch.zeros(len(labels), dtype=torch.bool, device=index.device).index_fill(0, index[~silent], True)
    metrics["groups_without_signal"] = ((~speaking).sum(), _count(speaking))
    metrics["rows_unscored"] = ((~known).sum(), _count(known))
    heard = torch.zeros(len(labels), dtype=torch.bool, device=index.device).index_fill(0, index[known], True)
    metrics["groups_dropped"] = ((~heard).sum(), _count(heard))
    metrics["rows_dropped"] = ((~kept).sum(), _count(kept))
    metrics["completion_length"] = (rollouts.mask.sum(), _count(kept))
    return metrics


def _count(rows: Tensor) -> Tensor:
    return torch.tensor(len(rows))


def _mean(values: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    return torch.where(where, values, 0.0).double().sum(), where.sum()


def _correlation(a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    x, y = a[where].double(), b[where].double()
    if len(x) < 2:
        return torch.zeros((), dtype=torch.float64)
    x, y = x - x.mean(), y - y.mean()
    return (x @ y) / (x.norm() * y.norm()).clamp(min=1e-12)


def _agreement(rollouts: Rollouts) -> Metrics:
    """Return the correlation of each pair of rewards, their groups' means taken off; rows that both scored count."""
    found: Metrics = {}
    columns = rollouts.rewards.unbind(-1)
    for k, one in enumerate(columns):
        for other_k, other in enumerate(columns[k + 1 :], k + 1):
            both = (one + other).double()
            groups = Groups.of(rollouts.group, both)
            x, y = groups.centred(one), groups.centred(other)
            if (x[groups.scored] != 0).any() and (y[groups.scored] != 0).any():
                found[f"correlation.{k}.{other_k}"] = (_correlation(x, y, groups.scored), torch.ones(()))
    return found


def _slope(before: Tensor, after: Tensor) -> Tensor:
    """Return by how much a unit of the advantage before the adjustments moves the one after, by least squares."""
    x, y = before.double(), after.double()
    if x.numel() < 2 or x.max() == x.min():
        return torch.ones((), dtype=torch.float64, device=x.device)
    x = x - x.mean()
    return (x @ (y - y.mean())) / (x @ x)


def _effective_weight(
    weight: Tensor, advantage: Advantage, scaled: Tensor, rollouts: Rollouts
) -> tuple[Tensor, Tensor]:
    """Weight of the source times the mean factor by which the advantage scales the signal, or the reward itself.

    Rows count by their squared distance from their group's mean, as in a regression of advantage on reward: a group
    whose rewards hardly differ has a huge factor and says next to nothing.
    """
    if isinstance(advantage, StatefulPart):
        return weight, torch.ones(())
    scale = advantage.scale(scaled, rollouts.restrict(advantage.needs, type(advantage).__name__))
    known = ~torch.isnan(scale)
    spread = (scaled.double() - Groups.of(rollouts.group, scaled).mean(scaled)) ** 2
    share = torch.where(known, spread, 0.0).nan_to_num()
    if not share.any():
        share = known.double()
    total = (share * torch.where(known, scale, 0.0).double()).sum()
    return weight.to(total) * total, share.sum()
