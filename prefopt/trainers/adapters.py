"""LoRA on the backbone of a reward model. The heads lie outside the adapter: they always learn and are always saved."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    """Wrap the backbone with a fresh LoRA adapter.

    Raises:
        UserError: peft is not installed, or no layer has such a name.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise UserError("use_peft needs the package peft: pip install 'prefopt[peft]'") from error
    names = settings.lora_target_modules
    config = LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=names[0] if names == ["all-linear"] else list(names),
    )
    try:
        model.backbone = get_peft_model(model.backbone, config)
    except ValueError as error:
        raise UserError(f"lora_target_modules={' '.join(names)}: {error}") from error
    return model
