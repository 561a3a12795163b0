"""The offline trainer for pairs whose responses come with shortened versions of themselves."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn

from prefopt.errors import UserError
from prefopt.offline import OfflineMethod
from prefopt.offline.regularise import PreferenceDegree
from prefopt.trainers.adapted import bare
from prefopt.trainers.degree_heads import (
    attach_degree_heads,
    restore_degree_heads,
    save_degree_heads,
    without_degree_heads,
)
from prefopt.trainers.offline_config import OfflineConfig
from prefopt.trainers.offline_data import loaded, tokenised
from prefopt.trainers.offline_trainer import OfflineTrainer
from prefopt.trainers.pairs.batches import ABSENT, PairBatchCollator
from prefopt.trainers.pairs.statistics import laid_out
from prefopt.trainers.pairs.tokens import PairTokens
from prefopt.trainers.policies import context_limit
from prefopt.trainers.reference_pass import FROM_REFERENCE, ReferencePass
from prefopt.trainers.token_budget import Side
from reward_models.data.examples import plain_text
from reward_models.data.key_phrases import degrees
from reward_models.formatting import Formatter
from reward_models.prefix_tree import TreeBatch

logger = logging.getLogger(__name__)
SIDES = ("chosen", "rejected")
LOGITS = "degree_logits"


class DegreeCollator(PairBatchCollator):
    """As `PairBatchCollator`, and ``versions`` ``(2N, C)``: where each degree of a response stands, or `ABSENT`."""

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Lay out and stack."""
        batch = super().__call__(rows)
        places = iter(batch["places"][2 * len(rows) :].tolist())
        batch["places"] = batch["places"][: 2 * len(rows)]
        shorter = [row.get(f"{side}_versions") or [] for side in SIDES for row in rows]
        versions = torch.full((len(shorter), 1 + max(map(len, shorter))), ABSENT)
        for i, own in enumerate(shorter):
            if own:
                versions[i] = torch.tensor([int(batch["places"][i]), *(next(places) for _ in own)])
        return batch | {"versions": versions}

    def sides(self, row: Mapping[str, Any]) -> list[Side]:
        """Return both responses, then the shortened ones of each."""
        more = [(row["prompt_ids"], ids) for side in SIDES for ids in row.get(f"{side}_versions") or []]
        return [*super().sides(row), *((prompt, ids) if prompt else (ids[:1], ids[1:]) for prompt, ids in more)]

    def laid_out(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[Any], Tensor]:
        """Return the trees, and in them the places of all responses, then of all shortened ones, chosen first."""
        pairs = [self.sides(row) for row in rows]
        more = [len(row.get("chosen_versions") or []) for row in rows]
        order = [pair[side] for side in range(2) for pair in pairs]
        order += [side for pair, count in zip(pairs, more, strict=True) for side in pair[2 : 2 + count]]
        order += [side for pair, count in zip(pairs, more, strict=True) for side in pair[2 + count :]]
        trees, places = self._plant(order)
        return trees, torch.tensor(places)


class DegreeTrainer(OfflineTrainer):
    """As `OfflineTrainer`; the policy's states also tell how much of a response is gone, see `PreferenceDegree`."""

    collator = DegreeCollator

    def __init__(self, model: Any, args: Any, objective: OfflineMethod, *data: Any, **other: Any) -> None:
        specification = degrees_of(objective)
        assert specification is not None
        super().__init__(model, args, objective, *data, **other)
        if clash := sorted((FROM_REFERENCE & self.statistics) - {LOGITS}):
            raise UserError(f"{objective.recipe} reads shortened responses, which {', '.join(clash)} are not made for")
        self.degree_heads = attach_degree_heads(bare(self.model), specification.degrees)

    def said(
        self, model: nn.Module, batch: Mapping[str, Any], reference: ReferencePass | None = None
    ) -> dict[str, Tensor]:
        """What the policy says of both responses, and the logits of each degree of theirs: zeros for an absent one."""
        trees, versions = TreeBatch(**batch["trees"]), batch["versions"]
        found = model(trees=trees, statistics=tuple(self.statistics))
        logits = trees.by_response(found.pop(LOGITS))[0][versions, trees.lengths[versions] - 1]
        logits = torch.where((versions != ABSENT)[..., None, None], logits, torch.zeros_like(logits))
        chosen, rejected = logits.chunk(2)
        own = torch.cat([chosen[:, :, 0], rejected[:, :, 1]])
        return {name: laid_out(batch, value) for name, value in found.items()} | {LOGITS: own}

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        if self.args.should_save:
            save_degree_heads(self.degree_heads, Path(output_dir or self.args.output_dir))
        state = self.accelerator.unwrap_model(self.model).state_dict() if state_dict is None else state_dict
        super()._save(output_dir, without_degree_heads(state))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        restore_degree_heads(self.degree_heads, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        super()._load_best_model()
        restore_degree_heads(self.degree_heads, Path(str(self.state.best_model_checkpoint)))


def degrees_of(objective: OfflineMethod) -> PreferenceDegree | None:
    """Return what an objective says of degrees; None where it knows none.

    Raises:
        UserError: two parts want different ones.
    """
    found = {part for _, part in objective.parts() if isinstance(part, PreferenceDegree)}
    if len({(part.degrees, part.share) for part in found}) > 1:
        raise UserError("two parts make shortened responses in different ways; give them the same degrees and share")
    return next(iter(found), None)


def degree_rows(
    data: Dataset | PairTokens | str | Path | None, config: OfflineConfig, objective: OfflineMethod,
    wanted: PreferenceDegree, tokenizer: Any, model_config: Any, name: str,
) -> PairTokens | None:  # fmt: skip
    """Return the tokens of the pairs, and of their responses without some key phrases; None for None."""
    rows = loaded(data, config, objective.needs, name)
    found = tokenised(rows, config, objective.needs, tokenizer, model_config, name)
    if found is None or not isinstance(rows, Dataset):
        return found
    formatter, limit = Formatter(tokenizer), context_limit(tokenizer, model_config, config.max_length)
    missing, complete = 0, []
    for tokens in found.rows:
        row, own = rows[tokens["row"]], {}
        for side in SIDES:
            texts = degrees(plain_text(row[side]), wanted.degrees, wanted.share)[1:]
            ids = [formatter.encode(row["prompt"], text) for text in texts]
            answers = [one.input_ids[one.response_start :] for one in ids]
            fit = all(len(tokens["prompt_ids"]) + len(answer) <= limit for answer in answers)
            own[f"{side}_versions"] = answers if fit else []
            missing += not own[f"{side}_versions"]
        complete.append({**tokens, **own})
    if missing:
        logger.warning("%s: %d of %d responses have no shortened versions", name, missing, 2 * len(complete))
    return PairTokens(Dataset.from_list(complete), found.bad, found.truncated)
