"""What an online run leaves on disk: checkpoints that go on at the same bits, the policy, its page and its critic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from prefopt.composition import State
from prefopt.online.method import OnlineMethod
from prefopt.trainers import progress
from prefopt.trainers.model_card import model_card
from prefopt.trainers.rewards.scorer import Scorer
from prefopt.trainers.supply.critic import ValueHead, load_critic, save_critic, without_critic
from prefopt.trainers.trl_hooks import HookedGRPOTrainer
from prefopt.trainers.written_settings import write_settings
from reward_models.whole_files import replace_text


class OnlineCheckpoints(HookedGRPOTrainer):
    """Writes and reads what belongs to the objective, beside what transformers writes."""

    objective: OnlineMethod
    objective_state: State
    statistics: progress.Statistics
    scorer: Scorer
    critic: ValueHead | None
    prepare_reads_logps: bool | None

    def save_progress(self, folder: Path) -> None:
        """Write objective state, rollout buffer and critic."""
        if self.critic is not None and self.is_world_process_zero():
            save_critic(self.critic, folder)
        now = progress.Progress(
            self.micro_step,
            self.objective_state,
            self.statistics if self.mid_buffer else {},
            self.buffer if self.mid_buffer else None,
            list(self.scorer.limit.seen),
            self.prepare_reads_logps,
        )
        accelerator = self.accelerator
        progress.save(now, folder, accelerator.process_index, accelerator.num_processes, self.objective.recipe)

    def load_progress(self, folder: Path) -> None:
        """Continue where `save_progress` stopped."""
        if self.critic is not None:
            load_critic(self.critic, folder)
        accelerator = self.accelerator
        then = progress.load(
            folder,
            accelerator.process_index,
            accelerator.num_processes,
            self.objective.init_state(),
            accelerator.device,
        )
        if then is None:
            steps = self.state.global_step * self.args.gradient_accumulation_steps
            progress.logger.warning("%s has no rollouts and no objective state: both start anew", folder)
            self.restore_buffer(steps, None)
            return
        self.objective_state, self.statistics = then.state, then.statistics
        self.prepare_reads_logps = then.reads_logps
        self.scorer.limit.seen.extend((rows, list(counts)) for rows, counts in then.unscored)
        # Another number of processes goes with another number of micro-batches a step.
        anew = self.state.global_step * self.args.gradient_accumulation_steps
        self.restore_buffer(then.micro_step if then.of_as_many else anew, then.buffer)

    def create_model_card(self, model_name: str | None = None, *args: Any, **kwargs: Any) -> None:
        """Write the page of the policy; TRL's would name a method that was not used."""
        if self.is_world_process_zero():
            folder = Path(self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            base = str(getattr(self.model.config, "_name_or_path", "") or "")
            # A folder of this machine means nothing to a reader elsewhere.
            base = "" if Path(base).is_absolute() or Path(base).is_dir() else base
            page = model_card(
                model_name or folder.name, base, self.objective, self.scorer.names, self.state.global_step
            )
            replace_text(folder / "README.md", page)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        if self.critic is not None:
            state_dict = without_critic(self.model.state_dict() if state_dict is None else state_dict)
        super()._save(output_dir, state_dict)
        if not self.args.should_save:
            return
        if self.critic is not None:
            save_critic(self.critic, folder)
        write_settings(folder, self.args)
