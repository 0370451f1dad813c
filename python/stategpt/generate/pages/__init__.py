"""Keys and values in pages: a pool with counts, sequences that fork, a step over many, an index of prefixes."""

from .memory import PAGE_TOKENS as PAGE_TOKENS
from .memory import page_bytes as page_bytes
from .pool import PagePool as PagePool
from .prefix_index import PrefixCounters as PrefixCounters
from .prefix_index import PrefixIndex as PrefixIndex
from .sequence import PagedSequence as PagedSequence
from .sequence import pages_of as pages_of
from .step import PagedStep as PagedStep

__all__ = [
    "PAGE_TOKENS",
    "PagePool",
    "PagedSequence",
    "PagedStep",
    "PrefixCounters",
    "PrefixIndex",
    "page_bytes",
    "pages_of",
]
