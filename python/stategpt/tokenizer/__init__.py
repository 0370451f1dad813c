"""Tokenizers: byte-level BPE, Hugging Face's library as an alternative engine, inspection. Needs numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stategpt.lazy_names import lazy_names

if TYPE_CHECKING:
    from .control import Control as Control
    from .hf_tokenizer import HfTokenizer as HfTokenizer
    from .inspection import Compression as Compression
    from .inspection import TokenView as TokenView
    from .inspection import compression as compression
    from .inspection import token_views as token_views
    from .ragged import Ragged as Ragged
    from .tokenizer import AnyTokenizer as AnyTokenizer
    from .tokenizer import StreamDecoder as StreamDecoder
    from .tokenizer import Tokenizer as Tokenizer

__all__ = [
    "AnyTokenizer",
    "Compression",
    "Control",
    "HfTokenizer",
    "Ragged",
    "StreamDecoder",
    "TokenView",
    "Tokenizer",
    "compression",
    "token_views",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "tokenizer": (
            "AnyTokenizer",
            "StreamDecoder",
            "Tokenizer",
        ),
        "hf_tokenizer": ("HfTokenizer",),
        "control": ("Control",),
        "inspection": (
            "Compression",
            "TokenView",
            "compression",
            "token_views",
        ),
        "ragged": ("Ragged",),
    },
)
