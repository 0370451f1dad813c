"""Reads the header of GGUF files (versions 2 and 3): metadata and tensor directory, each count checked before its use.

    4 bytes     "GGUF"
    uint32      version
    uint64 x 2  number of tensors, number of metadata
    metadata    string key, uint32 type, value; arrays have the type of their items, their number, then the items
    directory   string name, uint32 dimensions, uint64 of each (the fastest first), uint32 type, uint64 offset
    data        from the next multiple of `general.alignment`: the tensors in turn, each padded to such a multiple

Strings are a uint64 length and UTF-8. Everything is little-endian. The format: ggml's docs/gguf.md. Nothing is mapped
into memory, and nothing is allocated before the bytes for it are known to be in the file.
"""

from .file import SUFFIX as SUFFIX
from .file import GgufFile as GgufFile
from .file import is_gguf as is_gguf
from .file import read_metadata as read_metadata
from .header import HEADER_LIMIT_BYTES as HEADER_LIMIT_BYTES
from .header import MAX_ENTRIES as MAX_ENTRIES
from .header import MAX_ITEMS as MAX_ITEMS
from .tensors import BLOCKS as BLOCKS
from .tensors import GgufTensor as GgufTensor

__all__ = [
    "BLOCKS",
    "HEADER_LIMIT_BYTES",
    "MAX_ENTRIES",
    "MAX_ITEMS",
    "SUFFIX",
    "GgufFile",
    "GgufTensor",
    "is_gguf",
    "read_metadata",
]
