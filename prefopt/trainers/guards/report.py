"""What is said and written of a step that is not taken: its rows, and the batch that it was made of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from prefopt.trainers.guards import gradients as guard_gradients
from prefopt.trainers.guards.skipped_steps import dump

logger = logging.getLogger(__name__)
SHOWN = 16
UNKNOWN = "(rows unknown)"


@dataclass
class MicroBatch:
    """What was seen of one: its loss, and the batches of its passes, each with a bool a row: its numbers are finite."""

    loss: Tensor | None = None
    parts: list[tuple[Any, Tensor | None]] = field(default_factory=list)

    def lost(self) -> bool:
        """Whether its loss is not finite."""
        return self.loss is not None and not bool(torch.isfinite(self.loss).all())


@dataclass(frozen=True)
class Report:
    """Who is to blame for a step that is not taken, as far as that is known.

    Attributes:
        rows_of: names the rows of a micro-batch. text_of: says what they hold.
        folder: of the run; None writes nothing.
    """

    rows_of: Callable[[Any], Sequence[Any]]
    text_of: Callable[[Any], Sequence[dict[str, Any]]]
    folder: Path | None

    def __call__(
        self, accelerator: Any, step: int, micro: Sequence[MicroBatch], model: nn.Module, norm: Tensor
    ) -> tuple[list[Any], str]:
        """Log the rows of all ranks and write the batch down; return the rows, and where they are written, or "".

        Where only gradients are not finite, every row of the step may be the reason.
        """
        guilty = [(one, names) for one in micro if (names := self._bad_rows(one))]
        own, everyone = [name for _, names in guilty for name in names], [n for one in micro for n in self._all(one)]
        found = [(own, everyone)]
        if accelerator.num_processes > 1:
            found = gather_object(found)
        blamed = [name for mine, _ in found for name in mine]
        rows = list(dict.fromkeys(blamed or [name for _, seen in found for name in seen]))
        pages = [""]
        if own or not blamed:
            batches = [one for one, _ in guilty] or list(micro)
            pages = [self._write(accelerator, step, micro, batches, set(own), model, norm)]
        if accelerator.num_processes > 1:
            pages = gather_object(pages)
        page = next((one for one in pages if one), "")
        logger.warning(
            "step %d skipped: loss or gradient is not finite; rows: %s%s",
            step, some(rows), f"; its batch is in {page}" if page else "",
        )  # fmt: skip
        return rows, page

    def _bad_rows(self, micro: MicroBatch) -> list[Any]:
        """Return the rows that are not finite; all of a micro-batch of which only the loss is not."""
        found = []
        for batch, sound in micro.parts:
            if sound is not None and not bool(sound.all()):
                fine = sound.tolist()
                found += [name for name, good in zip(self._names(batch, len(fine)), fine, strict=True) if not good]
        return found or ((self._all(micro) or [UNKNOWN]) if micro.lost() else [])

    def _all(self, micro: MicroBatch) -> list[Any]:
        return [name for batch, _ in micro.parts for name in self.rows_of(batch)]

    def _names(self, batch: Any, count: int) -> list[Any]:
        names = list(self.rows_of(batch))
        return names if len(names) == count else [f"row {i} of a micro-batch" for i in range(1, count + 1)]

    def _write(
        self, accelerator: Any, step: int, micro: Sequence[MicroBatch], chosen: Sequence[MicroBatch],
        bad: set[Any], model: nn.Module, norm: Tensor,
    ) -> str:  # fmt: skip
        if self.folder is None:
            return ""
        try:
            return self._dumped(self.folder, accelerator, step, micro, chosen, bad, model, norm)
        except Exception as error:
            # Whatever it is: training goes on without the page, and other processes wait for this one now.
            logger.warning("the batch of step %d could not be written: %s: %s", step, type(error).__name__, error)
            return ""

    def _dumped(
        self, folder: Path, accelerator: Any, step: int, micro: Sequence[MicroBatch], chosen: Sequence[MicroBatch],
        bad: set[Any], model: nn.Module, norm: Tensor,
    ) -> str:  # fmt: skip
        spoilt, first = guard_gradients.not_finite(model)
        rows, batches = [], [batch for one in chosen for batch, _ in one.parts]
        for number, batch in enumerate(batches):
            names = list(self.rows_of(batch))
            texts = [*self.text_of(batch), *({} for _ in names)]
            rows += [
                {"batch": number, "row": name, "finite": name not in bad, **text}
                for name, text in zip(names, texts, strict=False)
            ]
        about = {
            "losses": [None if one.loss is None else one.loss.float().sum().item() for one in micro],
            "gradient_norm": norm.item(),
            "gradients_not_finite": spoilt,
            "first_gradients": first,
            "rows": rows,
        }
        return dump(folder, step, accelerator.process_index, accelerator.num_processes, about, batches)


def some(names: Sequence[Any]) -> str:
    """Return the first few names, for a message."""
    return ", ".join(map(str, names[:SHOWN])) + (" ..." if len(names) > SHOWN else "")
