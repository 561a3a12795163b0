"""``prefopt weight-data``: weigh the rows of a file by what a policy's own samples say, for ``sample_weights``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefopt.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")


@dataclass
class WeightDataArguments:
    """What is weighed, and by what."""

    recipe: str = field(
        metadata={
            "help": "ds_weight: answers whose loss under a model is far from that of validation answers are dropped; "
            "east: questions count by how much their sampled answers differ"
        }
    )
    data: str = field(
        metadata={
            "help": "rows of prompt with completion, completions, or chosen and rejected: .jsonl, .json, .parquet "
            "(also .gz)"
        }
    )
    output: str = field(metadata={"help": "where the rows go with their sample_weight: .jsonl, .jsonl.gz or .parquet"})
    recipe_settings: dict[str, Any] | None = field(
        default=None, metadata={"help": "the recipe's settings: {mode: soft, share: 0.8}, {exponent: 2}"}
    )
    samples: str | None = field(
        default=None, metadata={"help": "the answers that were drawn for each prompt, a file of such rows; unset: data"}
    )
    right_answers: str | None = field(
        default=None,
        metadata={"help": "east: column with the right answer; questions never or always answered right then weigh 0"},
    )
    model: str | None = field(default=None, metadata={"help": "ds_weight: the model before it is trained on the data"})
    validation: str | None = field(
        default=None, metadata={"help": "ds_weight: such rows with answers that are known to be good"}
    )
    consistency: bool = field(
        default=True,
        metadata={"help": "ds_weight: an answer other than the most frequent one to its prompt weighs 0"},
    )
    batch_size: int = field(default=8, metadata={"help": "answers in one forward pass"})
    max_length: int | None = field(default=None, metadata={"help": "longest prompt with answer, in tokens"})
    dtype: str = field(default="float32", metadata={"help": "of the model: float32, bfloat16 or auto"})


def run(argv: list[str]) -> int:
    """Weigh, write the whole file or none of it, and say how the weights lie."""
    from prefopt.cli.arguments import parse

    (arguments,) = parse(argv, "weight-data", WeightDataArguments)
    if not arguments.output.endswith(ENDINGS):
        raise UserError(f"output {arguments.output} must end in {', '.join(ENDINGS)}")
    weigh = _recipe(arguments)
    from prefopt.offline.data_weight import DistributionShift
    from prefopt.trainers.data_weights import sampled_rows, unweighed_rows, weights_by_shift, weights_by_spread
    from reward_models.scoring.output import write_rows

    rows = unweighed_rows(arguments.data)
    samples = rows if arguments.samples is None else sampled_rows(arguments.samples)
    if isinstance(weigh, DistributionShift):
        assert arguments.model is not None
        assert arguments.validation is not None
        validation = sampled_rows(arguments.validation)
        weights, losses, standard = weights_by_shift(
            weigh, rows, samples if arguments.consistency else None, validation, arguments.model,
            max_length=arguments.max_length, batch_size=arguments.batch_size, dtype=arguments.dtype,
        )  # fmt: skip
        print(
            f"mean loss a token: {losses.mean():.4f} of the data, {standard:.4f} of {len(validation)} validation rows"
        )
    else:
        weights = weights_by_spread(weigh, rows, samples, arguments.right_answers)
    if not weights.any():
        raise UserError(f"every row of {arguments.data} weighs 0: nothing would be learned from it; nothing is written")
    output = Path(arguments.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    weighed = [{**row.row, "sample_weight": weight} for row, weight in zip(rows, weights.tolist(), strict=True)]
    write_rows(output, lambda: iter([weighed]))
    _print_result(arguments, weights)
    return 0


def _recipe(arguments: WeightDataArguments) -> Any:
    """Return the method, once it is certain that it has what it reads and nothing else is given."""
    from prefopt import recipes
    from prefopt.offline.data_weight import AnswerSpread, DistributionShift

    try:
        weigh = recipes.build(arguments.recipe, **(arguments.recipe_settings or {}))
    except (TypeError, ValueError) as error:
        raise UserError(f"recipe {arguments.recipe}: {error}") from error
    if not isinstance(weigh, (AnswerSpread, DistributionShift)):
        kind = recipes.info(arguments.recipe).kind
        raise UserError(f"recipe '{arguments.recipe}' is of kind {kind} and weighs no data; ds_weight and east do")
    shift = isinstance(weigh, DistributionShift)
    for name in ("model", "validation"):
        if shift and getattr(arguments, name) is None:
            raise UserError(f"{arguments.recipe} compares losses: give --{name}")
        if not shift and getattr(arguments, name) is not None:
            raise UserError(f"--{name} has no effect here: {arguments.recipe} reads answers only")
    if shift and arguments.right_answers is not None:
        raise UserError(f"--right-answers has no effect here: {arguments.recipe} reads losses")
    return weigh


def _print_result(arguments: WeightDataArguments, weights: Tensor) -> None:
    zeros = int((weights == 0).sum())
    print(
        f"{arguments.recipe}: {len(weights)} rows in {arguments.output}, {zeros} of weight 0; mean weight "
        f"{weights.mean():.4f}, largest {weights.max():.4f}"
    )
    print(f"train on them with `prefopt align-offline --data {arguments.output} --sample-weights true ...`")


__all__ = ["WeightDataArguments", "run"]
