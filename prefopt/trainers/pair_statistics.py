"""What a model says about a batch of pairs, in the shape that objectives take."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn

from prefopt.batch import NEEDS, PairOutputs
from prefopt.composition import Objective
from prefopt.errors import UserError
from reward_models.prefix_tree import TreeBatch

PAIR_STATISTICS = frozenset({"log_sum_sq_probs", "max_logps"})


def needed_statistics(objective: Objective) -> frozenset[str]:
    """Return the statistics of the vocabulary that the objective reads of the policy.

    Raises:
        UserError: it needs an input that this trainer doesn't supply.
    """
    wanted = {name for name in objective.needs if NEEDS[name].holder == "pair_outputs"}
    columns = {name for name in objective.needs if NEEDS[name].holder == "pairs" and NEEDS[name].shape == "(N,)"}
    statistics = {name.partition("_")[2] for name in wanted}
    unknown = {name for name in wanted if name.partition("_")[2] not in PAIR_STATISTICS}
    missing = sorted((objective.needs - wanted - columns - {"ref_logps"}) | unknown)
    if missing:
        raise UserError(f"the offline trainer does not supply {', '.join(missing)}, which {objective.recipe} needs")
    return frozenset(statistics)


def pair_statistics(model: nn.Module, batch: Mapping[str, Any], statistics: Collection[str] = ()) -> dict[str, Tensor]:
    """Return ``logps`` and each statistic, ``(2N, T)``: all chosen responses, then all rejected; 0 after their ends.

    Args:
        model: what to call, wrapped for several processes where it is; `attach_tree_head` was applied to it.
        batch: of `PairBatchCollator`.
        statistics: see `next_token_statistics`.
    """
    trees, places = TreeBatch(**batch["trees"]), batch["places"]
    found = model(trees=trees, statistics=tuple(statistics))
    return {name: trees.by_response(value)[0][places] for name, value in found.items()}


def pair_outputs(found: Mapping[str, Tensor]) -> PairOutputs:
    """Split statistics ``(2N, T)``, chosen first, into those of both sides."""
    sides = {name: value.chunk(2) for name, value in found.items()}
    chosen, rejected = sides.pop("logps")
    extras = {f"chosen_{name}": value for name, (value, _) in sides.items()}
    extras |= {f"rejected_{name}": value for name, (_, value) in sides.items()}
    return PairOutputs(chosen, rejected, extras)
