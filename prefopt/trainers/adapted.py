"""Models under an adapter, told apart from whole ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reward_models.backbones import UNLOADABLE, first_line
from reward_models.errors import ModelError
from reward_models.safe_folder import check_adapter


def is_adapted(model: Any) -> bool:
    """Whether the model is a PEFT model."""
    return hasattr(model, "peft_config") and hasattr(model, "disable_adapter")


def bare(model: Any) -> Any:
    """Return the causal language model inside a PEFT model, or the model itself."""
    return model.get_base_model() if is_adapted(model) else model


@contextmanager
def without_adapter(model: Any) -> Iterator[None]:
    """Run a PEFT model as its base, in evaluation mode."""
    training = model.training
    model.eval()
    try:
        with model.disable_adapter():
            yield
    finally:
        model.train(training)


def with_adapter(base: Any, folder: Path) -> Any:
    """Return a model under the adapter that a folder holds. Raises ``ModelError`` for one that is no safetensors."""
    from peft import PeftModel

    check_adapter(folder)
    try:
        return PeftModel.from_pretrained(base, folder)
    except UNLOADABLE as error:
        raise ModelError(f"{folder}: the adapter cannot be loaded: {first_line(error)}") from error
