"""Documents, conversations and rankings as tokens: readers, the chat format, shard writing. Needs numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stategpt.lazy_names import lazy_names

if TYPE_CHECKING:
    from .chat import ControlTokens as ControlTokens
    from .chat import Segment as Segment
    from .chat import chat_prompt as chat_prompt
    from .chat import reward_sequence as reward_sequence
    from .chat import sft_segment as sft_segment
    from .documents import read_documents as read_documents
    from .preferences import read_chosen_rejected as read_chosen_rejected
    from .preferences import read_votes as read_votes
    from .ranking_batches import RankingBatch as RankingBatch
    from .ranking_batches import RankingBatches as RankingBatches
    from .rankings import Group as Group
    from .rankings import Rankings as Rankings
    from .rankings import Rejected as Rejected
    from .shard_writing import write_shards as write_shards

__all__ = [
    "ControlTokens",
    "Group",
    "RankingBatch",
    "RankingBatches",
    "Rankings",
    "Rejected",
    "Segment",
    "chat_prompt",
    "read_chosen_rejected",
    "read_documents",
    "read_votes",
    "reward_sequence",
    "sft_segment",
    "write_shards",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "chat": (
            "ControlTokens",
            "Segment",
            "chat_prompt",
            "reward_sequence",
            "sft_segment",
        ),
        "documents": ("read_documents",),
        "preferences": (
            "read_chosen_rejected",
            "read_votes",
        ),
        "ranking_batches": (
            "RankingBatch",
            "RankingBatches",
        ),
        "rankings": (
            "Group",
            "Rankings",
            "Rejected",
        ),
        "shard_writing": ("write_shards",),
    },
)
