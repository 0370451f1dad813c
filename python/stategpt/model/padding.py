"""The id that pads rows of sequences which are read at one token, as a reward model and a classifier read theirs.

`transformers` reads the last token that is no padding: what a text can end with must not pad. Which tokens a
vocabulary calls its padding is said by `data.control_ids.padding_names`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from stategpt.data.control_ids import UNKNOWN_NAMES, padding_names
from stategpt.errors import ForeignArtifact
from stategpt.tokenizer import AnyTokenizer

from .special_ids import SpecialIds


def with_padding(tok: AnyTokenizer, ids: SpecialIds) -> SpecialIds:
    """Returns the ids of a classifier: `ids` with a padding that is not what ends a text.

    None where the tokenizer has no other special token: `transformers` then reads one text at a time, and refuses more.
    """
    return replace(ids, pad=_padding_beside(tok, ids, ids.eos[:1]))


def scoring_pad(tok: AnyTokenizer, ids: SpecialIds, reward_id: int | None) -> int:
    """Returns the id that pads rows of a reward model.

    It differs from what a scored text can end with: the reward token, or what ends an answer.

    Raises:
        ForeignArtifact: the vocabulary has no such token.
    """
    last = {*ids.eos} if reward_id is None else {reward_id, *ids.eos}
    found = _padding_beside(tok, ids, last)
    if found is None and reward_id is not None:  # an end of text that pads is never the last token there
        found = next((number for number in ids.eos if number != reward_id), None)
    if found is None:
        raise ForeignArtifact(
            f"the tokenizer has {len(tok.special_tokens)} special tokens, and each of them can end a scored text: "
            "nothing is left that pads a batch. Add a token for padding to the tokenizer, and a row to the embedding."
        )
    return found


def _padding_beside(tok: AnyTokenizer, ids: SpecialIds, last: Collection[int]) -> int | None:
    """The model's own padding, else what the vocabulary calls so, else its unknown token, else a special token that no
    text here begins with, else that one; never one of `last`.
    """
    special = tok.special_tokens
    named = [special[name] for name in (*padding_names(tok), *UNKNOWN_NAMES) if name in special]
    unread = [number for number in special.values() if number != ids.bos]
    candidates = (ids.pad, *named, *unread, ids.bos)
    return next((number for number in candidates if number is not None and number not in last), None)
