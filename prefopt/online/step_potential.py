"""What a probe after a reasoning step says of it: how sure the policy is of an answer, and how right."""

from __future__ import annotations

from torch import Tensor

from prefopt.online.slots import masked


def probe_confidence(entropies: Tensor, mask: Tensor) -> Tensor:
    """Return ``mean_n exp(-mean_l H_{n,l})`` over N probe continuations; both are ``(..., N, L)``.

    Reference: SPAE, arXiv 2601.03823.
    """
    mean = masked(entropies, mask).sum(-1) / mask.sum(-1).clamp(min=1)
    return (-mean).exp().mean(-1)


def probe_accuracy(answer_logps: Tensor, mask: Tensor) -> Tensor:
    """Return ``mean_n mean_m pi(y_m | prefix, probe, y_<m)`` of the forced right answer; both are ``(..., N, M)``.

    Reference: SPAE, arXiv 2601.03823.
    """
    probability = masked(answer_logps.exp(), mask).sum(-1) / mask.sum(-1).clamp(min=1)
    return probability.mean(-1)


def step_potential(accuracy: Tensor, confidence: Tensor) -> Tensor:
    """Return ``1.5 acc conf + 0.5 acc - conf``: 1 where the policy is sure and right, -1 where it is sure and wrong.

    Reference: SPAE, arXiv 2601.03823.
    """
    return 1.5 * accuracy * confidence + 0.5 * accuracy - confidence
