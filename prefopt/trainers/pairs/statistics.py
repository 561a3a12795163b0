"""What a model says about a batch of pairs, in the shape that objectives take."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prefopt.batch import NEEDS, PairOutputs
from prefopt.composition import Objective
from prefopt.errors import UserError
from prefopt.trainers.pairs.batches import ABSENT
from prefopt.trainers.reference_pass import ACTIVATIONS, FROM_REFERENCE, ReferencePass
from reward_models.prefix_tree import TreeBatch

PAIR_STATISTICS = frozenset({"log_sum_sq_probs", "max_logps", "degree_logits"}) | FROM_REFERENCE


def needed_statistics(objective: Objective) -> frozenset[str]:
    """Return the statistics of the vocabulary that the objective reads of the policy.

    Raises:
        UserError: it needs an input that this trainer doesn't supply.
    """
    wanted = {name for name in objective.needs if NEEDS[name].holder == "pair_outputs"}
    columns = {name for name in objective.needs if NEEDS[name].holder == "pairs" and NEEDS[name].shape == "(N,)"}
    columns |= {name for name in objective.needs if NEEDS[name].holder in ("judged", "policy")}
    statistics = {name.partition("_")[2] for name in wanted}
    unknown = {name for name in wanted if name.partition("_")[2] not in PAIR_STATISTICS}
    missing = sorted((objective.needs - wanted - columns - {"ref_logps"}) | unknown)
    if missing:
        raise UserError(f"the offline trainer does not supply {', '.join(missing)}, which {objective.recipe} needs")
    return frozenset(statistics)


def pair_statistics(
    model: nn.Module,
    batch: Mapping[str, Any],
    statistics: Collection[str] = (),
    reference: ReferencePass | None = None,
    **other: Any,
) -> dict[str, Tensor]:
    """Return ``logps`` and each statistic, ``(2N, T, ...)``: all chosen responses, then all rejected; 0 behind each.

    Args:
        model: what to call, wrapped for several processes where it is; `attach_tree_head` was applied to it.
        batch: of `PairBatchCollator`.
        statistics: see `next_token_statistics` and `attach_tree_head`.
        reference: what statistics of `FROM_REFERENCE` are computed from.
        other: passed to the model.
    """
    trees, own = TreeBatch(**batch["trees"]), [name for name in statistics if name not in ACTIVATIONS]
    found = model(
        trees=trees, statistics=tuple(own), **({} if reference is None else {"reference": reference}), **other
    )
    found = {name: laid_out(batch, value) for name, value in found.items()}
    given = {} if reference is None else reference.statistics
    return found | {name: laid_out(batch, given[ACTIVATIONS[name]]) for name in statistics if name in ACTIVATIONS}


def laid_out(batch: Mapping[str, Any], values: Tensor) -> Tensor:
    """Lay values ``(M, ...)`` of response tokens out as ``(2N, T, ...)``, chosen first; 0 after the responses' ends."""
    found, mask = TreeBatch(**batch["trees"]).by_response(values)
    places = batch["places"]
    return found[places] if places.ndim == 1 else _joined(found[places], mask[places] & (places != ABSENT)[..., None])


def _joined(parts: Tensor, mask: Tensor) -> Tensor:
    """Put the parts ``(2N, P, T, ...)`` of each side one after the other, ``(2N, L, ...)``; 0 behind the last."""
    values, taken = parts.flatten(1, 2), mask.flatten(1, 2)
    counts = taken.sum(-1)
    order = (~taken).int().sort(dim=-1, stable=True).indices[:, : int(counts.max())]
    rows = torch.arange(len(values), device=values.device)[:, None]
    inside = torch.arange(order.shape[1], device=values.device) < counts[:, None]
    found = values[rows, order]
    return torch.where(inside.view(*inside.shape, *(1,) * (found.ndim - 2)), found, torch.zeros_like(found))


def pair_outputs(found: Mapping[str, Tensor]) -> PairOutputs:
    """Split statistics ``(2N, T)``, chosen first, into those of both sides."""
    sides = {name: value.chunk(2) for name, value in found.items()}
    chosen, rejected = sides.pop("logps")
    extras = {f"chosen_{name}": value for name, (value, _) in sides.items()}
    extras |= {f"rejected_{name}": value for name, (_, value) in sides.items()}
    return PairOutputs(chosen, rejected, extras)
