"""One line of what was tried and what held."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """How often something was broken, and how often nothing came of it.

    Attributes:
        name: what was tried, such as "processes killed while a checkpoint was written".
        tried: times, or things such as requests.
        held: how many of them ended as promised: survived, detected, equal bit for bit, answered.
        lost: rows, requests, steps or checkpoints that were lost, doubled or wrong. The promise is 0.
        note: what a reader needs beside the numbers; one sentence, or nothing.
    """

    name: str
    tried: int
    held: int
    lost: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.held <= self.tried or self.lost < 0:
            raise ValueError(f"{self.name}: {self.held} of {self.tried} held and {self.lost} were lost")

    @property
    def kept(self) -> bool:
        """Whether the promise was kept every time."""
        return self.held == self.tried and self.lost == 0
