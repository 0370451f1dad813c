"""Tables of a built corpus: what was kept and left out, by code and rule, and lengths; and whether inputs changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stategpt.artifacts import verify
from stategpt.artifacts.measurements import is_published
from stategpt.artifacts.run_folder import RunFolder
from stategpt.cli.format import listing, table
from stategpt.config.parts import CURATION
from stategpt.config.presence import is_own
from stategpt.config.run import RunConfig
from stategpt.data.corpus import SIDES, Corpus, read_corpus
from stategpt.data.curation import Comparison, read_curated
from stategpt.errors import DataError, ForeignArtifact
from stategpt.json_reader import Integer, Items, MapOf, Optional, Record, Text, check_value
from stategpt.quantities import size
from stategpt.visible_text import visible, visible_line

_TALLY = Record(
    {
        "total": Integer(0),
        "kept": Integer(0),
        "duplicate": Integer(0),
        "removed": Optional(MapOf(Integer(0)), {}),
        "rejected": MapOf(Integer(0)),
        "later_turns": Optional(Integer(0), 0),
        "first": Optional(Items(Text(max_chars=1 << 16)), ()),
    }
)
_MOST_EXAMPLES, _SHOWN_CHARS = 5, 100
_BAR = 40
"""Characters of the longest bar of a histogram."""


def stats_text(out: Path) -> str:
    """The tables of the corpus in a run folder.

    Raises:
        DataError: it has not been built.
    """
    folder = RunFolder(out)
    _require_built(folder)
    corpus = read_corpus(folder.corpus)
    parts = [*_inputs(corpus.found), *_split(corpus), *_lengths(corpus), *_curated(folder)]
    return "\n\n".join(parts)


def verify_data(out: Path, run: RunConfig) -> str:
    """Reads every file of the corpus again, and compares the input files with those that it was built from.

    Raises:
        DataError: it has not been built.
        CorruptArtifact: a file of it is damaged.
        ForeignArtifact: an input file was edited, added or removed since; each is named.
    """
    folder = RunFolder(out)
    _require_built(folder)
    manifest = verify(folder.corpus, kind="corpus")
    if is_published(folder.root / CURATION):
        verify(folder.root / CURATION, kind=CURATION)
    said = f"{folder.corpus}: {len(manifest.files)} files have the recorded hashes"
    if not is_own(run):
        return said
    from stategpt.stages.user_data import input_changes, shown

    changes = input_changes(run, folder)
    if changes:
        raise ForeignArtifact(
            f"{visible_line(str(folder.corpus))} was built from other files than there are now. {shown(changes)}. "
            'Restore them, or run with corpus.on_change = "rebuild".'
        )
    return f"{said}; its input files are unchanged"


def _require_built(folder: RunFolder) -> None:
    if not is_published(folder.corpus):
        raise DataError(f"{visible_line(str(folder.root))} holds no corpus yet; build it with `stategpt data build`")


def _inputs(found: Mapping[str, Any]) -> Iterator[str]:
    """One row for each input: total = kept + duplicate + removed + rejected by code, and its first rejected records."""
    counted = check_value(found.get("inputs", {}), MapOf(_TALLY), where="statistics.json: inputs")
    if not counted:
        return
    rows = [["input", "records", "kept", "duplicate", "removed", "rejected"]]
    notes = []
    for name, tally in counted.items():
        codes = ", ".join(f"{count:,} {code}" for code, count in tally["rejected"].items())
        if tally["later_turns"]:
            codes = ", ".join(filter(None, [codes, f"{tally['later_turns']:,} later turns not asked"]))
        by_code = (sum(tally[key].values()) for key in ("removed", "rejected"))
        cells = (*(tally[key] for key in ("total", "kept", "duplicate")), *by_code)
        rows.append([visible_line(name), *(f"{count:,}" for count in cells)])
        if codes:
            notes.append(f"  {visible_line(name)}: {codes}")
            notes += [f"    {visible(text)}" for text in tally["first"]]
    yield "\n".join(["records", table(rows), *notes])


def _split(corpus: Corpus) -> Iterator[str]:
    """Documents with bytes, conversations, rankings, labeled texts and prompts by side."""
    counts = corpus.counts()
    rows = [["split", *SIDES]]
    for name, sides in counts["sources"].items():
        cells = (f"{sides[side]['documents']:,} ({size(sides[side]['bytes'])})" for side in SIDES)
        rows.append([f"sources.{name}", *cells])
    for kind in ("conversations", "rankings", "labels"):
        if any(counts.get(kind, {}).values()):
            rows.append([kind, *(f"{counts[kind][side]:,}" for side in SIDES)])
    for use, sides in counts.get("prompts", {}).items():
        rows.append([f"prompts of {use}", *(f"{sides[side]:,}" for side in SIDES)])
    yield "\n".join(["training, validation and test, in whole groups", table(rows)])


def _lengths(corpus: Corpus) -> Iterator[str]:
    """A histogram of each source's documents by characters, in powers of two."""
    for name, documents in corpus.sources.items():
        counts: dict[int, int] = {}
        for side in SIDES:
            for document in documents.of(side):
                power = max(0, len(document.text).bit_length() - 1)
                counts[power] = counts.get(power, 0) + 1
        if counts:
            most = max(counts.values())
            rows = []
            for power in range(min(counts), max(counts) + 1):
                count = counts.get(power, 0)
                bar = "#" * round(_BAR * count / most)
                rows.append((f"{1 << power:,} to {(2 << power) - 1:,}", f"{count:>9,}  {bar}"))
            yield f"sources.{name}: documents by characters\n{listing(rows)}"


