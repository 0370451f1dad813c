"""The material: mixture, tokenizer, a tokenized sample and one packed row."""

from collections.abc import Sequence
from typing import Any

from stategpt.evaluate.records import DrawnSource, RowToken
from stategpt.report.run_files import RunFiles, number
from stategpt.report.wording import count, fixed, percent, visible_token

DOCUMENT_COLOURS = 6
"""Tints that documents of a row take in turn."""
_LONGEST_SAMPLE = 90


def material(files: RunFiles) -> dict[str, Any]:
    """Context of the part on data."""
    rows, statistics = files.rows().rows, files.statistics()
    tokens = rows[0] if rows else ()
    return {
        "mixture": _mixture_rows(files),
        "vocab_size": _count_or_none(number(statistics, "vocab_size")),
        "vocab_size_asked": _count_or_none(number(statistics, "vocab_size_asked")),
        "bytes_per_token": _bytes_per_token(statistics),
        "sample": _sample(tokens),
        "row": _row(tokens),
    }


def _count_or_none(value: float | None) -> str | None:
    return None if value is None else count(value)


def _mixture_rows(files: RunFiles) -> list[dict[str, str]]:
    drawn = files.mixture.drawn
    return [_mixture_row(name, share, drawn.get(name, DrawnSource())) for name, share in files.mixture.planned.items()]


def _mixture_row(name: str, planned: float, drawn: DrawnSource) -> dict[str, str]:
    return {
        "source": name,
        "planned": percent(planned),
        "drawn": percent(drawn.share, 1),
        "tokens": count(drawn.tokens),
        "epochs": fixed(drawn.epochs, 2),
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


def _row(tokens: Sequence[RowToken]) -> dict[str, Any] | None:
    """The row as chips: text, tint of its document, target below."""
    if not tokens:
        return None
    end = {token.text for token in tokens if token.is_end}
    documents = sorted({token.document for token in tokens})
    return {
        "tokens": len(tokens),
        "documents": len(documents),
        "chips": [
            {
                "text": "EOS" if token.is_end else visible_token(token.text),
                "is_end": token.is_end,
                "tint": documents.index(token.document) % DOCUMENT_COLOURS,
                "target": "EOS" if token.target in end else visible_token(token.target),
                "ends": token.target in end,
            }
            for token in tokens
        ],
    }


def _sample(row: Sequence[RowToken]) -> dict[str, Any] | None:
    """The row's longest document as its tokens, in two tints that alternate."""
    by_document: dict[int, list[str]] = {}
    for token in row:
        if not token.is_end:
            by_document.setdefault(token.document, []).append(token.text)
    if not by_document:
        return None
    tokens = max(by_document.values(), key=len)
    size = sum(len(text.encode("utf-8", "replace")) for text in tokens)
    return {
        "tokens": len(tokens),
        "bytes": size,
        "bytes_per_token": fixed(size / len(tokens), 2),
        "chips": [visible_token(text) for text in tokens[:_LONGEST_SAMPLE]],
        "shortened": len(tokens) > _LONGEST_SAMPLE,
    }
