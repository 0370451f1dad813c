"""Sampling from a model: the engine, the sampler and stop strings."""

from stategpt.extras import require

require("torch", __name__)

from . import constraints as constraints  # noqa: E402
from .engine import Completion as Completion  # noqa: E402
from .engine import Engine as Engine  # noqa: E402
from .sampler import Sampler as Sampler  # noqa: E402
from .stops import StopFilter as StopFilter  # noqa: E402

__all__ = ["Completion", "Engine", "Sampler", "StopFilter", "constraints"]
