"""Text to tokens to batches, and everything else a stage is fed with. Numpy only: no torch on this floor.

A name is imported when it is first used: to load a tokenizer takes a tokenizer, not everything else that is here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .chat import ControlTokens as ControlTokens
    from .chat import Segment as Segment
    from .chat import chat_prompt as chat_prompt
    from .chat import reward_sequence as reward_sequence
    from .chat import sft_segment as sft_segment
    from .control import Control as Control
    from .documents import Document as Document
    from .documents import read_documents as read_documents
    from .hf_tokenizer import HfTokenizer as HfTokenizer
    from .inspection import Compression as Compression
    from .inspection import TokenView as TokenView
    from .inspection import compression as compression
    from .inspection import token_views as token_views
    from .inspection import tokens_html as tokens_html
    from .layout import Layout as Layout
    from .loader import Loader as Loader
    from .mixture import Mixture as Mixture
    from .packing import Batch as Batch
    from .packing import Packed as Packed
    from .packing import Row as Row
    from .packing import pack as pack
    from .preferences import read_chosen_rejected as read_chosen_rejected
    from .preferences import read_votes as read_votes
    from .python_library import Pair as Pair
    from .python_library import PythonLibrary as PythonLibrary
    from .python_library import Split as Split
    from .python_library import build_python_library as build_python_library
    from .python_library import read_library as read_library
    from .python_library import survey as survey
    from .python_library import write_library as write_library
    from .ragged import Ragged as Ragged
    from .ranking_batches import RankingBatch as RankingBatch
    from .ranking_batches import RankingBatches as RankingBatches
    from .rankings import Group as Group
    from .rankings import Rankings as Rankings
    from .rankings import Rejected as Rejected
    from .shards import Shards as Shards
    from .shards import write_shards as write_shards
    from .tensors import BatchTensors as BatchTensors
    from .tokenizer import AnyTokenizer as AnyTokenizer
    from .tokenizer import StreamDecoder as StreamDecoder
    from .tokenizer import Tokenizer as Tokenizer

_MODULE_OF = {
    "AnyTokenizer": "tokenizer",
    "Batch": "packing",
    "BatchTensors": "tensors",
    "Compression": "inspection",
    "Control": "control",
    "ControlTokens": "chat",
    "Document": "documents",
    "Group": "rankings",
    "HfTokenizer": "hf_tokenizer",
    "Layout": "layout",
    "Loader": "loader",
    "Mixture": "mixture",
    "Packed": "packing",
    "Pair": "python_library",
    "PythonLibrary": "python_library",
    "Ragged": "ragged",
    "RankingBatch": "ranking_batches",
    "RankingBatches": "ranking_batches",
    "Rankings": "rankings",
    "Rejected": "rankings",
    "Row": "packing",
    "Segment": "chat",
    "Shards": "shards",
    "Split": "python_library",
    "StreamDecoder": "tokenizer",
    "TokenView": "inspection",
    "Tokenizer": "tokenizer",
    "build_python_library": "python_library",
    "chat_prompt": "chat",
    "compression": "inspection",
    "pack": "packing",
    "read_chosen_rejected": "preferences",
    "read_documents": "documents",
    "read_library": "python_library",
    "read_votes": "preferences",
    "reward_sequence": "chat",
    "sft_segment": "chat",
    "survey": "python_library",
    "token_views": "inspection",
    "tokens_html": "inspection",
    "write_library": "python_library",
    "write_shards": "shards",
}

__all__ = [
    "AnyTokenizer",
    "Batch",
    "BatchTensors",
    "Compression",
    "Control",
    "ControlTokens",
    "Document",
    "Group",
    "HfTokenizer",
    "Layout",
    "Loader",
    "Mixture",
    "Packed",
    "Pair",
    "PythonLibrary",
    "Ragged",
    "RankingBatch",
    "RankingBatches",
    "Rankings",
    "Rejected",
    "Row",
    "Segment",
    "Shards",
    "Split",
    "StreamDecoder",
    "TokenView",
    "Tokenizer",
    "build_python_library",
    "chat_prompt",
    "compression",
    "pack",
    "read_chosen_rejected",
    "read_documents",
    "read_library",
    "read_votes",
    "reward_sequence",
    "sft_segment",
    "survey",
    "token_views",
    "tokens_html",
    "write_library",
    "write_shards",
]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'stategpt.data' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"stategpt.data.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__all__", "__doc__", "__file__", "__name__", "__path__", "__spec__"]
