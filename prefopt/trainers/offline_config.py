"""Settings of an offline alignment run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from transformers import TrainingArguments

from prefopt import recipes
from prefopt.errors import UserError, nearest
from prefopt.offline import OfflineMethod
from prefopt.offline.reference import Folder
from prefopt.trainers.checkpointing.settings import CheckpointArguments
from prefopt.trainers.guards.settings import GuardArguments
from prefopt.trainers.optimiser import OptimiserArguments
from prefopt.trainers.pairs.statistics import needed_statistics
from prefopt.trainers.reference_settings import check_reference
from prefopt.trainers.sample_weights import with_sample_weights
from prefopt.trainers.token_budget import BUDGET_HELP, check_token_budget
from reward_models.attention_choice import ATTENTION_HELP, check_attention

OverLength = Literal["truncate_prompt", "truncate_response", "refuse"]
OnBadRow = Literal["raise", "quarantine"]
PrefixSharing = Literal["auto", "never"]
Order = Literal["group_by_length", "random", "sequential"]


@dataclass
class OfflineConfig(CheckpointArguments, OptimiserArguments, GuardArguments, TrainingArguments):
    """transformers' TrainingArguments, and what preference optimisation adds."""

    recipe: str | dict[str, Any] | list[Any] = field(
        default="dpo",
        metadata={
            "help": "method by name (`prefopt methods` lists them), or {recipe: dpo, beta: 0.05, pair_weight: wpo}; "
            "or a list of these, each with a weight, whose losses are added up"
        },
    )
    recipe_settings: dict[str, Any] | None = field(
        default=None,
        metadata={"help": "the recipe's settings and slots, apart from its name: {beta: 0.05, pair_weight: wpo}"},
    )
    max_length: int | None = field(
        default=None, metadata={"help": "longest prompt + response in tokens; unset: the model's limit, at most 2048"}
    )
    over_length: OverLength = field(
        default="truncate_prompt",
        metadata={
            "help": "a pair longer than max_length: truncate_prompt (on its left, the same for both answers), "
            "truncate_response (on its right, without end token) or refuse (a bad row)"
        },
    )
    on_bad_row: OnBadRow = field(
        default="raise", metadata={"help": "a bad row stops the run (raise) or goes to a file with its reason"}
    )
    reference_model: str | None = field(
        default=None, metadata={"help": "folder of the reference; unset: a copy of the weights in memory at the start"}
    )
    precompute_reference: bool = field(
        default=False,
        metadata={"help": "compute the reference's log-probabilities once before training, and free its memory"},
    )
    reference_cache_dir: str | None = field(
        default=None,
        metadata={"help": "where they are kept, by content of weights and tokens; unset: output_dir/reference_cache"},
    )
    first_stage: dict[str, Any] | None = field(
        default=None,
        metadata={
            "help": "a recipe of two runs (pre_dpo): what the first one trains with in its own way, {learning_rate: "
            "6e-7, num_train_epochs: 1}; it goes to output_dir/guide"
        },
    )
    sample_weights: bool = field(
        default=False,
        metadata={"help": "rows count by their column sample_weight (`prefopt weight-data` writes one)"},
    )
    prefix_sharing: PrefixSharing = field(
        default="auto",
        metadata={
            "help": "auto: answers to one prompt share its tokens wherever the model allows it, with the same result; "
            "never: one row an answer"
        },
    )
    token_budget: int | None = field(default=None, metadata={"help": BUDGET_HELP})
    train_sampling_strategy: str = field(
        default="group_by_length",
        metadata={"help": "group_by_length: shuffled batches of similar lengths; random; or sequential"},
    )
    attention: str = field(default="auto", metadata={"help": ATTENTION_HELP})
    disable_dropout: bool = field(default=True, metadata={"help": "train without dropout"})

    learning_rate: float = field(
        default=5e-7, metadata={"help": "peak learning rate; about 10 times as much with LoRA"}
    )
    warmup_steps: float = field(default=0.1, metadata={"help": "warm-up, in steps or as a share of all steps"})
    num_train_epochs: float = field(default=1.0, metadata={"help": "passes over the pairs"})
    logging_steps: float = field(default=10, metadata={"help": "steps between two log lines"})
    report_to: str | list[str] | None = field(default="none", metadata={"help": "where to log: none, wandb, ..."})

    def __post_init__(self) -> None:
        for name, valid in (
            ("over_length", OverLength),
            ("on_bad_row", OnBadRow),
            ("prefix_sharing", PrefixSharing),
            ("train_sampling_strategy", Order),
        ):
            value = getattr(self, name)
            if value not in get_args(valid):
                raise UserError(f"{name} must be one of {', '.join(get_args(valid))}, not '{value}'."
                                f"{nearest(str(value), get_args(valid))}")  # fmt: skip
        check_attention(self.attention)
        if self.max_length is not None and self.max_length < 2:
            raise UserError(f"max_length must be at least 2 tokens, got {self.max_length}")
        check_token_budget(self.token_budget)
        if self.label_smoothing_factor:
            raise UserError(
                "label_smoothing_factor smooths labels of tokens, and preferences have none; theirs is the "
                f"recipe's: recipe_settings {{label_smoothing: {self.label_smoothing_factor}}}"
            )
        # The collator needs every column; the model's forward names only two of them.
        self.remove_unused_columns = False
        super().__post_init__()
        # Losses of pairs are summed over the whole batch: one process drives one device.
        if self.n_gpu > 1:
            self._n_gpu = 1


def offline_objective(config: OfflineConfig) -> OfflineMethod:
    """Return the objective that the settings name.

    Raises:
        UserError: unknown recipe or setting, parts that cannot stand together, a recipe of another kind, or settings
            of a reference that the recipe doesn't use.
    """
    try:
        objective = _mixture(config, config.recipe) if isinstance(config.recipe, list) else _single(config)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"recipe {_name(config.recipe)}: {error}") from error
    if not isinstance(objective, OfflineMethod):
        kind = recipes.info(_name(config.recipe)).kind
        raise UserError(
            f"recipe '{_name(config.recipe)}' is of kind {kind}, not offline; the offline ones are "
            f"{', '.join(recipes.names('offline'))}"
        )
    if config.sample_weights:
        objective = with_sample_weights(objective)
    check_reference(config, objective.compares_with, "ref_logps" in objective.needs)
    needed_statistics(objective)
    return objective


def _name(recipe: Any) -> str:
    return str(recipe["recipe"]) if isinstance(recipe, dict) and "recipe" in recipe else str(recipe)


def _single(config: OfflineConfig) -> Any:
    given: dict[str, Any] = {"recipe": config.recipe} if isinstance(config.recipe, str) else dict(config.recipe)
    if "recipe" not in given:
        raise UserError(f"recipe: {given} names no recipe; write recipe: {{recipe: NAME, ...settings}}")
    name, settings = given.pop("recipe"), {**given, **(config.recipe_settings or {})}
    if config.reference_model is not None:
        settings["reference"] = Folder(config.reference_model)
    return recipes.build(name, **settings)


def _mixture(config: OfflineConfig, terms: list[Any]) -> OfflineMethod:
    if config.recipe_settings:
        raise UserError(
            "recipe_settings goes with one recipe; in a list, each recipe takes its settings beside its name"
        )
    mixture = recipes.mix(terms)
    if config.reference_model is None:
        return mixture
    folder = Folder(config.reference_model)
    found = [replace(one, reference=folder) if "ref_logps" in one.needs else one for one in mixture.objectives]
    return replace(mixture, objectives=tuple(found))
