"""Sampling from a model: the engine, its sessions and scheduler, settings of sampling and stop strings."""

from stategpt.extras import require

require("torch", __name__)

from . import constraints as constraints  # noqa: E402
from .completion import Completion as Completion  # noqa: E402
from .completion import Piece as Piece  # noqa: E402
from .completion import Usage as Usage  # noqa: E402
from .engine import Engine as Engine  # noqa: E402
from .handle import Handle as Handle  # noqa: E402
from .language_model import LanguageModel as LanguageModel  # noqa: E402
from .request import Counters as Counters  # noqa: E402
from .request import Event as Event  # noqa: E402
from .request import Limits as Limits  # noqa: E402
from .request import Request as Request  # noqa: E402
from .sampler import Draws as Draws  # noqa: E402
from .sampler import draw as draw  # noqa: E402
from .sampling import SampledRow as SampledRow  # noqa: E402
from .sampling import Sampling as Sampling  # noqa: E402
from .scheduler import Scheduler as Scheduler  # noqa: E402
from .session import Session as Session  # noqa: E402
from .stops import StopFilter as StopFilter  # noqa: E402

__all__ = [
    "Completion",
    "Counters",
    "Draws",
    "Engine",
    "Event",
    "Handle",
    "LanguageModel",
    "Limits",
    "Piece",
    "Request",
    "SampledRow",
    "Sampling",
    "Scheduler",
    "Session",
    "StopFilter",
    "Usage",
    "constraints",
    "draw",
]
