"""Chat formats as data: typed templates, those of other models included, and what they make of a conversation."""

from __future__ import annotations

from .template import ChatTemplate as ChatTemplate
from .template import EncodedChat as EncodedChat

__all__ = ["ChatTemplate", "EncodedChat"]
