"""The material: sources and mixture, the tokenizer on one document, and packed rows as the model reads them."""

import itertools
from collections.abc import Sequence
from typing import Any

from stategpt.evaluate.records import DrawnSource, RowToken
from stategpt.quantities import size
from stategpt.report.run_files import RunFiles, number
from stategpt.report.wording import count, fixed, percent, visible_token
from stategpt.visible_text import visible

DOCUMENT_COLORS = 6
"""Tints that documents of a row take in turn."""
_MAX_DOCUMENT_TOKENS = 70
_CELL_CONTEXT = 9
"""Tokens of context behind the cell that is explained, if its document has as many."""


def material(files: RunFiles) -> dict[str, Any]:
    """Context of the part on data."""
    rows, statistics = files.rows().rows, files.statistics()
    return {
        "sources": _sources(files),
        "vocab_size": _count_or_none(number(statistics, "vocab_size")),
        "vocab_size_asked": _count_or_none(number(statistics, "vocab_size_asked")),
        "bytes_per_token": _bytes_per_token(statistics),
        "document": _document(rows),
        "batch": [_row(tokens) for tokens in rows if tokens],
        "cell": _cell(rows[0]) if rows else None,
        "mask": _mask(rows) if any(rows) else None,
    }


def _count_or_none(value: float | None) -> str | None:
    return None if value is None else count(value)


def _sources(files: RunFiles) -> list[dict[str, Any]]:
    """One row a source, in the order of the settings: what it is and what the mixture drew of it."""
    drawn, bits = files.mixture.drawn, files.evaluations.base.sources
    return [
        _source(name, share, drawn.get(name, DrawnSource()), index)
        | {"bits": fixed(bits[name].bits_per_byte, 2) if name in bits else fixed(None)}
        for index, (name, share) in enumerate(files.mixture.planned.items())
    ]


def _source(name: str, planned: float, drawn: DrawnSource, index: int) -> dict[str, Any]:
    return {
        "source": name,
        "tint": index % DOCUMENT_COLORS,
        "width": round(100 * max(0.0, min(1.0, drawn.share if drawn.share is not None else planned)), 2),
        "planned": percent(planned),
        "drawn": percent(drawn.share, 1),
        "tokens": count(drawn.tokens),
        "epochs": fixed(drawn.epochs, 2),
        "documents": count(drawn.documents),
        "bytes": "–" if drawn.bytes is None else size(drawn.bytes),
    }


def _bytes_per_token(statistics: Any) -> list[dict[str, str]]:
    splits = statistics.get("bytes_per_token") or {}
    return [
        {
            "source": source,
            "train": fixed(number(splits, source, "train"), 2),
            "validation": fixed(number(splits, source, "validation"), 2),
            "test": fixed(number(splits, source, "test"), 2),
        }
        for source in splits
    ]


def _ends(tokens: Sequence[RowToken]) -> set[str]:
    return {token.text for token in tokens if token.is_end}


def _row(tokens: Sequence[RowToken]) -> dict[str, Any]:
    """The row as chips: text, tint of its document, target below."""
    ends = _ends(tokens)
    documents = sorted({token.document for token in tokens})
    return {
        "tokens": len(tokens),
        "documents": len(documents),
        "chips": [
            {
                "text": "EOS" if token.is_end else visible_token(token.text),
                "is_end": token.is_end,
                "tint": documents.index(token.document) % DOCUMENT_COLORS,
                "target": "EOS" if token.target in ends else visible_token(token.target),
                "ends": token.target in ends,
                "id": token.id,
            }
            for token in tokens
        ],
    }


def _cell(row: Sequence[RowToken]) -> dict[str, Any] | None:
    """One position of a row: what the model reads there, and what it has to predict."""
    if not row:
        return None
    starts = {token.document: at for at, token in reversed(list(enumerate(row)))}
    depths = [at - starts[token.document] for at, token in enumerate(row)]
    at = next(
        (at for at, depth in enumerate(depths) if depth >= _CELL_CONTEXT), max(range(len(row)), key=depths.__getitem__)
    )
    ends = _ends(row)

    def shown(text: str) -> str:
        return "EOS" if text in ends else visible_token(text)

    return {
        "context": [shown(token.text) for token in row[starts[row[at].document] : at]],
        "cell": shown(row[at].text),
        "target": shown(row[at].target),
    }


def _mask(rows: Sequence[Sequence[RowToken]]) -> dict[str, Any]:
    """Who sees whom in the row of most documents: a triangle each, corners in tokens from the row's start."""
    row = max(rows, key=lambda tokens: len({token.document for token in tokens}))
    starts = [at for at, token in enumerate(row) if at == 0 or token.document != row[at - 1].document]
    edges = [*starts, len(row)]
    return {
        "row": rows.index(row) + 1,
        "tokens": len(row),
        "triangles": [
            {"start": start, "end": end, "tint": number % DOCUMENT_COLORS}
            for number, (start, end) in enumerate(itertools.pairwise(edges))
        ],
    }


def _document(rows: Sequence[Sequence[RowToken]]) -> dict[str, Any] | None:
    """A whole document of the rows as raw text, tokens and ids: the longest that has at most 70 tokens."""
    whole: list[list[RowToken]] = []
    for row in rows:
        ends = _ends(row)
        by_document: dict[int, list[RowToken]] = {}
        for token in row:
            by_document.setdefault(token.document, []).append(token)
        whole += [
            tokens
            for tokens in by_document.values()
            if len(tokens) > 1 and tokens[0].is_end and tokens[-1].target in ends
        ]
    if not whole:
        return None
    fitting = [tokens for tokens in whole if len(tokens) <= _MAX_DOCUMENT_TOKENS]
    tokens = (max(fitting, key=len) if fitting else min(whole, key=len))[1:]
    text = "".join(token.text for token in tokens)
    byte_count = len(text.encode("utf-8", "replace"))
    return {
        "raw": visible(text),
        "tokens": len(tokens),
        "bytes": byte_count,
        "bytes_per_token": fixed(byte_count / len(tokens), 2),
        "chips": [{"text": visible_token(token.text), "id": token.id} for token in tokens[:_MAX_DOCUMENT_TOKENS]],
        "shortened": len(tokens) > _MAX_DOCUMENT_TOKENS,
    }
