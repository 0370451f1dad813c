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
    from stategpt import packing as packing
    from stategpt import recipes as recipes
    from stategpt import stages as stages
    from stategpt import tokenizer as tokenizer
    from stategpt import train as train
    from stategpt.config import GPTConfig as GPTConfig
    from stategpt.config import RunConfig as RunConfig
    from stategpt.data import ChatTemplate as ChatTemplate
    from stategpt.data import Rankings as Rankings
    from stategpt.data import curate as curate
    from stategpt.data import formats as formats
    from stategpt.data import ranking_batches as ranking_batches
    from stategpt.data import sources as sources
    from stategpt.data import write_shards as write_shards
    from stategpt.generate import Engine as Engine
    from stategpt.generate import constraints as constraints
    from stategpt.generate.constraints import fill as fill
    from stategpt.model import GPT as GPT
    from stategpt.model import Classifier as Classifier
    from stategpt.model import RewardModel as RewardModel
    from stategpt.model.lora import lora as lora
    from stategpt.model.quantize import quantize as quantize
    from stategpt.packing import Batch as Batch
    from stategpt.packing import Layout as Layout
    from stategpt.packing import Loader as Loader
    from stategpt.packing import Mixture as Mixture
    from stategpt.packing import Row as Row
    from stategpt.packing import Shards as Shards
    from stategpt.packing import TokenizedDocument as TokenizedDocument
    from stategpt.packing import pack as pack
    from stategpt.pipeline import run as run
    from stategpt.tokenizer import AnyTokenizer as AnyTokenizer
    from stategpt.tokenizer import Ragged as Ragged
    from stategpt.tokenizer import StreamDecoder as StreamDecoder
    from stategpt.tokenizer import Tokenizer as Tokenizer

_PACKAGE_OF = {
    "AnyTokenizer": "tokenizer",
    "Batch": "packing",
    "ChatTemplate": "data",
    "Classifier": "model",
    "Engine": "generate",
    "GPT": "model",
    "GPTConfig": "config",
    "Layout": "packing",
    "Loader": "packing",
    "Mixture": "packing",
    "Ragged": "tokenizer",
    "Rankings": "data",
    "RewardModel": "model",
    "Row": "packing",
    "RunConfig": "config",
    "Shards": "packing",
    "StreamDecoder": "tokenizer",
    "TokenizedDocument": "packing",
    "Tokenizer": "tokenizer",
    "constraints": "generate",
    "curate": "data",
    "fill": "generate.constraints",
    "formats": "data",
    "lora": "model.lora",
    "pack": "packing",
    "quantize": "model.quantize",
    "ranking_batches": "data",
    "run": "pipeline",
    "sources": "data",
    "write_shards": "data",
}
_MODULES = (
    "config",
    "data",
    "errors",
    "evaluate",
    "generate",
    "model",
    "ops",
    "packing",
    "recipes",
    "stages",
    "tokenizer",
    "train",
)
_NEED_TORCH = ("generate", "generate.constraints", "model", "model.lora", "model.quantize", "pipeline")

__version__ = "0.1.0"
__all__ = [
    "GPT",
    "AnyTokenizer",
    "Batch",
    "ChatTemplate",
    "Classifier",
    "Engine",
    "GPTConfig",
    "Layout",
    "Loader",
    "Mixture",
    "Ragged",
    "Rankings",
    "RewardModel",
    "Row",
    "RunConfig",
    "Shards",
    "StreamDecoder",
    "TokenizedDocument",
    "Tokenizer",
    "config",
    "constraints",
    "curate",
    "data",
    "errors",
    "evaluate",
    "fill",
    "formats",
    "generate",
    "lora",
    "model",
    "ops",
    "pack",
    "packing",
    "quantize",
    "ranking_batches",
    "recipes",
    "run",
    "sources",
    "stages",
    "tokenizer",
    "train",
    "write_shards",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"stategpt.{name}")
    package = _PACKAGE_OF.get(name)
    if package is None:
        raise AttributeError(f"module 'stategpt' has no attribute {name!r}")
    if package in _NEED_TORCH:
        require("torch", f"stategpt.{name}")
    value = getattr(importlib.import_module(f"stategpt.{package}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__all__", "__doc__", "__file__", "__name__", "__path__", "__spec__", "__version__"])
