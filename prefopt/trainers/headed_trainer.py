"""The offline trainer for a policy of several heads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prefopt.errors import UserError
from prefopt.offline.method import OfflineMethod
from prefopt.trainers.adapted import bare, is_adapted
from prefopt.trainers.offline_trainer import OfflineTrainer
from prefopt.trainers.pairs.statistics import pair_statistics
from prefopt.trainers.pairs.tokens import PairTokens
from prefopt.trainers.policy_heads import NAME, attach_heads, heads_of, learns_faster, load_heads, ordinary, save_heads
from prefopt.trainers.reference_pass import FROM_REFERENCE, ReferencePass
from prefopt.trainers.token_budget import SHARDED

LABEL = "head"


class HeadedTrainer(OfflineTrainer):
    """As `OfflineTrainer`; each pair is judged by the head that it is labelled with.

    What it saves is an ordinary policy, whose head is the mean of the heads, and the heads beside it.
    """

    def __init__(self, model: Any, args: Any, objective: OfflineMethod, *data: Any, **other: Any) -> None:
        specification = heads_of(objective)
        assert specification is not None
        if is_adapted(model):
            raise UserError(
                f"{objective.recipe} trains whole heads beside a whole model, which an adapter's folder could not "
                "hold; run it without use_peft"
            )
        self.heads = attach_heads(bare(model), specification, args.seed)
        self.head_rate = specification.rate
        super().__init__(model, args, objective, *data, **other)
        if self.reference is not None and self.reference.model is not None:
            bare(self.reference.model)._modules.pop(NAME, None)
        if clash := sorted(FROM_REFERENCE & self.statistics):
            raise UserError(f"{', '.join(clash)} compare the reference's head with one of the policy's; it has several")
        if self.accelerator.distributed_type in SHARDED:
            raise UserError(f"{objective.recipe} keeps its heads whole; run it without sharding the weights")

    def said(
        self, model: nn.Module, batch: Mapping[str, Any], reference: ReferencePass | None = None
    ) -> dict[str, Tensor]:
        """What each pair's own head says of it."""
        places, label = batch["places"], batch[LABEL].round().long()
        numbers = torch.zeros(len(places), dtype=torch.long, device=places.device)
        numbers[places] = torch.cat([label, label])
        return pair_statistics(model, batch, self.statistics, reference, heads=numbers)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """As transformers does; the heads have a learning rate of their own."""
        optimiser: torch.optim.Optimizer = super().create_optimizer(*args, **kwargs)
        if self.head_rate != 1:
            learns_faster(optimiser, self.heads, self.head_rate)
        return optimiser

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        if self.args.should_save:
            save_heads(self.heads, Path(output_dir or self.args.output_dir))
        state = self.accelerator.unwrap_model(self.model).state_dict() if state_dict is None else state_dict
        super()._save(output_dir, ordinary(state, self.heads))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self._restore(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        super()._load_best_model()
        self._restore(Path(str(self.state.best_model_checkpoint)))

    def _restore(self, folder: Path) -> None:
        found = load_heads(folder)
        if len(found) != len(self.heads):
            raise UserError(
                f"{folder} holds {len(found)} heads, and this run has {len(self.heads)}; resume with its own"
            )
        for number, state in enumerate(found):
            self.heads[str(number)].load_state_dict(state)


def check_heads(rows: PairTokens | None, objective: OfflineMethod, name: str) -> None:
    """Raise ``UserError`` for a pair that is labelled with no head of the policy."""
    specification = heads_of(objective)
    if specification is None or rows is None:
        return
    for row, value in zip(rows.rows["row"], rows.rows[LABEL], strict=True):
        if value not in range(specification.heads):
            raise UserError(
                f"{name}, row {row + 1}: {LABEL} is {value:g}, and the heads are 0 to {specification.heads - 1}; mend "
                "the label, or set recipe_settings {heads: ...}"
            )
