"""Log-probabilities of response tokens from a chunked head that never holds the logits of a whole batch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from trl.trainer import add_fused_lm_head

from prefopt.batch import NEEDS, PairOutputs
from prefopt.composition import Objective
from prefopt.errors import UserError

FUSED = {"log_sum_sq_probs": "log_sum_sq_probs", "entropies": "entropy"}
"""Statistics of the whole vocabulary that TRL's chunked head gives beside the log-probability -> its name for them."""
PAIR_STATISTICS = frozenset({"log_sum_sq_probs", "max_logps"})
CHUNK_TOKENS = 1024
_SCALED_LOGITS = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")


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


def attach_head(model: Any, statistics: Collection[str] = ()) -> None:
    """Give a causal language model the chunked head, with the statistics that `token_statistics` will be asked for.

    Raises:
        UserError: ``max_logps`` of a model that rescales its logits.
    """
    config = model.config.get_text_config()
    rescaled = [name for name in _SCALED_LOGITS if getattr(config, name, None) not in (None, 1, 1.0)]
    if "max_logps" in statistics and rescaled:
        raise UserError(
            f"the largest log-probability is not available for {config.model_type}, which rescales its logits "
            f"({rescaled[0]}); choose a recipe setting without it, such as alignment: sampled"
        )
    add_fused_lm_head(model, outputs=("log_probs", *(FUSED[name] for name in statistics if name in FUSED)))


def token_statistics(
    model: nn.Module, causal: Any, batch: Mapping[str, Tensor], statistics: Collection[str] = ()
) -> dict[str, Tensor]:
    """Return ``logps`` and each statistic, ``(B, T - 1)``: column ``t`` is about token ``t + 1``; 0 outside responses.

    Args:
        model: what to call, wrapped for several processes where it is.
        causal: the bare model inside, to which `attach_head` was applied.
        batch: ``input_ids``, ``attention_mask``, ``response_mask``, each ``(B, T)``.
        statistics: ``log_sum_sq_probs``, ``entropies`` (with gradient), ``max_logps``.
    """
    labels = batch["input_ids"].masked_fill(~batch["response_mask"], -100)
    with _last_hidden(causal, wanted="max_logps" in statistics) as seen:
        output = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels, fused_lm_head=True
        )
    found = {"logps": output.log_probs}
    found |= {name: getattr(output, FUSED[name]) for name in statistics if name in FUSED}
    if "max_logps" in statistics:
        found["max_logps"] = max_logps(seen[0][:, :-1], causal.get_output_embeddings(), batch["response_mask"][:, 1:])
    return found


def pair_outputs(found: Mapping[str, Tensor]) -> PairOutputs:
    """Split statistics ``(2N, T - 1)``, chosen first, into those of both sides."""
    sides = {name: value.chunk(2) for name, value in found.items()}
    chosen, rejected = sides.pop("logps")
    extras = {f"chosen_{name}": value for name, (value, _) in sides.items()}
    extras |= {f"rejected_{name}": value for name, (_, value) in sides.items()}
    return PairOutputs(chosen, rejected, extras)


@torch.no_grad()
def max_logps(hidden: Tensor, head: nn.Module, mask: Tensor) -> Tensor:
    """Return the log-probability of the most likely token ``(B, T)`` where ``mask``, else 0; without gradient."""
    found = torch.zeros(mask.shape, device=hidden.device)
    chunks = []
    for chunk in hidden[mask].split(CHUNK_TOKENS):
        logits = head(chunk).float()
        chunks.append(logits.amax(-1) - logits.logsumexp(-1))
    found[mask] = torch.cat(chunks) if chunks else found.new_zeros(0)
    return found


@contextmanager
def _last_hidden(causal: Any, wanted: bool) -> Iterator[list[Tensor]]:
    """Keep the backbone's last hidden states while the model runs."""
    seen: list[Tensor] = []
    if not wanted:
        yield seen
        return
    handle = causal.base_model.register_forward_hook(lambda *call: seen.append(call[2].last_hidden_state.detach()))
    try:
        yield seen
    finally:
        handle.remove()
