"""Attribute rewards mixed into one score by weights that follow from the prompt; how it lies on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from reward_models.errors import ModelError
from reward_models.multi_objective.debias import Debias
from reward_models.multi_objective.gate import Gate

FILE = "mixture.safetensors"


class Mixture(nn.Module):
    """``score = sum_k g_k(p) r'_k`` with ``r' = r W``: a gate over debiased attribute rewards.

    ``coefficients`` are what each raw reward counts, ``W g(p)``: the answer to *why this score*.

    Shape: prompts ``(N, d)``, attributes ``(N, K)`` -> ``(N,)``.

    Reference: arXiv 2406.12845.
    """

    def __init__(self, gate: Gate, debias: Tensor) -> None:
        super().__init__()
        self.gate = gate
        self.debias: Tensor
        self.register_buffer("debias", debias.float())

    @classmethod
    def of(cls, gate: Gate, debias: Debias) -> Mixture:
        """Put a trained gate and a debiasing together."""
        return cls(gate, debias.matrix)

    def coefficients(self, prompts: Tensor) -> Tensor:
        """Return ``(N, K)``: what a unit of each raw attribute reward adds to the score."""
        return self.gate(prompts.float()) @ self.debias.T

    def forward(self, prompts: Tensor, attributes: Tensor) -> Tensor:
        """Return the scores."""
        return (self.coefficients(prompts) * attributes).sum(-1)

    @property
    def form(self) -> dict[str, Any]:
        """What a gate of this shape is built from, JSON-ready."""
        return dict(self.gate.form)

    def save(self, folder: Path) -> None:
        """Write the weights to the model's folder."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        save_file(tensors, folder / FILE, metadata={"format": "pt"})

    @classmethod
    def load(cls, folder: Path, form: dict[str, Any]) -> Mixture:
        """Read what `save` wrote. Raises ``ModelError`` where the file is absent or of another shape."""
        if not (folder / FILE).exists():
            raise ModelError(f"{folder} is a gated reward model and has no {FILE}")
        try:
            mixture = cls(Gate(**form), torch.zeros(form["attributes"], form["attributes"]))
            mixture.load_state_dict(load_file(folder / FILE))
        except (RuntimeError, TypeError, KeyError, SafetensorError) as error:
            raise ModelError(f"{folder / FILE} does not fit its description: {error}") from error
        return mixture.eval()
