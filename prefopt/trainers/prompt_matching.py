"""How likely a prompt came with a good response: a logistic regression on the policy's own view of the prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from prefopt.errors import UserError
from reward_models.finite_values import check_finite
from reward_models.linear_probe import OVERFLOW

BATCH = 16


@torch.no_grad()
def prompt_embeddings(model: Any, prompts: Sequence[Sequence[int]], device: torch.device) -> np.ndarray:
    """Return the mean last hidden state of each prompt ``(N, H)``; equal prompts are computed once.

    Args:
        model: a bare causal language model.
        prompts: token ids.
    """
    distinct = sorted({tuple(prompt) for prompt in prompts}, key=len)
    found: dict[tuple[int, ...], np.ndarray] = {}
    training = model.training
    model.eval()
    for start in range(0, len(distinct), BATCH):
        chunk = distinct[start : start + BATCH]
        ids = torch.zeros(len(chunk), max(1, *map(len, chunk)), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, prompt in enumerate(chunk):
            ids[i, : len(prompt)], mask[i, : len(prompt)] = torch.tensor(prompt, dtype=torch.long), 1
        mask[mask.sum(-1) == 0, 0] = 1
        states = model.base_model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state.float()
        weights = mask.to(states)[..., None]
        means = (states * weights).sum(1) / weights.sum(1)
        found |= dict(zip(chunk, means.cpu().numpy(), strict=True))
    model.train(training)
    return np.stack([found[tuple(prompt)] for prompt in prompts])


class PromptMatcher:
    """Fits once on the training data; both kinds of responses count the same in all, whatever their numbers.

    Raises:
        UserError: only good or only bad responses.
    """

    def __init__(self, embeddings: np.ndarray, desirable: Sequence[float]) -> None:
        kinds = np.asarray(desirable) > 0
        if kinds.all() or not kinds.any():
            raise UserError("match_prompts compares prompts of good and of bad responses; the data has only one kind")
        check_finite(embeddings, "the model's view of the prompts of the training data", advice=OVERFLOW)
        self.classifier = make_pipeline(
            StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000, random_state=0)
        ).fit(embeddings, kinds)

    def __call__(self, embeddings: np.ndarray) -> list[float]:
        """Return P(good response | prompt), below 1 by at least 1e-8."""
        check_finite(embeddings, "the model's view of the prompts", advice=OVERFLOW)
        found = self.classifier.predict_proba(embeddings)[:, 1].clip(0, 1 - 1e-8)
        return [float(value) for value in found]
