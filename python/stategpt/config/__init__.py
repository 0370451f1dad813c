"""Settings of a run: one frozen dataclass per section, checked when built. Numpy is not needed, nor is torch."""

from .control import CONTROL_TOKENS as CONTROL_TOKENS
from .material import CorpusConfig as CorpusConfig
from .material import DataConfig as DataConfig
from .material import TokenizerConfig as TokenizerConfig
from .measures import EvaluateConfig as EvaluateConfig
from .measures import GatesConfig as GatesConfig
from .model import GPTConfig as GPTConfig
from .optim import OptimConfig as OptimConfig
from .run import Run as Run
from .stages import PretrainConfig as PretrainConfig
from .stages import RankingsConfig as RankingsConfig
from .stages import RewardConfig as RewardConfig
from .stages import RLConfig as RLConfig
from .stages import SFTConfig as SFTConfig

__all__ = [
    "CONTROL_TOKENS",
    "CorpusConfig",
    "DataConfig",
    "EvaluateConfig",
    "GPTConfig",
    "GatesConfig",
    "OptimConfig",
    "PretrainConfig",
    "RLConfig",
    "RankingsConfig",
    "RewardConfig",
    "Run",
    "SFTConfig",
    "TokenizerConfig",
]
