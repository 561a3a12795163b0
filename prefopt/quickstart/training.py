"""The three trainings: reward model, online alignment, offline alignment."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset

from prefopt.quickstart.settings import OFFLINE, ONLINE, VERIFIER, Settings
from prefopt.quickstart.stages import Bar, TrainingBar
from prefopt.trainers.offline import OfflineConfig, align_offline
from prefopt.trainers.online import OnlineConfig
from prefopt.trainers.online import align_online as align_with_rewards
from prefopt.trainers.reward import RewardConfig, train_reward
from reward_models import RewardModel


def train_reward_model(pairs: Dataset, settings: Settings, bar: Bar) -> RewardModel:
    """Train a Bradley-Terry model on the pairs, starting from the base policy."""
    chosen = settings.reward_model
    config = RewardConfig(
        output_dir=str(settings.reward_folder),
        seed=settings.seed,
        num_train_epochs=chosen.epochs,
        per_device_train_batch_size=chosen.pairs_per_step,
        learning_rate=chosen.learning_rate,
        head_learning_rate=chosen.head_learning_rate,
        report_to=settings.report_to,
        save_strategy="no",
        logging_steps=10,
        use_cpu=True,
        disable_tqdm=True,
    )
    bars = [TrainingBar(bar, {"loss": "loss"})]
    return train_reward(settings.policy, pairs, config, callbacks=bars).model


def align_online(prompts: Dataset, settings: Settings, bar: Bar) -> tuple[Path, list[dict[str, float]]]:
    """Align the base policy against all rewards; return its folder and the logged steps."""
    chosen = settings.online
    config = OnlineConfig(
        output_dir=str(settings.aligned_folder(ONLINE)),
        seed=settings.seed,
        recipe=chosen.recipe,
        weighting=chosen.weighting,
        max_steps=chosen.steps,
        per_device_train_batch_size=chosen.prompts_per_step * chosen.completions_per_prompt,
        num_generations=chosen.completions_per_prompt,
        max_completion_length=settings.longest_completion,
        learning_rate=chosen.learning_rate,
        report_to=settings.report_to,
        save_strategy="no",
        logging_steps=1,
        gradient_checkpointing=False,
        use_cpu=True,
        disable_tqdm=True,
    )
    figures = {f"reward/{VERIFIER}": "right"}
    bars = [TrainingBar(bar, figures)]
    done = align_with_rewards(settings.policy, prompts, settings.sources(), config, callbacks=bars)
    return done.folder, [line for line in done.log if f"reward/{VERIFIER}" in line]


def align_with_pairs(pairs: Dataset, settings: Settings, bar: Bar) -> Path:
    """Align the base policy on the preference pairs; return its folder."""
    chosen = settings.offline
    config = OfflineConfig(
        output_dir=str(settings.aligned_folder(OFFLINE)),
        seed=settings.seed,
        recipe=chosen.recipe,
        recipe_settings={"beta": chosen.beta},
        num_train_epochs=chosen.epochs,
        per_device_train_batch_size=chosen.pairs_per_step,
        learning_rate=chosen.learning_rate,
        report_to=settings.report_to,
        save_strategy="no",
        logging_steps=10,
        use_cpu=True,
        disable_tqdm=True,
    )
    figures = {"rewards/accuracy": "in order"}
    return align_offline(settings.policy, pairs, config, callbacks=[TrainingBar(bar, figures)]).folder
