"""Log-probabilities of response tokens from a chunked head that never holds the logits of a whole batch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint
from trl.kernels.chunked_logprob import ChunkedLogProbFunction
from trl.trainer import add_fused_lm_head
from trl.trainer.utils import maybe_gather_lm_head_ctx

from prefopt.batch import NEEDS, PairOutputs
from prefopt.composition import Objective
from prefopt.errors import UserError
from reward_models.prefix_tree import TreeBatch

FUSED = {"log_sum_sq_probs": "log_sum_sq_probs", "entropies": "entropy"}
"""Statistics of the whole vocabulary that TRL's chunked head gives beside the log-probability -> its name for them."""
PAIR_STATISTICS = frozenset({"log_sum_sq_probs", "max_logps"})
CHUNK_TOKENS = 1024
CHUNK_VOCABULARY = 8192
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


def logit_transform(config: Any) -> tuple[float, float | None]:
    """Return the factor that a model puts on its logits, and the cap of ``cap * tanh(logit / cap)`` or None."""
    config = config.get_text_config()
    found = (getattr(config, name, None) for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"))
    scale = next((float(value) for value in found if value is not None), None)
    divisor = getattr(config, "logits_scaling", None)
    if scale is None and divisor is not None:
        scale = float(divisor) if config.model_type == "hyperclovax" else 1 / float(divisor)
    return (1.0 if scale is None else scale), getattr(config, "final_logit_softcapping", None)


def next_token_statistics(
    states: Tensor,
    targets: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    statistics: Collection[str] = (),
    *,
    scale: float = 1.0,
    softcap: float | None = None,
    temperature: float = 1.0,
) -> dict[str, Tensor]:
    """Log-probabilities of tokens from the states that predict them, without the logits of all of them at once.

    With ``z = weight @ state + bias``, scaled, capped and divided by the temperature, and ``p = softmax(z)``:
    ``logps = log p[target]``, ``entropies = -sum p log p``, ``log_sum_sq_probs = log sum p^2``,
    ``max_logps = log max p``. ``logps`` and ``entropies`` carry gradients to states, weight and bias.

    Args:
        states: ``(M, d)``; `TreeBatch.predicting_states` gives them and their targets.
        targets: ``(M,)`` int64.
        weight: ``(V, d)``, of the head. bias: ``(V,)`` or None.
        statistics: what is wanted beside ``logps``: ``entropies``, ``log_sum_sq_probs``, ``max_logps``.
        scale, softcap: see `logit_transform`.
        temperature: that of sampling.

    Returns:
        ``logps`` and each statistic, ``(M,)``, in float32 (float64 for states in float64).
    """
    kernel = _logps_of_whole_chunks if states.dtype == torch.float64 else _logps_of_kernel
    found = kernel(states, targets, weight, bias, frozenset(statistics), scale, softcap, temperature)
    return {name: found[name] for name in ("logps", *statistics)}


def _transformed(logits: Tensor, scale: float, softcap: float | None, temperature: float) -> Tensor:
    logits = logits * scale
    return (logits if softcap is None else softcap * torch.tanh(logits / softcap)) / temperature


def _logps_of_kernel(
    states: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None, statistics: frozenset[str], scale: float,
    softcap: float | None, temperature: float,
) -> dict[str, Tensor]:  # fmt: skip
    wanted = tuple(FUSED[name] for name in statistics if name in FUSED)
    logps, entropies, squares, _, _ = ChunkedLogProbFunction.apply(
        states, weight, bias, targets, temperature, CHUNK_VOCABULARY, softcap, scale, wanted
    )
    found = {"logps": logps, "entropies": entropies, "log_sum_sq_probs": squares}
    if "max_logps" in statistics:
        with torch.no_grad():
            chunks = []
            for chunk in states.split(CHUNK_TOKENS):
                logits = _transformed(nn.functional.linear(chunk, weight, bias).float(), scale, softcap, temperature)
                chunks.append(logits.amax(-1) - logits.logsumexp(-1))
            found["max_logps"] = torch.cat(chunks)
    return found


def _logps_of_whole_chunks(
    states: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None, statistics: frozenset[str], scale: float,
    softcap: float | None, temperature: float,
) -> dict[str, Tensor]:  # fmt: skip
    def chunk(states: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        logits = _transformed(nn.functional.linear(states, weight, bias), scale, softcap, temperature)
        logps = logits.log_softmax(-1)
        return (
            logps.gather(-1, targets[:, None])[:, 0],
            -(logps.exp() * logps).sum(-1),
            (2 * logps).logsumexp(-1).detach(),
            logps.amax(-1).detach(),
        )

    parts = [
        checkpoint(chunk, *part, use_reentrant=False)
        for part in zip(states.split(CHUNK_TOKENS), targets.split(CHUNK_TOKENS), strict=True)
    ]
    names = ("logps", "entropies", "log_sum_sq_probs", "max_logps")
    return {name: torch.cat(values) for name, values in zip(names, zip(*parts, strict=True), strict=True)}


def attach_tree_head(model: Any) -> None:
    """Teach a causal language model ``model(trees=TreeBatch, statistics=(...), temperature=1.0)``.

    It returns what `next_token_statistics` gives for the response tokens of the trees, ``(M,)`` each, which
    `TreeBatch.by_response` lays out by response. Every other call goes where it went before. Attach it to the bare
    model, before PEFT, DDP or FSDP wrap it, so that their hooks run; once is enough.
    """
    before = model.forward

    @wraps(type(model).forward)
    def forward(
        self: Any,
        *args: Any,
        trees: TreeBatch | None = None,
        statistics: Collection[str] = (),
        temperature: float = 1.0,
        **other: Any,
    ) -> Any:
        if trees is None:
            return before(*args, **other)
        hidden = self.base_model(**trees.model_inputs(self.config, self.dtype)).last_hidden_state
        states, targets = trees.predicting_states(hidden)
        head = self.get_output_embeddings()
        weight, bias = (part.full_tensor() if isinstance(part, DTensor) else part for part in (head.weight, head.bias))
        scale, softcap = logit_transform(self.config)
        states, targets = states.to(weight.device), targets.to(weight.device)
        with maybe_gather_lm_head_ctx(weight, bias):
            return next_token_statistics(
                states, targets, weight, bias, statistics, scale=scale, softcap=softcap, temperature=temperature
            )

    model.forward = MethodType(forward, model)
