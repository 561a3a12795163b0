"""A reward model over HTTP: requests of many clients share forward passes. Needs the extra ``serve``.

    service = ScoringService(model, "name", ServingSettings(max_wait_ms=5))
    serve(create_app(service), bind("127.0.0.1", 8000))

`settings` and `batcher` work without the web libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reward_models.serving.app import create_app as create_app
    from reward_models.serving.batcher import MicroBatcher as MicroBatcher
    from reward_models.serving.server import bind as bind
    from reward_models.serving.server import serve as serve
    from reward_models.serving.service import ScoringService as ScoringService
    from reward_models.serving.settings import ServingSettings as ServingSettings

__all__ = ["MicroBatcher", "ScoringService", "ServingSettings", "bind", "create_app", "serve"]


def __getattr__(name: str) -> Any:
    # Lazy, so that the settings can be read, and help printed, without the web libraries.
    from importlib import import_module

    if name in ("bind", "serve"):
        return getattr(import_module("reward_models.serving.server"), name)
    if name == "create_app":
        return import_module("reward_models.serving.app").create_app
    if name == "MicroBatcher":
        return import_module("reward_models.serving.batcher").MicroBatcher
    if name == "ScoringService":
        return import_module("reward_models.serving.service").ScoringService
    if name == "ServingSettings":
        return import_module("reward_models.serving.settings").ServingSettings
    raise AttributeError(f"module 'reward_models.serving' has no attribute '{name}'")
