"""Sampling from a model: the engine and what it is made of."""

from .engine import Completion as Completion
from .engine import Engine as Engine
from .sampler import Sampler as Sampler
from .stops import StopFilter as StopFilter

__all__ = ["Completion", "Engine", "Sampler", "StopFilter"]
