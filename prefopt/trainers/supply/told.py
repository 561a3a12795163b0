"""What the current policy would say if its prompt told the answer, of the tokens taken and of others it might take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from prefopt.trainers.logprobs import distributions
from prefopt.trainers.supply.references import TOLD, behind

if TYPE_CHECKING:
    from prefopt.trainers.online_trainer import OnlineTrainer

CHUNK_BYTES = 128 * 2**20


def draw_candidates(
    model: nn.Module, hidden: Tensor, mask: Tensor, count: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return ``count`` tokens drawn from the policy at each position ``(B, T, k)``, and their log-probabilities.

    From hidden states ``(B, T, H)``, some positions at a time; what a chunk holds is computed again for its gradient.
    """
    ids = torch.zeros(*mask.shape, count, dtype=torch.long, device=hidden.device)
    for place in _chunks(model, mask):
        with torch.no_grad():
            ids[place] = distributions(model, hidden[place], temperature).exp().multinomial(count, replacement=True)
    return ids, logps_of(model, hidden, mask, ids, temperature)


def logps_of(model: nn.Module, hidden: Tensor, mask: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """Return log-probabilities ``(B, T, k)`` of the tokens ``ids``, 0 outside the mask."""

    def gathered(states: Tensor, wanted: Tensor) -> Tensor:
        return distributions(model, states, temperature).gather(-1, wanted)

    wide = torch.promote_types(hidden.dtype, torch.float32)
    found = torch.zeros(ids.shape, dtype=wide, device=hidden.device)
    for place in _chunks(model, mask):
        values = checkpoint(gathered, hidden[place], ids[place], use_reentrant=False)
        found = found.index_put(place, values)
    return found


def told_extras(
    trainer: OnlineTrainer, model: nn.Module, batch: Mapping[str, Any], mask: Tensor, hidden: Tensor | None, count: int
) -> dict[str, Tensor]:
    """Return ``answer_logps``, and of the candidates ``candidate_logps`` and ``candidate_answer_logps`` if wanted.

    ``hidden`` are the states of the plain prompt, with gradient; None where candidates are not wanted.
    """
    bare = trainer.accelerator.unwrap_model(model)
    wanted = frozenset() if hidden is None else frozenset({"hidden"})
    told = trainer.fixed_statistics(trainer.model, behind(batch, TOLD), wanted)
    extras = {"answer_logps": told["logps"]}
    if hidden is not None:
        ids, extras["candidate_logps"] = draw_candidates(bare, hidden, mask, count, trainer.temperature)
        with torch.no_grad():
            extras["candidate_answer_logps"] = logps_of(bare, told["hidden"], mask, ids, trainer.temperature)
    return extras


def _chunks(model: nn.Module, mask: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield row and column numbers of positions whose distributions fit the limit together."""
    at_once = max(1, CHUNK_BYTES // (4 * model.config.get_text_config().vocab_size))  # type: ignore[union-attr,operator]
    rows, columns = mask.nonzero(as_tuple=True)
    yield from zip(rows.split(at_once), columns.split(at_once), strict=True)
