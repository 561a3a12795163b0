"""Shaping of form and length: small rewards that stand beside the one for a right answer.

Length terms belong behind correctness, or the shortest wrong answer wins: `KimiLength` and `CosineLength` take it from
a column ``correct``, or from a verifier that their setting ``correct`` names.
"""

from __future__ import annotations

from reward_models.verifiable.format_and_length.cosine import CosineLength
from reward_models.verifiable.format_and_length.kimi import KimiLength
from reward_models.verifiable.format_and_length.overlong import SoftOverlong
from reward_models.verifiable.format_and_length.repetition import Repetition
from reward_models.verifiable.format_and_length.steps import ReasoningSteps
from reward_models.verifiable.format_and_length.tags import TagCount
from reward_models.verifiable.format_and_length.target import LengthLimit, TargetLength
from reward_models.verifiable.format_and_length.think import ThinkFormat

__all__ = [
    "CosineLength",
    "KimiLength",
    "LengthLimit",
    "ReasoningSteps",
    "Repetition",
    "SoftOverlong",
    "TagCount",
    "TargetLength",
    "ThinkFormat",
]
