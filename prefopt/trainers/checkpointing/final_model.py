"""The part of a trainer that writes its model so that it is never torn, and takes no damaged one for the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefopt.errors import UserError
from prefopt.trainers.checkpointing.choice import verdict_of
from prefopt.trainers.checkpointing.failure import OF_THE_DISK, save_error
from prefopt.trainers.checkpointing.verification import Verdict
from reward_models.whole_files import model_written_beside


class WholeModelMixin:
    """The base of `WholeCheckpointsMixin` for what is written and read at the end of a run."""

    args: Any
    state: Any

    _staging: Path | None = None

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As transformers does; a kill or a full disk leaves the old model, the new one or none, never a mixture.

        Raises:
            SaveError: it could not be written.
        """
        target, shared = Path(output_dir or self.args.output_dir), self.is_deepspeed_enabled or self.is_fsdp_enabled  # type: ignore[attr-defined]
        if self._staging is not None or shared or not self.args.should_save:
            super().save_model(output_dir, _internal_call)  # type: ignore[misc]
            return
        try:
            with model_written_beside(target) as beside:
                super().save_model(str(beside), _internal_call=True)  # type: ignore[misc]
        except OF_THE_DISK as error:
            raise save_error("the model", target, error) from error
        if self.args.push_to_hub and not _internal_call:
            self.push_to_hub(commit_message="Model save", revision=self.args.hub_revision)  # type: ignore[attr-defined]

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        limit, best = self.args.save_total_limit, self.state.best_model_checkpoint
        if best is not None and self.args.load_best_model_at_end:
            verdict = verdict_of(Path(best))
            if not verdict.valid:
                self._refuse_best(verdict)
        # With a limit of 1, transformers would remove all but the best: the one that a resumed run goes on from, too.
        self.args.save_total_limit = None
        try:
            return super()._finalize_training(*args, **kwargs)  # type: ignore[misc]
        finally:
            self.args.save_total_limit = limit

    def _refuse_best(self, verdict: Verdict) -> None:
        raise UserError(
            f"the best checkpoint, {verdict.folder}, cannot be loaded: {verdict.reason}. Training has ended, and "
            "other checkpoints are as they were; resume without load_best_model_at_end for the last weights"
        )
