"""The optimiser that a run's settings name."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from prefopt import recipes
from prefopt.errors import UserError
from prefopt.optimisers import OptimiserChoice

REPLACED = ("optim", "optim_args", "adam_beta1", "adam_beta2", "adam_epsilon")


@dataclass
class OptimiserArguments:
    """Put before transformers' TrainingArguments: an optimiser by the name of a recipe."""

    optimiser: str | dict[str, Any] | None = field(
        default=None,
        metadata={
            "help": "recipe of kind optimiser, or {recipe: NAME, setting: value}: mgup, lift; unset: as `optim` says"
        },
    )

    def __post_init__(self) -> None:
        self.optimiser_choice()
        super().__post_init__()  # type: ignore[misc]

    def optimiser_choice(self) -> OptimiserChoice | None:
        """Return the optimiser that is named, or None.

        Raises:
            UserError: an unknown recipe or setting, a recipe of another kind, or settings of another optimiser beside.
        """
        if self.optimiser is None:
            return None
        given = {"recipe": self.optimiser} if isinstance(self.optimiser, str) else dict(self.optimiser)
        if "recipe" not in given:
            raise UserError(f"optimiser: {given} names no recipe; write optimiser: {{recipe: NAME, ...settings}}")
        name = given.pop("recipe")
        try:
            choice = recipes.build(name, **given)
        except (TypeError, ValueError) as error:
            raise UserError(f"optimiser {name}: {error}") from error
        if not isinstance(choice, OptimiserChoice):
            kind, known = recipes.info(name).kind, ", ".join(recipes.names("optimiser"))
            raise UserError(f"optimiser: recipe '{name}' is of kind {kind}, not optimiser; those are {known}")
        defaults = {one.name: one.default for one in fields(self)}
        for idle in REPLACED:
            if getattr(self, idle) != defaults[idle]:
                raise UserError(f"{idle} has no effect beside optimiser: {name}; give its settings to the recipe")
        return choice


def use_optimiser(trainer: Any) -> None:
    """Give a `transformers.Trainer` the optimiser of its settings; it builds it once its model is in place.

    Raises:
        UserError: an optimiser object was passed as well.
    """
    choice = trainer.args.optimiser_choice()
    if choice is None:
        return
    if trainer.optimizer is not None:
        raise UserError("an optimiser was passed to the trainer and another stands in `optimiser`; keep one")
    rates = {"lr": trainer.args.learning_rate, "weight_decay": trainer.args.weight_decay}
    trainer.optimizer_cls_and_kwargs = (lambda: choice, rates)
