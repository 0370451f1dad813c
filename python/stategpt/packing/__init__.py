"""Token shards, packed rows, mixtures and the loader that reads them. Needs numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stategpt.lazy_names import lazy_names

if TYPE_CHECKING:
    from .documents import TokenizedDocument as TokenizedDocument
    from .layout import Layout as Layout
    from .loader import Loader as Loader
    from .mixture import Mixture as Mixture
    from .packed import Batch as Batch
    from .packed import Packed as Packed
    from .packed import Row as Row
    from .packed import pack as pack
    from .shards import Shards as Shards

__all__ = [
    "Batch",
    "Layout",
    "Loader",
    "Mixture",
    "Packed",
    "Row",
    "Shards",
    "TokenizedDocument",
    "pack",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "documents": ("TokenizedDocument",),
        "shards": ("Shards",),
        "layout": ("Layout",),
        "loader": ("Loader",),
        "mixture": ("Mixture",),
        "packed": (
            "Batch",
            "Packed",
            "Row",
            "pack",
        ),
    },
)
