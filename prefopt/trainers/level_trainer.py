"""The offline trainer for pairs whose sides are answers to several prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from prefopt.errors import UserError
from prefopt.offline import OfflineMethod
from prefopt.offline.pairs import Levels
from prefopt.trainers.level_tokens import LEVEL, SIDES, alone, with_levels
from prefopt.trainers.offline_config import OfflineConfig
from prefopt.trainers.offline_data import loaded, tokenised
from prefopt.trainers.offline_trainer import OfflineTrainer
from prefopt.trainers.pairs.batches import ABSENT, PairBatchCollator
from prefopt.trainers.pairs.tokens import PairTokens
from prefopt.trainers.policies import context_limit
from prefopt.trainers.token_budget import Side


class LevelCollator(PairBatchCollator):
    """As `PairBatchCollator`; ``places`` is ``(2N, P)``: the parts of a side in order, `ABSENT` behind the last."""

    def sides(self, row: Mapping[str, Any]) -> list[Side]:
        """Return all parts of the chosen side, then all of the rejected one."""
        return [part for side in self.parts(row) for part in side]

    def parts(self, row: Mapping[str, Any]) -> list[list[Side]]:
        """Return the parts of both sides."""
        if row.get("chosen_parts") is None:
            return [[side] for side in super().sides(row)]
        sides = [[(part["prompt"], part["answer"]) for part in row[f"{side}_parts"]] for side in SIDES]
        return [[(prompt, answer) if prompt else (answer[:1], answer[1:]) for prompt, answer in side] for side in sides]

    def laid_out(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[Any], torch.Tensor]:
        """Return the trees, and where the parts of each side stand in them."""
        pairs = [self.parts(row) for row in rows]
        sides = [pair[side] for side in range(2) for pair in pairs]
        trees, flat = self._plant([part for side in sides for part in side])
        places = torch.full((len(sides), max(map(len, sides))), ABSENT)
        taken = iter(flat)
        for i, side in enumerate(sides):
            for j in range(len(side)):
                places[i, j] = next(taken)
        return trees, places


class LevelTrainer(OfflineTrainer):
    """As `OfflineTrainer`, for pairs of several levels; see `Levels`."""

    collator = LevelCollator

    def __init__(self, model: Any, args: Any, objective: OfflineMethod, *data: Any, **other: Any) -> None:
        if args.precompute_reference:
            raise UserError(
                f"{objective.recipe} makes pairs whose sides are answers to several prompts, which the reference's "
                "cache does not tell apart; leave precompute_reference out"
            )
        super().__init__(model, args, objective, *data, **other)


def levels_of(objective: OfflineMethod) -> Levels | None:
    """Return the levels that an objective learns from; None where pairs are those of the data alone.

    Raises:
        UserError: two losses of a mixture make pairs in different ways.
    """
    found = {part for _, part in objective.parts() if isinstance(part, Levels)}
    if len(found) > 1:
        raise UserError("two losses of a mixture make pairs in different ways; give them the same settings")
    return next(iter(found), None)


def level_rows(
    data: Dataset | PairTokens | str | Path | None, config: OfflineConfig, objective: OfflineMethod, levels: Levels,
    tokenizer: Any, model_config: Any, name: str,
) -> PairTokens | None:  # fmt: skip
    """Return the tokens of the pairs, and, of training data, of what is made of them; None for None."""
    needs = objective.needs - {LEVEL}
    rows = loaded(data, config, needs, name)
    found = tokenised(rows, config, needs, tokenizer, model_config, name)
    if found is None or not isinstance(rows, Dataset):
        return found
    if not name.startswith("training"):
        return alone(found)
    limit = context_limit(tokenizer, model_config, config.max_length)
    return with_levels(found, rows, levels, tokenizer, limit, config.seed, name)
