"""What was read: of each input what was kept, equal to another, removed or rejected; what curation removed by rule."""

from collections.abc import Iterator, Mapping
from typing import Any

from stategpt.report.run_files import Json, RunFiles, number
from stategpt.report.wording import count, percent

_MOST_ROWS = 100
"""Inputs, and codes or rules of one of them, that are shown; a file may hold any number."""


def inputs(files: RunFiles) -> dict[str, Any]:
    """Context of the tables of inputs and of curation; empty where the corpus has no such counts."""
    counted = files.corpus_counts
    return {
        "rows": _rows(counted.get("inputs")),
        "curation": _curation(counted.get("curation")),
        "compared": list(_compared(_counts(counted.get("compared")))),
    }


def _rows(tallies: Any) -> list[dict[str, Any]]:
    """A row for each input whose counts add up to its total."""
    found = []
    for name, tally in _items(tallies):
        kept, duplicate = number(tally, "kept"), number(tally, "duplicate")
        if kept is None or duplicate is None:
            continue
        rejected, removed = _counts(tally.get("rejected")), _counts(tally.get("removed"))
        total = kept + duplicate + sum(removed.values()) + sum(rejected.values())
        found.append(
            {
                "name": name,
                "total": count(total),
                "kept": count(kept),
                "duplicate": count(duplicate),
                "removed": count(sum(removed.values())),
                "rejected": ", ".join(f"{count(n)} {code}" for code, n in rejected.items()) or "0",
                "later_turns": count(later) if (later := number(tally, "later_turns")) else "",
                "width": round(100 * kept / total, 2) if total else 0,
            }
        )
    return found


def _curation(sources: Any) -> list[dict[str, Any]]:
    """A row for each source: documents kept, and bars of those removed by each rule, the most frequent first."""
    found = []
    for name, counts in _items(sources):
        kept = number(counts, "kept")
        removed = _counts(counts.get("removed") if isinstance(counts, Mapping) else None)
        if kept is None:
            continue
        total = kept + sum(removed.values())
        bars = [("kept", kept), *sorted(removed.items(), key=lambda item: -item[1])]
        found.append(
            {
                "name": name,
                "total": count(total),
                "paragraphs": _paragraphs(counts.get("paragraphs")),
                "bars": [
                    {
                        "rule": rule,
                        "count": count(n),
                        "share": percent(n / total, 1) if total else "",
                        "width": round(100 * n / total, 2) if total else 0,
                    }
                    for rule, n in bars
                ],
            }
        )
    return found


def _compared(counts: Mapping[str, float]) -> Iterator[str]:
    """What the comparing steps of curation looked for, and could not see."""
    if prompts := counts.get("prompts"):
        hidden = counts.get("unsearchable", 0)
        found = (
            f"; {count(hidden)} of them cannot be found, as they are too short or of common phrases" if hidden else ""
        )
        yield f"Documents were searched for {count(prompts)} evaluation prompts{found}."
    if skipped := counts.get("skipped_pairs"):
        yield f"{count(skipped)} pairs of documents were not compared: over 1,000 agree in one band."


def _paragraphs(cut: Any) -> str:
    """What was cut out of documents that were kept; empty where nothing was."""
    paragraphs, characters = number(cut, "count"), number(cut, "characters")
    if not paragraphs or characters is None:
        return ""
    return f"{count(paragraphs)} paragraphs ({count(characters)} characters) that another document has were cut out."


def _items(value: Any) -> list[tuple[str, Json]]:
    return [(str(name), item) for name, item in value.items()][:_MOST_ROWS] if isinstance(value, Mapping) else []


def _counts(value: Any) -> dict[str, float]:
    """The numbers of 0 or more of a mapping."""
    found = {name: number({"n": n}, "n") for name, n in _items(value)}
    return {name: n for name, n in found.items() if n is not None and 0 <= n < 1e15}
