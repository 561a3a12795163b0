"""LoRA. In a reward model the heads lie outside the adapter: they always learn and are always saved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from prefopt.errors import UserError
from reward_models.model import RewardModel


@dataclass
class AdapterArguments:
    """Low-rank adapters (arXiv 2106.09685) from PEFT."""

    use_peft: bool = field(default=False, metadata={"help": "train a LoRA adapter instead of the whole backbone"})
    lora_r: int = field(default=16, metadata={"help": "rank of the adapter"})
    lora_alpha: float = field(default=32.0, metadata={"help": "scale of the adapter is lora_alpha / lora_r"})
    lora_dropout: float = field(default=0.0, metadata={"help": "dropout before the adapter"})
    lora_target_modules: list[str] = field(
        default_factory=lambda: ["all-linear"], metadata={"help": "names of the layers to adapt"}
    )
    merge_adapter: bool = field(
        default=False, metadata={"help": "write the trained adapter folded into a whole model folder"}
    )


def add_adapter(model: RewardModel, settings: AdapterArguments) -> RewardModel:
    """Wrap the backbone with a fresh LoRA adapter. Raises as `wrap` does."""
    model.backbone = wrap(model.backbone, settings)
    return model


def wrap(module: Any, settings: AdapterArguments, **about: Any) -> Any:
    """Return a transformers model as a PEFT model with a fresh adapter, which changes nothing until it is trained.

    Raises:
        UserError: peft is not installed, or no layer has such a name.
    """
    config = lora_config(settings, **about)
    from peft import get_peft_model

    try:
        return get_peft_model(module, config)
    except ValueError as error:
        raise UserError(f"lora_target_modules={' '.join(settings.lora_target_modules)}: {error}") from error


def lora_config(settings: AdapterArguments, **about: Any) -> Any:
    """Return the ``peft.LoraConfig`` of the settings; ``about`` are further fields of it, such as ``task_type``.

    Raises:
        UserError: peft is not installed.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise UserError("use_peft needs the package peft: pip install 'prefopt[peft]'") from error
    names = settings.lora_target_modules
    return LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=names[0] if names == ["all-linear"] else list(names),
        **about,
    )
