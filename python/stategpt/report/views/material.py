"""The material: mixture, tokenizer, a tokenized sample and one packed row."""

from collections.abc import Sequence
from typing import Any

from stategpt.report.run_files import RunFiles, field, number
from stategpt.report.wording import count, fixed, percent, visible_token

DOCUMENT_COLOURS = 6
"""Tints that documents of a row take in turn."""
_LONGEST_SAMPLE = 90


def material(files: RunFiles) -> dict[str, Any]:
    """Context of the part on data."""
    pieces, statistics = files.row(), files.statistics()
    return {
        "mixture": _mixture_rows(files),
        "vocab_size": _count_or_none(number(statistics, "vocab_size")),
        "vocab_size_asked": _count_or_none(number(statistics, "vocab_size_asked")),
        "bytes_per_token": _bytes_per_token(statistics),
        "sample": _sample(pieces),
        "row": _row(pieces),
    }


def _count_or_none(value: float | None) -> str | None:
    return None if value is None else count(value)


def _mixture_rows(files: RunFiles) -> list[dict[str, str]]:
    mixture = files.mixture()
    drawn = mixture.get("drawn", {})
    return [
        {
            "source": source,
            "planned": percent(share),
            "drawn": percent(number(drawn, source, "share"), 1),
            "tokens": count(number(drawn, source, "tokens")),
            "epochs": fixed(number(drawn, source, "epochs"), 2),
        }
        for source, share in mixture.get("planned", {}).items()
    ]


def _bytes_per_token(statistics: Any) -> list[dict[str, str]]:
    splits = field(statistics, "bytes_per_token") or {}
    return [
        {
            "source": source,
            "train": fixed(number(splits, source, "train"), 2),
            "validation": fixed(number(splits, source, "validation"), 2),
            "test": fixed(number(splits, source, "test"), 2),
        }
        for source in splits
    ]


def _row(pieces: Sequence[Sequence[Any]]) -> dict[str, Any] | None:
    """The row as chips: text, tint of its document, target below."""
    if not pieces:
        return None
    end = {text for text, _, is_end, _ in pieces if is_end}
    documents = sorted({number_of_document for _, number_of_document, _, _ in pieces})
    return {
        "tokens": len(pieces),
        "documents": len(documents),
        "chips": [
            {
                "text": "EOS" if is_end else visible_token(text),
                "is_end": bool(is_end),
                "tint": documents.index(document) % DOCUMENT_COLOURS,
                "target": "EOS" if target in end else visible_token(target),
                "ends": target in end,
            }
            for text, document, is_end, target in pieces
        ],
    }


def _sample(pieces: Sequence[Sequence[Any]]) -> dict[str, Any] | None:
    """The row's longest document as its tokens, in two tints that alternate."""
    by_document: dict[Any, list[str]] = {}
    for text, document, is_end, _ in pieces:
        if not is_end:
            by_document.setdefault(document, []).append(text)
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
