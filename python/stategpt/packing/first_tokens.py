"""What documents begin with, where that is not the end of text that packing puts before them.

    packed            E d1 ... dn       with targets d1 ... dn E
    begun_with(B)     B d1 ... dn       the model's beginning of text in the place of E
    without_begin     |E| d1 ... dn     E is a separate segment, and d1 has position 0: what reads the document reads
                                        its ids alone

Both return another batch and change neither targets nor loss mask.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .layout import Layout
from .packed import NO_DOCUMENT, Batch


def begun_with(batch: Batch, end: int, begin: int) -> Batch:
    """The batch with `begin` in the place of every `end` that precedes a document. No text holds `end`."""
    first = (batch.tokens == end) & (batch.doc_ids != NO_DOCUMENT)
    return replace(batch, tokens=np.where(first, np.uint32(begin), batch.tokens))


def without_begin(batch: Batch) -> Batch:
    """The batch whose documents do not see the token that packing puts before them.

    For whole documents that see only themselves: packed with `isolate_documents`, none split.
    """
    layout = batch.layout
    index = np.arange(len(batch.tokens))
    of_document = batch.doc_ids != NO_DOCUMENT
    leads = (layout.segment_start == index) & of_document
    inside = of_document & ~leads
    segment = np.where(inside, layout.segment_start + 1, layout.segment_start).astype(layout.segment_start.dtype)
    position = np.where(inside, layout.position - 1, layout.position).astype(layout.position.dtype)
    return replace(batch, layout=Layout(segment, segment, segment, position, layout.row_tokens))
