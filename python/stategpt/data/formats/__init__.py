"""Formats of demonstrations, prompts, preferences and labeled texts, and the functions that read files of them.

    conversations, tally = read_conversations(["chats.jsonl", "alpaca.json"])
    groups, tally = read_ranked("hh.jsonl.gz")

`FORMATS` has every format by name; a module of this folder with `KIND`, `KEYS` and `read` is one (`registry`).
docs/guides/formats.md shows a record of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stategpt.lazy_names import lazy_names

if TYPE_CHECKING:
    from .chosen_rejected import read_chosen_rejected as read_chosen_rejected
    from .reading import read_conversations as read_conversations
    from .reading import read_labeled as read_labeled
    from .reading import read_prompts as read_prompts
    from .reading import read_ranked as read_ranked
    from .registry import FORMATS as FORMATS
    from .registry import Format as Format
    from .registry import recognize as recognize
    from .votes import read_votes as read_votes

__all__ = [
    "FORMATS",
    "Format",
    "read_chosen_rejected",
    "read_conversations",
    "read_labeled",
    "read_prompts",
    "read_ranked",
    "read_votes",
    "recognize",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "chosen_rejected": ("read_chosen_rejected",),
        "reading": ("read_conversations", "read_labeled", "read_prompts", "read_ranked"),
        "registry": ("FORMATS", "Format", "recognize"),
        "votes": ("read_votes",),
    },
)
