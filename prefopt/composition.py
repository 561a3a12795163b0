"""What every objective shares: slots that hold parts, declared needs, state as a value, citations."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from torch import Tensor

from prefopt.papers import cite

State = dict[str, Tensor]


class Part:
    """A frozen dataclass with ``__call__`` that fills a slot. It is an interface or a leaf, never overridden.

    Attributes:
        needs: names of ``prefopt.batch.NEEDS`` that it reads.
        arxiv: id of the paper that it comes from, in ``prefopt.papers``; empty where there is none.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    arxiv: ClassVar[str] = ""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the part's step."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__")


class StatefulPart(Part):
    """A part whose result depends on earlier batches. Its state is a value: passed in, never kept inside."""

    def init_state(self) -> State:
        """Return the state before the first batch."""
        raise NotImplementedError

    def statistics(self, *args: Any, **kwargs: Any) -> State:
        """Return what ``update`` needs, from the arguments that ``__call__`` gets, ``state`` among them."""
        raise NotImplementedError

    def update(self, state: State, statistics: Mapping[str, Tensor]) -> State:
        """Return the state after an optimiser step."""
        raise NotImplementedError

    def evaluate(self, *args: Any, **kwargs: Any) -> tuple[Any, State]:
        """Return ``__call__``'s result and the statistics; a part whose two share much work computes both here."""
        return self(*args, **kwargs), self.statistics(*args, **kwargs)


class IncompatibleParts(TypeError):
    """Two parts that cannot stand in one objective; the message says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
    """Base of the objectives: a frozen dataclass whose fields are slots, and two labels.

    Attributes:
        recipe: name of the recipe that composed it; empty for a composition by hand.
        arxiv: id of that recipe's paper.
        companions: slot -> slots that come with it when it is taken from another recipe by name, because together they
            are what that recipe calls by the slot's name.
    """

    recipe: str = ""
    arxiv: str = ""
    companions: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @classmethod
    def slot_names(cls) -> tuple[str, ...]:
        """Return the names of the slots, in the order of computation."""
        fields = dataclasses.fields(cls)
        return tuple(field.name for field in fields if field.name not in ("recipe", "arxiv"))

    def parts(self) -> Iterator[tuple[str, Part]]:
        """Yield ``(slot, part)``; parts of a slot that holds several are called ``slot.0``, ``slot.1``, ..."""
        for slot in self.slot_names():
            filling = getattr(self, slot)
            if isinstance(filling, tuple):
                yield from ((f"{slot}.{i}", part) for i, part in enumerate(filling))
            elif filling is not None:
                yield slot, filling

    @property
    def needs(self) -> frozenset[str]:
        """Union of what the parts declare: what a trainer has to supply, and nothing else."""
        return frozenset().union(*(part.needs for _, part in self.parts()))

    def init_state(self) -> State:
        """Return the state of all stateful parts before the first batch, keyed ``slot/name``."""
        return {
            f"{slot}/{name}": value
            for slot, part in self.parts()
            if isinstance(part, StatefulPart)
            for name, value in part.init_state().items()
        }

    def update(self, state: State, statistics: Mapping[str, Mapping[str, Tensor]]) -> State:
        """Return the state after an optimiser step; ``statistics`` are those of ``prepare``, keyed by slot."""
        new = dict(state)
        for slot, part in self.parts():
            if isinstance(part, StatefulPart) and slot in statistics:
                advanced = part.update(state_of(slot, state), statistics[slot])
                new |= {f"{slot}/{name}": value for name, value in advanced.items()}
        return new

    def cite(self) -> str:
        """Return BibTeX for the recipe and for every part that comes from a paper, each once."""
        return cite([arxiv for arxiv in (self.arxiv, *(part.arxiv for _, part in self.parts())) if arxiv])


def state_of(slot: str, state: Mapping[str, Tensor]) -> State:
    """Return the entries of ``state`` that belong to ``slot``, without their prefix."""
    prefix = f"{slot}/"
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
