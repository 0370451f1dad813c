"""GPT assistants from raw text to RLHF, as the talk *State of GPT* lays them out, and the tools to use them.

    import stategpt as sg
    tok = sg.Tokenizer.train([Path("corpus.txt")], vocab_size=32_768)
    sg.run(sg.recipes.tiny_cpu(), out="runs/tiny")

Importing this package needs numpy only. A name is imported when it is first used; those that need torch say so where it
is missing (`MissingExtra`, an ImportError).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stategpt.extras import require

if TYPE_CHECKING:
    from stategpt import config as config
    from stategpt import data as data
    from stategpt import errors as errors
    from stategpt import evaluate as evaluate
    from stategpt import generate as generate
    from stategpt import model as model
    from stategpt import ops as ops
    from stategpt import recipes as recipes
    from stategpt import stages as stages
    from stategpt import train as train
    from stategpt.config import GPTConfig as GPTConfig
    from stategpt.config import Run as Run
    from stategpt.data import AnyTokenizer as AnyTokenizer
    from stategpt.data import Batch as Batch
    from stategpt.data import Document as Document
    from stategpt.data import Layout as Layout
    from stategpt.data import Loader as Loader
    from stategpt.data import Mixture as Mixture
    from stategpt.data import Ragged as Ragged
    from stategpt.data import Rankings as Rankings
    from stategpt.data import Row as Row
    from stategpt.data import Shards as Shards
    from stategpt.data import StreamDecoder as StreamDecoder
    from stategpt.data import Tokenizer as Tokenizer
    from stategpt.data import pack as pack
    from stategpt.data import write_shards as write_shards
    from stategpt.generate import Engine as Engine
    from stategpt.model import GPT as GPT
    from stategpt.model import RewardModel as RewardModel
    from stategpt.run import run as run

_ROOM_OF = {
    "AnyTokenizer": "data",
    "Batch": "data",
    "Document": "data",
    "Engine": "generate",
    "GPT": "model",
    "GPTConfig": "config",
    "Layout": "data",
    "Loader": "data",
    "Mixture": "data",
    "Ragged": "data",
    "Rankings": "data",
    "RewardModel": "model",
    "Row": "data",
    "Run": "config",
    "Shards": "data",
    "StreamDecoder": "data",
    "Tokenizer": "data",
    "pack": "data",
    "run": "run",
    "write_shards": "data",
}
_MODULES = ("config", "data", "errors", "evaluate", "generate", "model", "ops", "recipes", "stages", "train")
_NEED_TORCH = ("generate", "model", "run")

__version__ = "0.1.0"
__all__ = [
    "GPT",
    "AnyTokenizer",
    "Batch",
    "Document",
    "Engine",
    "GPTConfig",
    "Layout",
    "Loader",
    "Mixture",
    "Ragged",
    "Rankings",
    "RewardModel",
    "Row",
    "Run",
    "Shards",
    "StreamDecoder",
    "Tokenizer",
    "config",
    "data",
    "errors",
    "evaluate",
    "generate",
    "model",
    "ops",
    "pack",
    "recipes",
    "run",
    "stages",
    "train",
    "write_shards",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"stategpt.{name}")
    room = _ROOM_OF.get(name)
    if room is None:
        raise AttributeError(f"module 'stategpt' has no attribute {name!r}")
    if room in _NEED_TORCH:
        require("torch", f"stategpt.{name}")
    value = getattr(importlib.import_module(f"stategpt.{room}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__all__", "__doc__", "__file__", "__name__", "__path__", "__spec__", "__version__"])