def _curated(folder: RunFolder) -> Iterator[str]:
    """What [curate] kept, changed and removed of each source, by rule, with an example of each rule."""
    target = folder.root / CURATION
    if not is_published(target):
        return
    summary = read_curated(target).summary
    rows = [["curation", "documents", "kept", "edited", "removed"]]
    lines = []
    for name, source in summary.sources.items():
        removed = sum(source.removed.values())
        cells = (source.documents, source.kept, source.edited, removed)
        rows.append([f"sources.{visible_line(name)}", *(f"{count:,}" for count in cells)])
        for rule, count in sorted(source.removed.items(), key=lambda entry: (-entry[1], entry[0])):
            bar = "#" * max(1, round(_BAR * count / max(1, source.documents)))
            lines.append(f"  {visible_line(name)}: {rule:<32} {count:>9,}  {bar}")
        if source.paragraphs_removed:
            cut = f"{source.paragraphs_removed:,} paragraphs ({source.paragraph_characters_removed:,} characters)"
            lines.append(f"  {visible_line(name)}: {cut} that another document has were cut out")
    shown = {example.rule: example for example in reversed(summary.examples)}  # the first of each rule
    for rule in list(summary.removed)[:_MOST_EXAMPLES]:
        example = shown.get(rule)
        if example is not None:
            excerpt = visible_line(example.excerpt, _SHOWN_CHARS)
            lines.append(f"  {rule}: {visible_line(example.where)} {visible_line(example.evidence)}: {excerpt}")
    title = "removed by [curate]; curation/removed.jsonl.zst has a record of each document"
    yield "\n".join([title, table(rows), *lines, *_compared(summary.compared)])


def _compared(compared: Comparison) -> Iterator[str]:
    """What the comparing steps looked for, and could not see."""
    if compared.prompts:
        yield f"  documents were searched for {compared.prompts:,} evaluation prompts"
    if compared.unsearchable:
        yield (
            f"  {compared.unsearchable:,} of those cannot be found in documents: they have fewer than 4 words, or "
            "phrases that over 16 prompts share"
        )
        yield from (f"    {visible_line(prompt)}" for prompt in compared.unsearchable_first)
    if compared.skipped_pairs:
        yield (
            f"  {compared.skipped_pairs:,} pairs were not compared as near-duplicates: over 1,000 different documents "
            "agree in one band"
        )
