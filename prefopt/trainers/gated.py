"""ArmoRM as a run: attribute heads and gate on a frozen backbone, saved as a model folder with what was found."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from datasets import Dataset
from transformers import set_seed

from prefopt.errors import UserError
from prefopt.trainers.pairs.texts import texts_of
from prefopt.trainers.reward import score_statistics
from prefopt.trainers.reward_config import RewardConfig
from prefopt.trainers.reward_trainer import LONGEST
from reward_models.backbones import locate, position_limit
from reward_models.folder import read_info
from reward_models.model import RewardModel
from reward_models.multi_objective.armo import ArmoFit, ArmoRM, check_attributes, numeric_columns
from reward_models.whole_files import model_written_beside, replace_json

RECORD = "fit.json"
STATES = "states"
UNREAD = ("learning_rate", "num_train_epochs", "max_steps", "trainable_layers", "head_learning_rate", "token_budget",
          "use_margin", "pair_label_smoothing", "centring", "optim")  # fmt: skip
"""Settings of gradient descent through a backbone, which stays as it is here."""


@dataclass(frozen=True)
class GatedReward:
    """What the run leaves behind."""

    model: RewardModel
    folder: Path
    fit: ArmoFit


def train_gated(
    model: str | Path,
    pairs: Dataset,
    ratings: Dataset,
    config: RewardConfig,
    recipe: ArmoRM,
    evaluation: Dataset | None = None,
    pooling: str | None = None,
) -> GatedReward:
    """Fit both stages, save to ``config.output_dir``: the model, its score statistics, and ``fit.json``.

    States are cached in the folder's ``states``; a run that was stopped, or that tries another gate, reads them.

    Args:
        model: a backbone or a reward model, whose heads are replaced; a trained reward model reads better states.
        pairs: rows with prompt, chosen, rejected. ratings: of `reward_models.multi_objective.ratings.load_ratings`.
        config: seed, lengths, batch size and output folder.
        evaluation: pairs for the held-out accuracies; None = a share of ``pairs``.
        pooling: see `RewardModel`; None = the reward model's own, or the backbone's usual one.

    Raises:
        UserError: settings that would not be read, or several processes. DataError: ratings that cannot be used.
    """
    check_settings(config)
    check_attributes(ratings, recipe.attributes or numeric_columns(ratings), recipe.verbosity)
    set_seed(config.seed)
    info = read_info(locate(model)) or {}
    start = RewardModel.from_backbone(model, pooling=pooling or info.get("pooling")).to(config.device).eval()
    limit = position_limit(start.tokenizer, start.config)
    start.max_length = config.max_length or min(limit or LONGEST, LONGEST)
    start.use_attention(config.attention)
    folder = Path(str(config.output_dir))
    seeded = replace(recipe, seed=config.seed, gate=replace(recipe.gate, seed=config.seed))
    fit = seeded(start, ratings, pairs, folder / STATES, config.per_device_eval_batch_size, evaluation)
    start.statistics = score_statistics(start, texts_of(pairs))
    with model_written_beside(folder) as beside:
        start.save_pretrained(beside)
    replace_json(folder / RECORD, fit.as_json())
    return GatedReward(start, folder, fit)


def check_settings(config: RewardConfig) -> None:
    """Raise ``UserError`` for settings that would be ignored in silence."""
    if config.world_size > 1:
        raise UserError("attribute heads and a gate are fitted in one process; start it without a launcher")
    defaults = {one.name: one.default for one in fields(config)}
    for name in UNREAD:
        if getattr(config, name) != defaults[name]:
            raise UserError(
                f"{name} is a setting of training a backbone, which stays frozen here; leave it out. The gate's own "
                "are in loss_settings: steps, learning_rate, batch_size, ..."
            )
