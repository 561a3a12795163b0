"""The offline trainer for responses that were judged one by one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import EvalPrediction

from prefopt.batch import Judged, PolicyOutputs
from prefopt.composition import State
from prefopt.errors import UserError
from prefopt.offline.unpaired import AroundZero, Prospect, UnpairedObjective
from prefopt.trainers.adapted import bare
from prefopt.trainers.judged_batches import JudgedBatchCollator, balance, judged_of, partners
from prefopt.trainers.judged_tokens import COLUMNS
from prefopt.trainers.offline_trainer import OfflineTrainer
from prefopt.trainers.pairs.batches import PairRows, response_mask
from prefopt.trainers.pairs.statistics import pair_statistics
from prefopt.trainers.policies import context_limit
from prefopt.trainers.prompt_matching import PromptMatcher, prompt_embeddings
from prefopt.trainers.token_budget import in_order, parts_of

logger = logging.getLogger(__name__)
MISMATCHED, PARTNER = "mismatched_log_ratio", "partner"


def judged_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Means over responses. Shape: predictions (N, 3) = loss, reward, 1 for a good and 0 for a bad response.

    ``rewards/accuracy`` is how often a good response's reward is above a bad one's, over all such couples.
    """
    losses, rewards, desirable = np.asarray(prediction.predictions, dtype=np.float64).T
    good, bad = rewards[desirable > 0], rewards[desirable == 0]
    found = {"loss": float(losses.mean())}
    if len(good):
        found["rewards/desirable"] = float(good.mean())
    if len(bad):
        found["rewards/undesirable"] = float(bad.mean())
    if len(good) and len(bad):
        found["rewards/margin"] = found["rewards/desirable"] - found["rewards/undesirable"]
        below, upto = (np.searchsorted(np.sort(bad), good, side=side) for side in ("left", "right"))
        found["rewards/accuracy"] = float((below + upto).sum() / (2 * len(good) * len(bad)))
    return found


