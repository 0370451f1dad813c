"""What the files of a run hold, found in a moment: sizes by the file system, records by reading the first megabytes.

Reads no text into a corpus and needs no numpy, so that `stategpt plan` and `init` answer at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stategpt.cli.ranked_lengths import ranked_lengths
from stategpt.config.corpus import min_groups
from stategpt.config.planner import Assumptions
from stategpt.config.presence import missing
from stategpt.config.run import RunConfig
from stategpt.errors import CorpusError
from stategpt.quantities import size

READ_BYTES = 4 << 20
"""Of a file of records, at most this much is read; the rest is estimated from its size."""
_PREPARED_BYTES_PER_S = 2e6
"""Corpus, tokenizer and shards on two cores, roughly."""
_DEFAULT_LENGTHS = (Assumptions().prompt_tokens, Assumptions().answer_tokens)
_BYTES_PER_TOKEN = 3.5
"""Of English text under a tokenizer of a few thousand tokens, roughly."""


@dataclass(frozen=True)
class Surveyed:
    """The files of one setting.

    Attributes:
        setting: what names them, as "sources.wiki" or "sft.data".
        noun: what a record is, in the plural.
        files: how many there are.
        bytes: their size on disk.
        records: records, or files of text.
        is_exact: whether every record was counted, not estimated.
        unread: records that could not be read, of those that were looked at.
        first_unread: the first of them and why; "" without any.
    """

    setting: str
    noun: str
    files: int
    bytes: int
    records: int
    is_exact: bool
    unread: int = 0
    first_unread: str = ""

    def __str__(self) -> str:
        """As in "3 files, 1.2 MB, about 4,100 conversations"."""
        about = "" if self.is_exact else "about "
        files = f"{self.files:,} file{'' if self.files == 1 else 's'}"
        bad = f", {self.unread:,} cannot be read: {self.first_unread}" if self.unread else ""
        return f"{files}, {size(self.bytes)}, {about}{self.records:,} {self.noun}{bad}"


def named_files(run: RunConfig) -> list[tuple[str, str, tuple[str, ...]]]:
    """(setting, what a record is, patterns) of every setting of the run that names files."""
    named = [(f"sources.{name}", "documents", source.paths) for name, source in run.sources.items()]
    named += [
        ("sft.data", "conversations", run.sft.data),
        ("rankings.data", "rankings", run.rankings.data),
        ("rankings.prompts", "prompts", run.rankings.prompts),
        ("rl.prompts", "prompts", run.rl.prompts),
        ("evaluate.prompts", "prompts", run.evaluate.prompts),
        ("classify.data", "labeled texts", run.classify.data),
    ]
    return [entry for entry in named if entry[2]]


def survey(run: RunConfig) -> list[Surveyed]:
    """Looks at every file that the run names.

    Raises:
        CorpusError: a pattern that matches nothing, or a file that cannot be read.
    """
    from stategpt.data.sources.globs import files_of

    return [surveyed(setting, noun, files_of(patterns, Path.cwd(), ())) for setting, noun, patterns in named_files(run)]


def surveyed(setting: str, noun: str, files: Sequence[Path]) -> Surveyed:
    """Looks at the files of one setting."""
    total = records = unread = 0
    is_exact, first = True, ""
    for path in files:
        total += os.stat(path).st_size
        counted = count_records(path)
        records, is_exact = records + counted.records, is_exact and counted.is_exact
        unread, first = unread + counted.unread, first or counted.first_unread
    return Surveyed(setting, noun, len(files), total, records, is_exact, unread, first)


@dataclass(frozen=True)
class Counted:
    """Records of one file; see `Surveyed`."""

    records: int
    is_exact: bool = True
    unread: int = 0
    first_unread: str = ""


def count_records(path: Path) -> Counted:
    """Counts the records of a file; beyond `READ_BYTES` by its size, where it is not packed. A text file has one."""
    from stategpt.data.rejections import Rejection
    from stategpt.data.sources.records import PARQUET, read_records, record_format

    form = record_format(path)
    if not form:
        return Counted(1)
    if form == PARQUET:
        return _count_rows(path)
    records = unread = read = 0
    first = ""
    for where, record in read_records(path):
        if where.byte_offset > READ_BYTES:
            read = where.byte_offset
            break
        if isinstance(record, Rejection):
            unread, first = unread + 1, first or str(record)
        else:
            records += 1
    if read:
        records = round(records * max(1.0, os.stat(path).st_size / read))
    return Counted(records, not read, unread, first)


def _count_rows(path: Path) -> Counted:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError:  # the run itself says what to install
        return Counted(0, is_exact=False)
    try:
        return Counted(parquet.ParquetFile(path).metadata.num_rows)
    except Exception as error:  # damaged files raise many classes
        raise CorpusError(f"{path} is not a whole Parquet file ({error}); write or fetch it again") from error


def lacking(run: RunConfig, found: Sequence[Surveyed]) -> Iterator[str]:
    """What the run needs and neither its settings nor its files give, as sentences."""
    yield from missing(run)
    needed = min_groups(run.corpus.validation_share, run.corpus.test_share)
    for each in found:
        if each.setting == "evaluate.prompts":  # all of it is held out
            continue
        groups = each.files if _by_file(run, each.setting) else each.records
        if groups < needed:
            yield (
                f"{each.setting} has {groups} {'files' if _by_file(run, each.setting) else each.noun}; to hold out "
                f"corpus.validation_share = {run.corpus.validation_share:g} and corpus.test_share = "
                f"{run.corpus.test_share:g} takes {needed}: {needed - groups} are missing. Give more, or raise the "
                "shares"
            )
    yield from _too_few_labels(run, found)


def _too_few_labels(run: RunConfig, found: Sequence[Surveyed]) -> Iterator[str]:
    """Labeled texts that cannot fill the largest label set, whatever their classes are."""
    held_out = run.corpus.validation_share + run.corpus.test_share
    for each in found:
        trained = round(each.records * (1 - held_out))
        if each.setting == "classify.data" and trained < run.classify.label_counts[-1]:
            yield (
                f"classify.label_counts reaches {run.classify.label_counts[-1]:,}, and of the {each.records:,} labeled "
                f"texts some {trained:,} are trained on (corpus.validation_share, corpus.test_share). Give more texts, "
                "or lower the counts"
            )


def _by_file(run: RunConfig, setting: str) -> bool:
    section, _, name = setting.partition(".")
    return section == "sources" and run.sources[name].group == "file"


def expecting(run: RunConfig, found: Sequence[Surveyed], assumed: Assumptions) -> Assumptions:
    """The plan's assumptions with what is known of the user's files, where they are not set: numbers of records, mean
    lengths of the conversations or else of the ranked answers, the longest ranked group.
    """
    bytes_of = {each.setting: each.bytes for each in found}
    records_of = {each.setting: each.records for each in found}
    trained = 1 - run.corpus.validation_share - run.corpus.test_share
    conversations = records_of.get("sft.data", 0)
    total = sum(bytes_of.values())
    expected = {
        "conversations": round(conversations * trained),
        "rankings": round(records_of.get("rankings.data", 0) * trained),
        "seconds": 5.0 + total / _PREPARED_BYTES_PER_S,
    }
    ranked = ranked_lengths(run, READ_BYTES, _BYTES_PER_TOKEN)
    if ranked:
        expected["longest_group"] = ranked.longest_group
    if (assumed.prompt_tokens, assumed.answer_tokens) == _DEFAULT_LENGTHS:
        if conversations:
            half = max(4, min(tokens_of(bytes_of["sft.data"] / conversations), run.sft_row_tokens) // 2)
            assumed = replace(assumed, prompt_tokens=half, answer_tokens=half)
        elif ranked:
            assumed = replace(assumed, prompt_tokens=ranked.prompt, answer_tokens=ranked.answer)
    return assumed.expecting(expected)


def tokens_of(count: float) -> int:
    """Tokens that this many bytes of text are, roughly."""
    return round(count / _BYTES_PER_TOKEN)
