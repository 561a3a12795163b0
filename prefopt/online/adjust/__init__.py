"""Adjustments: what a method does to any estimate of advantages; one idea a file."""

from prefopt.online.adjust.kl_to_go import KLToGo
from prefopt.online.adjust.whitened import Whitened

__all__ = ["KLToGo", "Whitened"]
