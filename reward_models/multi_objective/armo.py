"""ArmoRM from data to a model: heads by ridge regression on frozen states, then a gate trained on pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from reward_models.errors import DataError
from reward_models.evaluation.proportion import Proportion
from reward_models.heads import RewardHead
from reward_models.multi_objective.attributes import STRENGTHS, Attributes, fit_attributes
from reward_models.multi_objective.debias import Debias, decorrelate
from reward_models.multi_objective.embedding import embed
from reward_models.multi_objective.gate import GateSettings, gated_scores, train_gate
from reward_models.multi_objective.mixture import Mixture
from reward_models.procedure import Procedure

if TYPE_CHECKING:
    from datasets import Dataset

    from reward_models.model import RewardModel


@dataclass(frozen=True)
class ArmoRM(Procedure):
    """Interpretable preferences by many attributes and a gate.

    1. Heads: for each attribute ``r_k = w_k^T z``, ridge regression on states ``z`` of a frozen model's answers.
    2. Debiasing: ``r'_j = r_j - penalty_j r_v``, so that no attribute rises with verbosity ``v``.
    3. Gate: ``score = sum_k g_k(p) r'_k``, ``g = s softmax(MLP(p) / T)``, trained by ``-log sigma`` on pairs.

    ``p`` is the state of the prompt's last token in a decoder (the paper takes the first token of the header that ends
    the prompt; both come before the answer), and the pooled state of the prompt alone in an encoder. Scores come with
    the attributes, and with their coefficients (`RewardModel.explain`).

    Attributes:
        attributes: columns of the ratings; empty = all numbers that the data hold.
        verbosity: the attribute that others are made independent of; None = no debiasing.
        threshold: largest rank correlation with verbosity that is left.
        strengths: of ridge regression, tried. intercept: of ridge regression, see `fit_attributes`; the authors' code
            has none. gate: network and optimiser. held_out: share of the pairs that judge.
        seed: of both splits.

    Reference: arXiv 2406.12845.
    """

    attributes: tuple[str, ...] = ()
    verbosity: str | None = None
    threshold: float = 0.03
    strengths: tuple[float, ...] = STRENGTHS
    gate: GateSettings = field(default_factory=GateSettings)
    held_out: float = 0.2
    seed: int = 0
    intercept: bool = False
    options: ClassVar[frozenset[str]] = frozenset({"ratings", "rating_scale"})
    required: ClassVar[frozenset[str]] = frozenset({"ratings"})

    def __call__(
        self,
        model: RewardModel,
        ratings: Dataset,
        pairs: Dataset,
        cache: str | Path,
        batch_size: int = 16,
        judges: Dataset | None = None,
    ) -> ArmoFit:
        """Fit both stages; the model's heads are replaced by the attributes', and its mixture is set.

        Args:
            model: a backbone with any heads; its weights stay as they are.
            ratings: rows of prompt, completion and one column an attribute, in [0, 1], None = not rated.
            pairs: rows of prompt, chosen, rejected.
            cache: folder for the states. batch_size: rows in one forward pass.
            judges: pairs for the held-out accuracies; the gate then learns from all of ``pairs``. None = a share of
                them, drawn row by row: give pairs of other prompts where a prompt has several.

        Raises:
            DataError: a column that is absent, too few ratings, no pairs.
        """
        names = self.attributes or numeric_columns(ratings)
        check_attributes(ratings, names, self.verbosity)
        heads = self._heads(model, ratings, names, Path(cache) / "ratings", batch_size)
        seen = _PairStates.of(model, pairs, heads.weights, Path(cache) / "pairs", batch_size)
        debias = self._debias(torch.cat([seen.chosen, seen.rejected]), names)
        if judges is None:
            order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(self.seed))
            count = round(self.held_out * len(pairs))
            judged, trained = seen.at(order[:count]), seen.at(order[count:])
        else:
            judged, trained = _PairStates.of(model, judges, heads.weights, Path(cache) / "judges", batch_size), seen
        gate = train_gate(trained.prompts, debias(trained.chosen), debias(trained.rejected), self.gate, names)
        model.set_heads(RewardHead.of(heads.weights, names), Mixture.of(gate, debias))
        margins = debias(judged.chosen) - debias(judged.rejected)
        with torch.no_grad():
            gated = gated_scores(gate, judged.prompts.float(), margins.float())
        raw = judged.chosen - judged.rejected
        single = {
            # Debiased, verbosity is zero everywhere: alone it stands as it is.
            name: _right((raw if name == self.verbosity else margins)[:, place])
            for place, name in enumerate(names)
        }
        return ArmoFit(heads, debias, names, _right(gated), single, _right(margins.mean(-1)))

    def _heads(
        self, model: RewardModel, ratings: Dataset, names: Sequence[str], cache: Path, batch_size: int
    ) -> Attributes:
        states, _ = _embedded(model, list(ratings["prompt"]), list(ratings["completion"]), cache, batch_size)
        table = torch.tensor(
            [[float("nan") if row[name] is None else float(row[name]) for name in names] for row in ratings]
        )
        return fit_attributes(states, table, names, self.strengths, seed=self.seed, intercept=self.intercept)

    def _debias(self, rewards: Tensor, names: Sequence[str]) -> Debias:
        if self.verbosity is None:
            count = len(names)
            return Debias(torch.eye(count, dtype=torch.float64), (0.0,) * count, (0.0,) * count)
        return decorrelate(rewards, names.index(self.verbosity), self.threshold)


@dataclass(frozen=True)
class _PairStates:
    """Of N pairs: states of the prompts ``(N, d)``, and attribute rewards of both answers ``(N, K)``."""

    prompts: Tensor
    chosen: Tensor
    rejected: Tensor

    @classmethod
    def of(cls, model: RewardModel, pairs: Dataset, heads: Tensor, cache: Path, batch_size: int) -> _PairStates:
        both = [*pairs["chosen"], *pairs["rejected"]]
        answers, prompts = _embedded(model, [*pairs["prompt"]] * 2, both, cache, batch_size)
        return cls(prompts[: len(pairs)], *(answers @ heads.T).chunk(2))

    def at(self, rows: Tensor) -> _PairStates:
        return _PairStates(self.prompts[rows], self.chosen[rows], self.rejected[rows])


@dataclass(frozen=True)
class ArmoFit:
    """What the two stages found; accuracies on held-out pairs.

    ``gated``: of the mixture. ``single``: of each debiased attribute alone, of verbosity as it is. ``mean``: of the
    plain mean of debiased attributes.
    """

    heads: Attributes
    debias: Debias
    names: Sequence[str]
    gated: Proportion
    single: Mapping[str, Proportion]
    mean: Proportion

    def as_json(self) -> dict[str, Any]:
        """Everything but the weights."""
        return {
            "attributes": [vars(fit) for fit in self.heads.fits],
            "penalties": dict(zip(self.names, self.debias.penalties, strict=True)),
            "correlation_with_verbosity": dict(zip(self.names, self.debias.correlations, strict=True)),
            "held_out_accuracy": {
                "gated": self.gated.value,
                "mean": self.mean.value,
                **{name: part.value for name, part in self.single.items()},
            },
            "held_out_pairs": self.gated.total,
        }


def numeric_columns(ratings: Dataset) -> tuple[str, ...]:
    """Return the columns whose values are numbers or None."""
    known = ("prompt", "completion")
    return tuple(
        name
        for name, column in ratings.features.items()
        if name not in known and getattr(column, "dtype", "").startswith(("float", "int", "bool"))
    )


def check_attributes(ratings: Dataset, names: Sequence[str], verbosity: str | None) -> None:
    """Raise ``DataError`` for columns that are not there, before any model is used."""
    missing = [name for name in ("prompt", "completion", *names) if name not in ratings.column_names]
    if missing:
        raise DataError(f"the ratings have no column '{missing[0]}'; they have {', '.join(ratings.column_names)}")
    if not names:
        raise DataError("the ratings have no column of numbers beside prompt and completion")
    if verbosity is not None and verbosity not in names:
        raise DataError(f"verbosity '{verbosity}' is none of the attributes {', '.join(names)}")


def _embedded(
    model: RewardModel, prompts: list[Any], answers: list[Any], cache: Path, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Return states of the answers and of their prompts, ``(N, d)`` each; equal texts are embedded once."""
    rows = model.formatter().encode_many(prompts, answers)
    keys = [(tuple(row.input_ids), row.response_start) for row in rows]
    distinct = dict(zip(keys, rows, strict=True))
    found = embed(model, list(distinct.values()), cache, batch_size)
    assert found is not None
    place = {key: number for number, key in enumerate(distinct)}
    order = [place[key] for key in keys]
    return found[0][order], found[1][order]


def _right(margins: Tensor) -> Proportion:
    return Proportion(int((margins > 0).sum()), len(margins))
