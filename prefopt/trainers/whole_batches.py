"""What parts of an offline objective are told of a whole optimiser batch, and their state between batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import TrainerCallback

from prefopt.composition import State
from prefopt.offline.method import OfflineMethod
from prefopt.offline.whole_batch import PreparedPairs
from prefopt.trainers.guards.finite_state import updated
from prefopt.trainers.progress import check_state
from prefopt.trainers.token_budget import parts_of

Batch = dict[str, Any]
CARRIED, ROW, REAL = "carried", "row", "weight"
STATE_FILE, ABOUT_FILE = "objective_state.safetensors", "objective_state.json"


class WholeBatches:
    """Puts what an objective observes together, over micro-batches, passes and processes.

    Where its scope is ``batch``, `survey_step` runs before the first micro-batch of an optimiser step and leaves in
    each micro-batch what its rows are told. Otherwise rows are observed as they are trained on. `advance` moves the
    state once an optimiser step.

    Args:
        objective: see `OfflineMethod`.
        accelerator: the trainer's.
    """

    def __init__(self, objective: OfflineMethod, accelerator: Any) -> None:
        self.objective, self.accelerator = objective, accelerator
        self.state: State = objective.init_state()
        self._prepared = PreparedPairs(state=self.state)
        self._seen: list[State] = []

    def survey(self, batches: Iterable[Batch], observe: Callable[[Batch], State], learning: bool = True) -> list[State]:
        """Run ``observe`` over all parts of the batches; return for each part what ``prepare`` says of its rows.

        A row counts once, whichever batches it stands in, and rows that only fill a batch up don't count: what those
        are told means nothing.
        """
        parts = [part for batch in batches for part in parts_of(batch)]
        everyone = self._together([_rows(part, observe(part)) for part in parts])
        place: dict[int, int] = {}
        first: list[int] = []
        for i, (row, real) in enumerate(zip(everyone.pop(ROW).tolist(), everyone.pop(REAL).tolist(), strict=True)):
            if real and row not in place:
                place[row] = len(first)
                first.append(i)
        counted = {name: value[first] for name, value in everyone.items()}
        self._prepared = self.objective.prepare(counted, self.state, learning)
        places = [[place.get(row, 0) for row in part[ROW].tolist()] for part in parts]
        return [{name: value[rows] for name, value in self._prepared.carried.items()} for rows in places]

    def survey_step(self, batches: Iterable[Batch], observe: Callable[[Batch], State]) -> None:
        """Survey the batches of an optimiser step, and put into each part what its rows are told."""
        batches = list(batches)
        parts = [part for batch in batches for part in parts_of(batch)]
        for part, carried in zip(parts, self.survey(batches, observe), strict=True):
            part[CARRIED] = carried

    def watch(self, part: Batch, observed: State) -> None:
        """Remember the rows of a part that is being trained on."""
        self._seen.append(_rows(part, observed))

    def prepared(self, part: Mapping[str, Any]) -> PreparedPairs:
        """Return what the rows of a part are told."""
        return PreparedPairs(part.get(CARRIED, {}), self._prepared.state)

    def resting(self) -> None:
        """Let the state be read as it stands, without a batch of its own."""
        self._prepared = PreparedPairs(state=self.state)

    def advance(self, taken: bool) -> None:
        """Move the state by the batch of this optimiser step, where the step was taken, on all processes."""
        if not taken:
            self._seen = []
            self.resting()
            return
        if self.objective.scope == "row":
            everyone = self._together(self._seen)
            real = everyone.pop(REAL) > 0
            del everyone[ROW]
            self._prepared = self.objective.prepare({k: v[real] for k, v in everyone.items()}, self.state)
        self.state = updated(self.objective, self.state, self._prepared.statistics)
        self._seen = []
        self.resting()

    def _together(self, mine: list[State]) -> State:
        """Return the rows of all processes, a name each."""
        own = {name: torch.cat([one[name] for one in mine]) for name in mine[0]}
        if self.accelerator.num_processes == 1:
            return own
        everyone: list[State] = gather_object([own])
        return {name: torch.cat([one[name] for one in everyone]) for name in own}

    def save(self, folder: Path) -> None:
        """Write the state into a checkpoint; an objective without one leaves no file."""
        if self.state:
            folder.mkdir(parents=True, exist_ok=True)
            save_file({name: value.contiguous() for name, value in on_cpu(self.state).items()}, folder / STATE_FILE)
            about = {"recipe": self.objective.recipe, "names": sorted(self.state)}
            (folder / ABOUT_FILE).write_text(json.dumps(about), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read the state of a checkpoint.

        Raises:
            UserError: it belongs to another objective, or one of the two has no state.
        """
        file = folder / STATE_FILE
        found = load_file(file) if file.is_file() else {}
        about = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8")) if found else {"recipe": "another"}
        check_state(found, self.objective.init_state(), folder, about["recipe"])
        self.state = found
        self.resting()


class AdvanceState(TrainerCallback):
    """Advances the objective's state once an optimiser step."""

    def __init__(self, advance: Callable[[], None]) -> None:
        self.advance = advance

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The optimiser has stepped, or was told to skip."""
        self.advance()


def _rows(part: Batch, observed: State) -> State:
    """Return what is known of the rows of a part, beside their numbers and whether they count."""
    return on_cpu({ROW: part[ROW], REAL: part[REAL], **observed})


def on_cpu(values: Mapping[str, Tensor]) -> State:
    """Return detached copies in memory of the host."""
    return {name: value.detach().cpu() for name, value in values.items()}
