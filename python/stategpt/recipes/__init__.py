"""Recipes: a run is a function that returns a config."""

from collections.abc import Callable

from stategpt.config import RunConfig

from .small_cpu import small_cpu as small_cpu
from .smoke_cpu import smoke_cpu
from .tiny_cpu import tiny_cpu as tiny_cpu

RECIPES: dict[str, Callable[[], RunConfig]] = {"tiny_cpu": tiny_cpu, "small_cpu": small_cpu, "smoke_cpu": smoke_cpu}
"""Every recipe by the name that the command line takes."""

__all__ = ["RECIPES", "small_cpu", "smoke_cpu", "tiny_cpu"]
