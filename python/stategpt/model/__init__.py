"""The GPT, its reward model, its key-value cache, and their folders on disk."""

from stategpt.extras import require

require("torch", __name__)

from .adapter import load_adapter as load_adapter  # noqa: E402
from .adapter import save_adapter as save_adapter  # noqa: E402
from .cache import StepCache as StepCache  # noqa: E402
from .classifier import Classifier as Classifier  # noqa: E402
from .distribution import log_probs as log_probs  # noqa: E402
from .distribution import padding_ids as padding_ids  # noqa: E402
from .distribution import undrawn_ids as undrawn_ids  # noqa: E402
from .gpt import GPT as GPT  # noqa: E402
from .lora import LoRALinear as LoRALinear  # noqa: E402
from .lora import adapters_off as adapters_off  # noqa: E402
from .parameter_groups import ParameterGroup as ParameterGroup  # noqa: E402
from .parameter_groups import parameter_groups as parameter_groups  # noqa: E402
from .policy import CompletionBatch as CompletionBatch  # noqa: E402
from .policy import completion_log_probs as completion_log_probs  # noqa: E402
from .precision import Precision as Precision  # noqa: E402
from .precision import autocast as autocast  # noqa: E402
from .reward import RewardModel as RewardModel  # noqa: E402
from .special_ids import SpecialIds as SpecialIds  # noqa: E402
from .token_batch import PaddedSequences as PaddedSequences  # noqa: E402
from .token_batch import TokenBatch as TokenBatch  # noqa: E402
from .token_batch import pad_sequences as pad_sequences  # noqa: E402

__all__ = [
    "GPT",
    "Classifier",
    "CompletionBatch",
    "LoRALinear",
    "PaddedSequences",
    "ParameterGroup",
    "Precision",
    "RewardModel",
    "SpecialIds",
    "StepCache",
    "TokenBatch",
    "adapters_off",
    "autocast",
    "completion_log_probs",
    "load_adapter",
    "log_probs",
    "pad_sequences",
    "padding_ids",
    "parameter_groups",
    "save_adapter",
    "undrawn_ids",
]
