"""Bradley-Terry: the log-likelihood of the preferred answer, with margins and soft labels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid


@dataclass(frozen=True)
class BradleyTerry:
    """Negative log-likelihood of the label under ``P(w > l) = sigma(r_w - r_l)``.

        L = - p log sigma(d - m) - (1 - p) log sigma(-d - m),    d = r_w - r_l

    with the margin ``m >= 0`` (0 where absent) and ``p`` the probability that the answer called chosen is the better
    one (1 where absent). This is the expectation of the hard-label loss over the label: with probability ``1 - p``
    the pair is the other way round and must be ``m`` apart that way. ``label_smoothing = e`` replaces ``p`` by
    ``p (1 - e) + (1 - p) e``. A tie kept as a soft label has ``p = 1/2``.

    Adding a constant to both scores changes nothing; `Centring` fixes the origin.

    Shape: chosen, rejected, margin, label (N,) -> (N,).

    Raises:
        ValueError: label_smoothing outside [0, 1/2).

    Reference: Bradley and Terry, 1952 (Biometrika 39:324); margin: arXiv 2307.09288, section 3.2.2.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing must lie in [0, 0.5), got {self.label_smoothing}")

    def __call__(
        self, chosen: Tensor, rejected: Tensor, margin: Tensor | None = None, label: Tensor | None = None
    ) -> Tensor:
        """Loss of each pair."""
        difference = chosen - rejected
        distance = 0.0 if margin is None else margin
        won = -logsigmoid(difference - distance)
        if label is None and self.label_smoothing == 0.0:
            return won
        lost = -logsigmoid(-difference - distance)
        probability = 1.0 if label is None else label
        smoothed = probability * (1.0 - self.label_smoothing) + (1.0 - probability) * self.label_smoothing
        return smoothed * won + (1.0 - smoothed) * lost
