"""The GPT, its reward model, its key-value cache, and their folders on disk."""

from .cache import KVCache as KVCache
from .distribution import log_probs as log_probs
from .gpt import GPT as GPT
from .parameter_groups import ParameterGroup as ParameterGroup
from .parameter_groups import parameter_groups as parameter_groups
from .precision import Precision as Precision
from .precision import autocast as autocast
from .reward import RewardModel as RewardModel
from .special_ids import SpecialIds as SpecialIds

__all__ = [
    "GPT",
    "KVCache",
    "ParameterGroup",
    "Precision",
    "RewardModel",
    "SpecialIds",
    "autocast",
    "log_probs",
    "parameter_groups",
]
