"""Text to tokens to batches, and everything else a stage is fed with. Numpy only: no torch on this floor."""

from .chat import ControlTokens, Segment, chat_prompt, reward_sequence, sft_segment
from .control import Control
from .documents import Document, read_documents
from .hf_tokenizer import HfTokenizer
from .inspection import Compression, TokenView, compression, token_views, tokens_html
from .layout import Layout
from .loader import Loader
from .mixture import Mixture
from .packing import Batch, Packed, Row, pack
from .python_library import (
    Pair,
    PythonLibrary,
    Split,
    build_python_library,
    read_library,
    survey,
    write_library,
)
from .ragged import Ragged
from .ranking_batches import RankingBatch, RankingBatches
from .rankings import Group, Rankings, Rejected
from .shards import Shards, write_shards
from .tokenizer import AnyTokenizer, StreamDecoder, Tokenizer

__all__ = [
    "AnyTokenizer",
    "Batch",
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
    "read_documents",
    "read_library",
    "reward_sequence",
    "sft_segment",
    "survey",
    "token_views",
    "tokens_html",
    "write_library",
    "write_shards",
]
