"""The gate of ArmoRM: weights of the attributes from the prompt alone, trained on pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from reward_models.errors import DataError
from reward_models.finite_values import check_finite
from reward_models.linear_probe import OVERFLOW


class Gate(nn.Module):
    """``g = s * softmax(MLP(p) / T)`` over the attributes, ``p`` the prompt's representation.

    The MLP has ``layers`` hidden layers of ``width`` with ReLU and dropout; ``s`` is one trained scale, 1 at the start.
    (The authors' released training script takes the softmax over the axis of chosen and rejected answer, which gives
    1/2 for every attribute; the paper's is over the attributes, as here.)

    Shape: ``(N, d)`` -> ``(N, K)``.

    Reference: arXiv 2406.12845.
    """

    def __init__(
        self, features: int, attributes: int, width: int = 1024, layers: int = 3, dropout: float = 0.2,
        temperature: float = 10.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.form = {
            "features": features, "attributes": attributes, "width": width, "layers": layers, "dropout": dropout,
            "temperature": temperature,
        }  # fmt: skip
        blocks: list[nn.Module] = []
        for number in range(layers):
            blocks += [nn.Linear(features if number == 0 else width, width), nn.ReLU(), nn.Dropout(dropout)]
        self.network = nn.Sequential(*blocks, nn.Linear(width if layers else features, attributes))
        self.scale = nn.Parameter(torch.ones(()))
        self.temperature = temperature

    def forward(self, prompts: Tensor) -> Tensor:
        """Return the weights of the attributes."""
        weights: Tensor = self.scale * (self.network(prompts) / self.temperature).softmax(-1)
        return weights


@dataclass(frozen=True)
class GateSettings:
    """How the gate is trained: AdamW, cosine to 0, batches drawn with replacement; the authors' values."""

    width: int = 1024
    layers: int = 3
    dropout: float = 0.2
    temperature: float = 10.0
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    steps: int = 2000
    batch_size: int = 1024
    seed: int = 0


def gated_scores(gate: Gate, prompts: Tensor, rewards: Tensor) -> Tensor:
    """Return ``sum_k g_k(p) r'_k`` ``(N,)`` from prompts ``(N, d)`` and debiased rewards ``(N, K)``."""
    return (gate(prompts) * rewards).sum(-1)


def train_gate(
    prompts: Tensor, chosen: Tensor, rejected: Tensor, settings: GateSettings | None = None, names: Sequence[str] = ()
) -> Gate:
    """Train on pairs: ``-log sigma(score(chosen) - score(rejected))`` with attribute rewards held fixed.

    Args:
        prompts: ``(N, d)`` representations of the pairs' prompts.
        chosen, rejected: ``(N, K)`` debiased rewards of the answers.
        settings: of network and optimiser.
        names: of the K attributes, for messages.

    Raises:
        DataError: no pairs, or numbers that are not finite.
    """
    how = settings or GateSettings()
    if not len(prompts):
        raise DataError("the gate needs pairs, and there are none")
    check_finite(prompts, "features of the gate's prompts", advice=OVERFLOW)
    for side, rewards in (("chosen", chosen), ("rejected", rejected)):
        check_finite(rewards, f"rewards of the {side} answers", names, OVERFLOW)
    with torch.random.fork_rng():
        torch.manual_seed(how.seed)
        gate = Gate(prompts.shape[1], chosen.shape[1], how.width, how.layers, how.dropout, how.temperature)
        optimiser = torch.optim.AdamW(gate.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, how.steps)
        margins = (chosen - rejected).float()
        for step in range(how.steps):
            rows = torch.randint(len(prompts), (how.batch_size,))
            loss = -logsigmoid(gated_scores(gate, prompts[rows].float(), margins[rows])).mean()
            optimiser.zero_grad()
            loss.backward()
            norm = nn.utils.get_total_norm([p.grad for p in gate.parameters() if p.grad is not None])
            if not bool(torch.isfinite(norm)):
                raise DataError(
                    f"step {step + 1} of the gate: loss {loss.item():g}, gradient {float(norm):g}. Lower its learning "
                    f"rate ({how.learning_rate:g}), or look at rewards that are far larger than others"
                )
            optimiser.step()
            schedule.step()
    return gate.eval()
