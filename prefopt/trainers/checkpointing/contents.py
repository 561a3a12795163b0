"""What the files of a checkpoint hold, in words."""

from __future__ import annotations

from pathlib import Path

PARTS = {
    "*model*.safetensors": "weights",
    "optimizer.pt": "the optimiser's state",
    "scheduler.pt": "the learning-rate schedule",
    "scaler.pt": "the gradient scaler",
    "rng_state*.pth": "random numbers",
    "trainer_state.json": "step, epoch, log lines and skipped steps",
    "open_figures_*.json": "figures since the last log line",
    "objective_state.safetensors": "the objective's state",
    "online_state_*.safetensors": "the objective's state and rollouts that were not used up",
    "moving_reference.safetensors": "the moving reference",
    "token_masks.safetensors": "learned masks",
    "policy_heads.safetensors": "further heads",
    "degree_heads.safetensors": "heads of degrees",
    "critic.safetensors": "the critic",
    "entropy_ctrl_state.json": "the entropy controller",
    "global_step*": "DeepSpeed's state",
    "*fsdp*": "FSDP's state",
}
"""Patterns of names, and what such a file holds."""
NEEDED = ("optimizer.pt", "scheduler.pt", "rng_state*.pth")


def held(checkpoint: Path) -> list[str]:
    """Return what a checkpoint holds, in the order of `PARTS`."""
    return [what for pattern, what in PARTS.items() if any(checkpoint.glob(pattern))]


def absent(checkpoint: Path) -> list[tuple[str, str]]:
    """Return the files that every resumed run reads and this checkpoint lacks, and what they would hold."""
    return [(name, PARTS[name]) for name in NEEDED if not any(checkpoint.glob(name))]