class UnpairedTrainer(OfflineTrainer):
    """As `OfflineTrainer`; a row is one response, and the data has columns prompt, completion, label."""

    objective: UnpairedObjective  # type: ignore[assignment]
    collator = JudgedBatchCollator
    figures = staticmethod(judged_metrics)

    def __init__(self, model: Any, args: Any, objective: UnpairedObjective, *data: Any, **other: Any) -> None:
        if args.precompute_reference:
            raise UserError("precompute_reference is for pairs; leave it out with responses that have no partner")
        self.held_out_rows: PairRows | None = None
        super().__init__(model, args, objective, *data, **other)  # type: ignore[arg-type]
        link = objective.link
        if self.train_dataset is not None and isinstance(link, (Prospect, AroundZero)):
            advice = balance(self.train_dataset.rows["desirable"], link.desirable_weight, link.undesirable_weight)
            if advice is not None:
                logger.warning("%s", advice)
        together = args.train_batch_size * args.world_size * args.gradient_accumulation_steps
        if MISMATCHED in objective.needs:
            if self.train_dataset is not None and min(together, len(self.train_dataset)) < 2:
                raise UserError(
                    "kto mismatches the prompts of an optimiser batch with each other's completions, so it needs at "
                    "least two rows: raise per_device_train_batch_size or gradient_accumulation_steps"
                )
            self.context = context_limit(self.processing_class, self._causal().config, args.max_length)
        if "prompt_desirable_probability" in objective.needs:
            self._match_prompts()

    def outputs(  # type: ignore[override]
        self, model: nn.Module, batch: Mapping[str, Any]
    ) -> tuple[PolicyOutputs, PolicyOutputs, Judged]:
        """What the objective takes: policy, reference, and judged responses."""
        assert self.reference is not None
        logps = pair_statistics(model, batch)["logps"]
        ref_logps = self.reference(batch, model, self.accelerator)
        return PolicyOutputs(logps), PolicyOutputs(ref_logps), judged_of(batch, self.labels)

    def _figures(self, model: nn.Module, part: Mapping[str, Any]) -> Tensor:
        """``(N, 3)``: loss, reward, judgement."""
        policy, reference, rows = self.outputs(model, part)
        losses = self.objective.losses(policy, reference, rows, self.whole.prepared(part))
        return torch.stack([losses, self.objective.rewards(policy, reference, rows), rows.desirable.to(losses)], dim=1)

    def arrange(self, batches: list[Any]) -> None:
        """Say for each row of an optimiser batch, of all processes, which row's completion its prompt is given."""
        if MISMATCHED not in self.objective.needs:
            return
        parts = [part for batch in batches for part in parts_of(batch)]
        mine = [int(i) for part in parts for i, real in zip(part["index"], part["weight"], strict=True) if real]
        everyone = gather_object(mine) if self.accelerator.num_processes > 1 else mine
        given = partners([(i, tuple(self.train_dataset[i]["prompt_ids"])) for i in dict.fromkeys(everyone)])
        for part in parts:
            part[PARTNER] = torch.tensor([given.get(int(i), int(i)) for i in part["index"]])

    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        """As for pairs; a held-out row's partner is found among all held-out rows."""
        self.held_out_rows = dataloader.dataset
        try:
            return super().evaluation_loop(dataloader, *args, **kwargs)
        finally:
            self.held_out_rows = None

    def _observe(self, part: dict[str, Any]) -> State:
        """What the objective keeps of the rows of a part; a pass over mismatched rows where it asks for them."""
        if MISMATCHED not in self.objective.needs:
            return super()._observe(part)
        rows = self.train_dataset if self.held_out_rows is None else self.held_out_rows
        if PARTNER not in part:
            given = partners([(i, tuple(row["prompt_ids"])) for i, row in enumerate(rows.rows)])
            part[PARTNER] = torch.tensor([given[int(i)] for i in part["index"]])
        mismatched = []
        for i, j in zip(part["index"].tolist(), part[PARTNER].tolist(), strict=True):
            room = max(1, self.context - len(rows[i]["prompt_ids"]))
            mismatched.append({**rows[i], "completion_ids": rows[j]["completion_ids"][:room]})
        batch = self.data_collator(mismatched)
        found = in_order(parts_of(batch), [self._log_ratios(one) for one in parts_of(batch)])
        judged = judged_of(part, (), **{MISMATCHED: found.to(part["desirable"].device)})
        return self.objective.observe(None, None, judged)

    @torch.no_grad()
    def _log_ratios(self, part: dict[str, Any]) -> Tensor:
        """``(N,)``: summed log-ratio of each response of a part, without gradient."""
        model, inputs = self.model_wrapped, self._prepare_inputs(part)
        training = model.training
        with self.compute_loss_context_manager():
            policy, reference, _ = self.outputs(model.eval(), inputs)
        model.train(training)
        gap = torch.where(response_mask(inputs), policy.logps - reference.logps, 0.0)
        return gap.sum(-1, dtype=torch.float64 if gap.device.type == "cpu" else torch.float32)

    def _match_prompts(self) -> None:
        """Give rows without a ``prompt_desirable_probability`` that of a classifier of the training data's prompts."""
        column = COLUMNS[0]
        lacking = [
            data
            for data in (self.train_dataset, self.eval_dataset)
            if data is not None and column not in data.rows.column_names
        ]
        if not lacking:
            return
        model, device = bare(self.accelerator.unwrap_model(self.model)), self.args.device
        model.to(device)
        training = prompt_embeddings(model, self.train_dataset.rows["prompt_ids"], device)
        matcher = PromptMatcher(training, self.train_dataset.rows["desirable"])
        for data in lacking:
            own = training if data is self.train_dataset else prompt_embeddings(model, data.rows["prompt_ids"], device)
            data.rows = data.rows.add_column(column, matcher(own))
