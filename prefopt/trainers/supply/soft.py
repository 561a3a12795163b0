"""Soft thoughts: the first tokens of a completion are mixtures of embeddings, and are fed again as they were drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from prefopt.errors import UserError
from prefopt.online.gumbel import mixture, perturbed
from prefopt.online.method import OnlineMethod
from prefopt.trainers.supply.texts import padded
from prefopt.trainers.supply.told import logps_of

if TYPE_CHECKING:
    from prefopt.trainers.online_config import OnlineConfig
    from prefopt.trainers.online_trainer import OnlineTrainer

EMBEDDINGS, IDS = "soft_embeddings", "soft_ids"


@dataclass(frozen=True)
class Thoughts:
    """``count`` soft tokens of B completions.

    Attributes:
        ids: ``(B, count, k)``, the kept tokens. values: the same shape, their perturbed log-probabilities.
        embeddings: ``(B, count, H)``, what was fed.
    """

    ids: Tensor
    values: Tensor
    embeddings: Tensor


@torch.no_grad()
def think(
    model: Any, prompts: Sequence[list[int]], count: int, longest: int, ends: Sequence[int], settings: Any, filler: int
) -> tuple[list[list[int]], Thoughts]:
    """Return completions of ``count`` soft tokens and ordinary ones behind them, and the soft tokens.

    A soft token stands in a completion as the one of its tokens that weighs most. The k likeliest tokens are kept at
    every soft position, at the sampling temperature, and perturbed as `prefopt.online.gumbel` says.

    Args:
        model: the policy, not wrapped. prompts: token ids.
        count: of soft tokens. longest: of a completion. ends: tokens that end it.
        settings: an `OnlineConfig`. filler: token id of padding.
    """
    table = model.get_input_embeddings()
    device = table.weight.device
    ids, mask = padded(prompts, filler, device, left=True)
    fed, cache = table(ids), None
    tokens, done = [], torch.zeros(len(prompts), dtype=torch.bool, device=device)
    kept, values, embeddings = [], [], []
    for number in range(longest):
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -fed.shape[1] :]
        seen = model(
            inputs_embeds=fed, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        )
        cache, logps = seen.past_key_values, (seen.logits[:, -1].float() / settings.temperature).log_softmax(-1)
        if number < count:
            top, place = logps.topk(min(settings.soft_candidates, logps.shape[-1]), dim=-1)
            noise = -(-torch.rand_like(top).clamp(1e-9, 1 - 1e-7).log()).log()
            drawn = perturbed(top, noise)
            token = place.gather(-1, drawn.argmax(-1, keepdim=True))[:, 0]
            fed = (mixture(drawn, settings.soft_temperature)[..., None] * table(place).float()).sum(1, keepdim=True)
            fed = fed.to(table.weight.dtype)
            kept.append(place)
            values.append(drawn)
            embeddings.append(fed[:, 0])
        else:
            token = logps.exp().multinomial(1)[:, 0].where(~done, filler)
            fed = table(token[:, None])
            done = done | torch.isin(token, torch.tensor(list(ends), device=device))
        tokens.append(token)
        mask = pad(mask, (0, 1), value=1)
        if bool(done.all()):
            break
    rows = torch.stack(tokens, 1).tolist()
    return [_ended(row, count, ends) for row in rows], Thoughts(
        torch.stack(kept, 1), torch.stack(values, 1), torch.stack(embeddings, 1)
    )


def add_thoughts(trainer: OnlineTrainer, batch: dict[str, Any]) -> None:
    """Put the tokens of this generation's soft thoughts, and what was fed, into the batch."""
    thoughts = trainer.thoughts
    assert thoughts is not None
    batch[IDS], batch[EMBEDDINGS] = thoughts.ids, thoughts.embeddings


def soft_values(trainer: OnlineTrainer, width: int) -> Tensor:
    """Return ``(B, T, k)``: the stored values, NaN at ordinary tokens."""
    thoughts = trainer.thoughts
    assert thoughts is not None
    return pad(thoughts.values, (0, 0, 0, width - thoughts.values.shape[1]), value=torch.nan)


def soft_logps(trainer: OnlineTrainer, model: nn.Module, batch: Mapping[str, Any], hidden: Tensor) -> Tensor:
    """Return ``(B, T, k)``: log-probabilities of the kept tokens under a model, from its hidden states, else 0."""
    count, width = batch[IDS].shape[1], hidden.shape[1]
    there = torch.arange(width, device=hidden.device) < count
    ids = pad(batch[IDS], (0, 0, 0, width - count))
    bare = trainer.accelerator.unwrap_model(model)
    return logps_of(bare, hidden, there.expand(len(ids), -1), ids, trainer.temperature)


def check_soft(objective: OnlineMethod, config: OnlineConfig, other: Mapping[str, Any]) -> None:
    """Raise ``UserError`` where soft thoughts are asked for and cannot be generated, or nobody reads them."""
    if config.soft_tokens is None:
        return
    if "soft_values" not in objective.needs:
        raise UserError("soft_tokens is set, but no part of the recipe reads soft thoughts; leave it out")
    if config.soft_tokens >= config.max_completion_length:
        raise UserError(
            f"soft_tokens={config.soft_tokens} leaves nothing of max_completion_length={config.max_completion_length} "
            "for an answer; lower it"
        )
    if config.mask_truncated_completions:
        raise UserError("soft thoughts do not go with mask_truncated_completions, which hides them; leave one out")
    plain = {"top_p": 1.0, "top_k": 0, "min_p": None, "repetition_penalty": 1.0}
    for name, value in plain.items():
        if getattr(config, name) != value or name in (config.generation_kwargs or {}):
            raise UserError(f"{name} does not act where thoughts are soft: answers are drawn from the whole policy")
    several = [name for name in ("tools", "environment_factory", "rollout_func") if other.get(name) is not None]
    if config.use_vllm or config.use_transformers_continuous_batching or several:
        with_what = several[0] if several else "an engine"
        raise UserError(f"soft thoughts are fed as embeddings, which {with_what} does not do; leave it out")


def _ended(row: list[int], count: int, ends: Sequence[int]) -> list[int]:
    """Return a completion up to its first end token behind the soft ones."""
    stop = next((i for i in range(count, len(row)) if row[i] in ends), len(row) - 1)
    return row[: stop + 1]
