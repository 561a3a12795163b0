"""A reward source: a callable that scores completions, and how its scores are used.

The callable is TRL's: ``f(prompts=..., completions=..., **columns)`` gives a list with a score a completion, in their
order. It may be a coroutine, or yield the scores one after the other, which keeps those that it had given when its time
is over. Instead of a score it may give:

- ``None``: no score, for a reason that it keeps to itself;
- ``Ungradable("no such answer")``: nothing to judge by; None at once;
- ``InfrastructureError("server is away")``: asked again, then None.

Both are in `reward_models.failures` and may also be raised, for the whole call; broken connections and timeouts of the
usual HTTP clients count as the latter. Every other exception is a bug of the source and ends the run with the example.
A method ``with_failures`` with the same parameters is preferred to the call: so a callable whose call is to give plain
None for others can tell the reasons here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from prefopt.errors import UserError
from reward_models.patience import Patience
from reward_models.transforms import Identity, Transform

SUPPLIED = frozenset(
    {"prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric", "environments"}
)
RESERVED = frozenset({"prompt", "completion", "completion_ids"})
ROLES = ("reward", "judge", "cost")
"""What scores say: how good, whether it passes (above 0), how much harm (above 0)."""


@dataclass(frozen=True)
class RewardSource:
    """A callable that scores completions, and how its scores are used.

    Attributes:
        call: ``f(prompts=..., completions=..., **columns)``; None until `load` for a model's folder.
        names: one a reward column.
        weight: of every column, or one a column. transform: of every column, before the weight.
        columns: parameter of ``call`` -> column of the data, where the names differ.
        may_abstain: None is a legitimate answer (a source for some prompts only), and no failure.
        role: one of ``ROLES``, for a weighting that treats judges or costs apart.
        folder, settings: of a reward model that is loaded later. address: of a server that is asked later.
        patience: deadlines, retries and rows a call; None = what the callable brings as its ``patience``, else the
            defaults of `reward_models.patience.Patience`.
    """

    call: Callable[..., Any] | None
    names: tuple[str, ...]
    weight: float | tuple[float, ...] = 1.0
    transform: Transform = field(default_factory=Identity)
    columns: Mapping[str, str] = field(default_factory=dict)
    may_abstain: bool = False
    role: str = "reward"
    folder: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    address: str = ""
    patience: Patience | None = None

    @property
    def manner(self) -> Patience:
        """How patiently it is asked."""
        own = getattr(self.call, "patience", None)
        return self.patience or (own if isinstance(own, Patience) else Patience())

    @property
    def label(self) -> str:
        """The name by which messages call it."""
        return "+".join(self.names)

    @property
    def weights(self) -> tuple[float, ...]:
        """One weight a column."""
        return self.weight if isinstance(self.weight, tuple) else (self.weight,) * len(self.names)

    def required_columns(self) -> dict[str, str]:
        """Columns of the data without which ``call`` fails, by the parameter that wants them."""
        # A verifier that asks another one reads what that one reads, which its own parameters do not show.
        wanted = [] if self.call is None else [*parameters_of(self.call)[0], *getattr(self.call, "reads", ())]
        if self.call is None and self.folder:
            from reward_models.reference import columns_of

            wanted = list(columns_of(self.folder))
        missing = {name: self.columns.get(name, name) for name in wanted if name not in SUPPLIED}
        return missing | {name: column for name, column in self.columns.items() if name not in SUPPLIED}

    def arguments(self, columns: Mapping[str, list[Any]], context: Mapping[str, Any]) -> dict[str, Any]:
        """What ``call`` takes: everything where it has ``**kwargs``, else the parameters that it names."""
        assert self.call is not None
        own = {name: values for name, values in columns.items() if name not in RESERVED}
        given = {**own, **context, **{name: columns[column] for name, column in self.columns.items()}}
        required, optional, takes_all = parameters_of(self.call)
        return given if takes_all else {name: given[name] for name in (*required, *optional) if name in given}

    def load(self, device: Any) -> RewardSource:
        """Return the source ready to be called: a folder's model is put on ``device``, a server asked for its heads."""
        if self.call is not None:
            return self._checked()
        call: Any
        if self.address:
            from reward_models.remote import score_over_http

            call = score_over_http(self.address, **self.settings)
        else:
            from reward_models.model import RewardModel
            from reward_models.source import ModelReward

            call = ModelReward(RewardModel.from_pretrained(self.folder), device=str(device), **self.settings)
        base = self.names[0]
        names = (base,) if len(call.names) == 1 else tuple(f"{base}/{head}" for head in call.names)
        return replace(self, call=call, names=names)._checked()

    def _checked(self) -> RewardSource:
        if len(self.weights) != len(self.names):
            raise UserError(
                f"reward source '{self.label}' has {len(self.weights)} weights for {len(self.names)} columns "
                f"({', '.join(self.names)}); give one number, or one a column"
            )
        return self


def parameters_of(call: Callable[..., Any]) -> tuple[list[str], list[str], bool]:
    """Return the required and optional keyword parameters of ``call``, and whether it takes any."""
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):
        return [], [], True
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    required = [p.name for p in named if p.default is p.empty]
    optional = [p.name for p in named if p.default is not p.empty]
    return required, optional, any(p.kind is p.VAR_KEYWORD for p in parameters)
