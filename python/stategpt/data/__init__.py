"""Records of data, readers, the chat format, rankings and shard writing. Needs numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stategpt.lazy_names import lazy_names

if TYPE_CHECKING:
    from . import formats as formats
    from . import sources as sources
    from .agreement import Agreement as Agreement
    from .agreement import measure_agreement as measure_agreement
    from .beginnings import beginnings as beginnings
    from .chat import Segment as Segment
    from .chat import chat_prompt as chat_prompt
    from .chat import encode_conversation as encode_conversation
    from .chat import reward_sequence as reward_sequence
    from .chats.template import ChatTemplate as ChatTemplate
    from .chats.template import EncodedChat as EncodedChat
    from .control_ids import ControlIds as ControlIds
    from .control_ids import ControlTokens as ControlTokens
    from .control_ids import ModelIds as ModelIds
    from .corpus import Corpus as Corpus
    from .corpus import SplitDocuments as SplitDocuments
    from .corpus import read_corpus as read_corpus
    from .corpus import write_corpus as write_corpus
    from .curation import Curated as Curated
    from .curation import CurationSummary as CurationSummary
    from .curation import Removed as Removed
    from .curation import RemovedDocument as RemovedDocument
    from .curation import curate as curate
    from .curation import read_curated as read_curated
    from .formats.chosen_rejected import read_chosen_rejected as read_chosen_rejected
    from .formats.reading import read_conversations as read_conversations
    from .formats.reading import read_prompts as read_prompts
    from .formats.reading import read_ranked as read_ranked
    from .formats.votes import read_votes as read_votes
    from .ranking_batch import RankingBatch as RankingBatch
    from .ranking_batch import RankingBatches as RankingBatches
    from .ranking_batch import ranking_batches as ranking_batches
    from .rankings import RankedGroup as RankedGroup
    from .rankings import Rankings as Rankings
    from .rankings import Rejected as Rejected
    from .rankings import Vote as Vote
    from .records import Conversation as Conversation
    from .records import Document as Document
    from .records import Message as Message
    from .records import Place as Place
    from .records import Prompt as Prompt
    from .records import ToolCall as ToolCall
    from .rejections import Rejection as Rejection
    from .rejections import Tally as Tally
    from .shard_writing import write_shards as write_shards
    from .sources.documents import read_documents as read_documents

__all__ = [
    "Agreement",
    "ChatTemplate",
    "ControlIds",
    "ControlTokens",
    "Conversation",
    "Corpus",
    "Curated",
    "CurationSummary",
    "Document",
    "EncodedChat",
    "Message",
    "ModelIds",
    "Place",
    "Prompt",
    "RankedGroup",
    "RankingBatch",
    "RankingBatches",
    "Rankings",
    "Rejected",
    "Rejection",
    "Removed",
    "RemovedDocument",
    "Segment",
    "SplitDocuments",
    "Tally",
    "ToolCall",
    "Vote",
    "beginnings",
    "chat_prompt",
    "curate",
    "encode_conversation",
    "formats",
    "measure_agreement",
    "ranking_batches",
    "read_chosen_rejected",
    "read_conversations",
    "read_corpus",
    "read_curated",
    "read_documents",
    "read_prompts",
    "read_ranked",
    "read_votes",
    "reward_sequence",
    "sources",
    "write_corpus",
    "write_shards",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "agreement": ("Agreement", "measure_agreement"),
        "beginnings": ("beginnings",),
        "chat": ("Segment", "chat_prompt", "encode_conversation", "reward_sequence"),
        "chats.template": ("ChatTemplate", "EncodedChat"),
        "control_ids": ("ControlIds", "ControlTokens", "ModelIds"),
        "corpus": ("Corpus", "SplitDocuments", "read_corpus", "write_corpus"),
        "curation": ("Curated", "CurationSummary", "Removed", "RemovedDocument", "curate", "read_curated"),
        "formats.chosen_rejected": ("read_chosen_rejected",),
        "formats.reading": ("read_conversations", "read_prompts", "read_ranked"),
        "formats.votes": ("read_votes",),
        "ranking_batch": ("RankingBatch", "RankingBatches", "ranking_batches"),
        "rankings": ("RankedGroup", "Rankings", "Rejected", "Vote"),
        "records": ("Conversation", "Document", "Message", "Place", "Prompt", "ToolCall"),
        "rejections": ("Rejection", "Tally"),
        "shard_writing": ("write_shards",),
        "sources.documents": ("read_documents",),
    },
    submodules=("formats", "sources"),
)
