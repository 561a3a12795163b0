"""The offline trainer for single responses and texts, whose rows say more than good or bad."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import EvalPrediction

from prefopt.batch import PolicyOutputs, Responses
from prefopt.trainers.adapted import bare
from prefopt.trainers.history import Tally
from prefopt.trainers.judged_batches import JudgedBatchCollator
from prefopt.trainers.offline_trainer import OfflineTrainer
from prefopt.trainers.pairs.batches import response_mask
from prefopt.trainers.pairs.statistics import pair_statistics
from prefopt.trainers.response_tokens import OF_ROWS, ResponseObjective
from prefopt.trainers.supply.critic import NAME, ValueHead, load_critic, save_critic, without_critic

OF_TOKENS = ("token_scores",)


class ResponseCollator(JudgedBatchCollator):
    """N responses with the numbers of their rows ``(N,)`` and of their tokens ``(N, T)``."""

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Lay out and stack."""
        batch = super().__call__(rows)
        for name in OF_ROWS:
            if name in rows[0]:
                batch[name] = torch.tensor([row[name] for row in rows], dtype=torch.float32)
        for name in OF_TOKENS:
            if name in rows[0]:
                # Nothing predicts the first token of an answer to an empty prompt, see `sides`.
                values = [row[name] if row["prompt_ids"] else row[name][1:] for row in rows]
                batch[name] = torch.zeros(len(values), max(map(len, values)))
                for i, value in enumerate(values):
                    batch[name][i, : len(value)] = torch.tensor(value)
        return batch


class FiguresToo(Tally):
    """A tally that also gives what follows from several of its figures."""

    def __init__(self, figures: Callable[[Mapping[str, float]], dict[str, float]]) -> None:
        super().__init__(())
        self.figures = figures

    def collect(self, accelerator: Accelerator) -> dict[str, float]:
        """Return the figures since the last call."""
        found = super().collect(accelerator)
        return found | (self.figures(found) if found else {})


def response_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Means over rows. Shape: predictions (N, 2) = loss, and what the objective calls a row's reward."""
    losses, rewards = np.asarray(prediction.predictions, dtype=np.float64).T
    return {"loss": float(losses.mean()), "rewards/mean": float(rewards.mean())}


class ResponseTrainer(OfflineTrainer):
    """As `OfflineTrainer`; a row is a logged response or a scored text."""

    objective: ResponseObjective  # type: ignore[assignment]
    collator = ResponseCollator
    figures = staticmethod(response_metrics)

    def __init__(self, model: Any, args: Any, objective: ResponseObjective, *data: Any, **other: Any) -> None:
        self.critic: ValueHead | None = None
        if "policy.values" in objective.needs:
            width, device = bare(model).config.get_text_config().hidden_size, next(model.parameters()).device
            self.critic = ValueHead(width, device)
            bare(model).add_module(NAME, self.critic)
        super().__init__(model, args, objective, *data, **other)  # type: ignore[arg-type]
        figures = getattr(objective, "figures", None)
        if figures is not None:
            self.measured = FiguresToo(figures)

    def outputs(  # type: ignore[override]
        self, model: nn.Module, batch: Mapping[str, Any]
    ) -> tuple[PolicyOutputs, None, Responses]:
        """What the objective takes: policy, no reference, and responses."""
        found = pair_statistics(model, batch, ("values",) if self.critic is not None else ())
        extras = {name: batch[name] for name in (*OF_ROWS, *OF_TOKENS) if name in batch}
        return PolicyOutputs(found.pop("logps"), found), None, Responses(response_mask(batch), extras)

    def _figures(self, model: nn.Module, part: Mapping[str, Any]) -> Tensor:
        """``(N, 2)``: loss, reward."""
        inputs = self.outputs(model, part)
        losses = self.objective.losses(*inputs, self.whole.prepared(part))
        return torch.stack([losses, self.objective.rewards(*inputs)], dim=1)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        if self.critic is not None:
            model = self.accelerator.unwrap_model(self.model)
            state_dict = without_critic(model.state_dict() if state_dict is None else state_dict)
            if self.args.should_save:
                save_critic(self.critic, Path(output_dir or self.args.output_dir))
        super()._save(output_dir, state_dict)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and self.critic is not None:
            load_critic(self.critic, Path(checkpoint))
