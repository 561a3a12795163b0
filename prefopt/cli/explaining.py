"""``--explain-resume``: what resuming a run would do, in place of doing it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ExplainArguments:
    """Whether to train at all."""

    explain_resume: bool = field(
        default=False,
        metadata={"help": "say which checkpoint would be taken and what a resumed run promises, and train nothing"},
    )

    def __call__(self, config: Any, wanted: str | bool | None = None) -> bool:
        """Print the explanation where it is asked for; return whether it was."""
        if not self.explain_resume:
            return False
        from prefopt.trainers.checkpointing.explain import explain_resume

        if config.process_index == 0:
            print(explain_resume(config, wanted))
        return True
