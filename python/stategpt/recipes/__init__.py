"""Recipes: a run is a function that returns a config."""

from collections.abc import Callable

from stategpt.config import Run

from .small_cpu import small_cpu as small_cpu
from .test_cpu import test_cpu as test_cpu
from .tiny_cpu import tiny_cpu as tiny_cpu

RECIPES: dict[str, Callable[[], Run]] = {"tiny_cpu": tiny_cpu, "small_cpu": small_cpu, "test_cpu": test_cpu}
"""Every recipe by the name that the command line takes."""

__all__ = ["RECIPES", "small_cpu", "test_cpu", "tiny_cpu"]
