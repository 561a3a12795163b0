"""A value head on the policy's hidden states."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import is_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

if TYPE_CHECKING:
    from prefopt.trainers.online_trainer import OnlineTrainer

FILE = "critic.safetensors"
NAME = "critic"


class ValueHead(nn.Module):
    """``V = w . h + b`` of a hidden state; 0 at the start. Its input is detached: it never moves the policy."""

    def __init__(self, width: int, device: torch.device) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1, device=device, dtype=torch.float32)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, states: Tensor) -> Tensor:
        """``(..., H)`` to ``(...)``, float32."""
        with torch.autocast(states.device.type, enabled=False):
            values: Tensor = self.linear(states.float())[..., 0]
        return values


def attach_critic(trainer: OnlineTrainer) -> ValueHead:
    """Put a critic under the trainer's model, so that optimiser and processes treat it as they treat the policy."""
    bare = trainer.model.get_base_model() if is_peft_model(trainer.model) else trainer.model
    head = ValueHead(bare.config.get_text_config().hidden_size, next(bare.parameters()).device)
    bare.add_module(NAME, head)
    return head


def own_rate(optimiser: torch.optim.Optimizer, head: ValueHead, rate: float | None) -> None:
    """Give the critic's parameters a group with a learning rate of their own."""
    if rate is None:
        return
    own = set(head.parameters())
    for group in list(optimiser.param_groups):
        mine = [parameter for parameter in group["params"] if parameter in own]
        if mine:
            group["params"] = [parameter for parameter in group["params"] if parameter not in own]
            settings = {key: value for key, value in group.items() if key != "params"}
            optimiser.add_param_group({**settings, "params": mine, "lr": rate})


def save_critic(head: ValueHead, folder: Path) -> None:
    """Write it beside the policy, whose own files hold the policy alone."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()}, folder / FILE)


def load_critic(head: ValueHead, folder: Path) -> None:
    """Read what `save_critic` wrote, where it is there."""
    if (folder / FILE).is_file():
        head.load_state_dict(load_file(folder / FILE))


def without_critic(state: dict[str, Any]) -> dict[str, Any]:
    """Return a model's state without its critic's."""
    return {name: value for name, value in state.items() if f"{NAME}.linear." not in name}
