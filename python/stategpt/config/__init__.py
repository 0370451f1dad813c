"""Settings of a run: one frozen dataclass per section, checked when built. Needs neither numpy nor torch."""

from .classify import ClassifyConfig as ClassifyConfig
from .control import CONTROL_TOKENS as CONTROL_TOKENS
from .corpus import CorpusConfig as CorpusConfig
from .corpus import DataConfig as DataConfig
from .corpus import TokenizerConfig as TokenizerConfig
from .curate import CurateConfig as CurateConfig
from .evaluation import EvaluateConfig as EvaluateConfig
from .evaluation import GatesConfig as GatesConfig
from .model import GPTConfig as GPTConfig
from .optim import OptimConfig as OptimConfig
from .planner import plan as plan
from .run import RunConfig as RunConfig
from .schema import to_dict as to_dict
from .sources import SourceConfig as SourceConfig
from .stages import LoopConfig as LoopConfig
from .stages import PretrainConfig as PretrainConfig
from .stages import RankingsConfig as RankingsConfig
from .stages import RewardConfig as RewardConfig
from .stages import RLConfig as RLConfig
from .stages import SamplingConfig as SamplingConfig
from .stages import SFTConfig as SFTConfig
from .start import StartConfig as StartConfig
from .toml import dump as dump
from .toml import from_dict as from_dict
from .toml import load as load
from .toml import override as override

__all__ = [
    "CONTROL_TOKENS",
    "ClassifyConfig",
    "CorpusConfig",
    "CurateConfig",
    "DataConfig",
    "EvaluateConfig",
    "GPTConfig",
    "GatesConfig",
    "LoopConfig",
    "OptimConfig",
    "PretrainConfig",
    "RLConfig",
    "RankingsConfig",
    "RewardConfig",
    "RunConfig",
    "SFTConfig",
    "SamplingConfig",
    "SourceConfig",
    "StartConfig",
    "TokenizerConfig",
    "dump",
    "from_dict",
    "load",
    "override",
    "plan",
    "to_dict",
]
