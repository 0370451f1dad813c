"""The GPT, its reward model, its key-value cache, and their folders on disk."""

from stategpt.extras import require

require("torch", __name__)

from .cache import KVCache as KVCache  # noqa: E402
from .distribution import log_probs as log_probs  # noqa: E402
from .distribution import padding_ids as padding_ids  # noqa: E402
from .distribution import undrawn_ids as undrawn_ids  # noqa: E402
from .gpt import GPT as GPT  # noqa: E402
from .parameter_groups import ParameterGroup as ParameterGroup  # noqa: E402
from .parameter_groups import parameter_groups as parameter_groups  # noqa: E402
from .precision import Precision as Precision  # noqa: E402
from .precision import autocast as autocast  # noqa: E402
from .reward import RewardModel as RewardModel  # noqa: E402
from .special_ids import SpecialIds as SpecialIds  # noqa: E402

__all__ = [
    "GPT",
    "KVCache",
    "ParameterGroup",
    "Precision",
    "RewardModel",
    "SpecialIds",
    "autocast",
    "log_probs",
    "padding_ids",
    "parameter_groups",
    "undrawn_ids",
]
