"""Beginnings of held-out documents: what a base model continues, to show what it has learned."""

from __future__ import annotations

import re

from stategpt.arguments import whole
from stategpt.data.corpus import Corpus
from stategpt.data.splitting import Side
from stategpt.errors import InvalidArgument
from stategpt.randomness import permutation
from stategpt.tokenizer import AnyTokenizer

BEGINNING_CHARACTERS = 60
"""Length of a beginning, where no tokenizer measures it; cut back to the end of a word."""
_LEAST_CHARACTERS = 8
_TRIES = 16
_CUT = re.compile(r"\s+\S*\Z")


def beginnings(
    corpus: Corpus,
    count: int,
    tok: AnyTokenizer | None = None,
    *,
    tokens: int = 16,
    seed: int = 0,
    side: Side = "validation",
) -> tuple[str, ...]:
    """Beginnings of documents that no model is trained on, of all sources in turn.

    Args:
        corpus: the corpus.
        count: how many; fewer where there are fewer documents.
        tok: measures a beginning in tokens; without it they have up to 60 characters.
        tokens: largest number of tokens of a beginning.
        seed: chooses the documents.
        side: whose documents.

    Returns:
        Texts of at least 8 characters, none twice, that end with a whole word where there is one.
    """
    whole("count", count, least=0)
    whole("tokens", tokens, least=1)
    if side == "train":
        raise InvalidArgument('side is "train"; beginnings are of held-out documents: "validation" or "test"')
    waiting = {
        name: iter(permutation(len(split.of(side)), seed, "beginnings", name)[: _TRIES * count].tolist())
        for name, split in sorted(corpus.sources.items())
    }
    found: dict[str, None] = {}
    while waiting and len(found) < count:
        for name in list(waiting):
            number = next(waiting[name], None)
            if number is None:
                del waiting[name]
                continue
            text = _beginning(corpus.sources[name].of(side)[number].text, tok, tokens)
            if text is not None and len(found) < count:
                found.setdefault(text)
    return tuple(found)


def _beginning(text: str, tok: AnyTokenizer | None, tokens: int) -> str | None:
    """The beginning of a text; None where nothing of it is left to continue."""
    if tok is None:
        cut = text[:BEGINNING_CHARACTERS]
    else:
        ids = tok.encode(text[: 64 * tokens])[:tokens]
        cut = tok.decode(ids).rstrip("\ufffd")
    if len(cut) >= len(text):
        return None
    word = _CUT.sub("", cut) if not text[len(cut)].isspace() else cut.rstrip()
    whole_words = word if len(word) >= _LEAST_CHARACTERS else cut
    return whole_words if len(whole_words.strip()) >= _LEAST_CHARACTERS else None
