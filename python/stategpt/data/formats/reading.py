"""Reads files of conversations, prompts, rankings and labeled texts in any of the formats.

The format of a file is that of its first records, by their keys; the others must be of it too. Every record is kept, a
copy of a kept one, or rejected with a code: the three add up. `Tally.formats` says which format each file has.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import chain, takewhile
from pathlib import Path
from typing import Any, TypeVar

from stategpt.arguments import several
from stategpt.data.formats.labels import DistinctTexts
from stategpt.data.formats.merging import Judgments
from stategpt.data.formats.registry import Format, Kind, format_named, recognize
from stategpt.data.lines import BadLine
from stategpt.data.ranked_group import RankedGroup
from stategpt.data.records import LATER_TURNS, Conversation, LabeledText, Message, Place, Prompt
from stategpt.data.rejections import Rejection, Tally
from stategpt.data.sources.globs import shown_name
from stategpt.data.sources.records import read_records
from stategpt.errors import CorpusError, InvalidArgument

StrPath = str | os.PathLike[str]
Paths = Iterable[StrPath] | StrPath
Given = tuple[Place, dict[str, Any] | Rejection]
Kept = TypeVar("Kept", Conversation, Prompt)
_FIRST_RECORDS = 20
"""Records of a file that are looked at to recognize its format."""


def read_conversations(
    paths: Paths, *, format: str = "", columns: Mapping[str, str] | None = None, base: StrPath | None = None
) -> tuple[list[Conversation], Tally]:
    """Demonstrations: OpenAI messages, ShareGPT, Alpaca, prompt and response.

    Args:
        paths: files: JSON lines, JSON arrays, CSV (.gz and .zst too), Parquet.
        format: name of their format; by default each file's is recognized by its keys.
        columns: fields of the format that are called otherwise in the files, {"prompt": "question"}.
        base: folder that names of files in places are relative to.

    Returns:
        The conversations in order, and what became of every record. Copies of a kept conversation are left out.

    Raises:
        CorpusError: a file cannot be read or holds no records, its keys are of no format, or no record has a column.
        InvalidArgument: `format` is no format of conversations.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "chats.jsonl"
        >>> _ = path.write_text('{"prompt": "2 + 2?", "response": "4"}\\n')
        >>> conversations, tally = read_conversations(path)
        >>> tally.kept, [message.role for message in conversations[0].messages]
        (1, ['user', 'assistant'])
    """
    return _read("conversation", Conversation, paths, format, columns, base)


def read_prompts(
    paths: Paths, *, format: str = "", columns: Mapping[str, str] | None = None, base: StrPath | None = None
) -> tuple[list[Prompt], Tally]:
    """Prompts to complete, with references where there are any.

    Arguments, result and errors are those of `read_conversations`.
    """
    return _read("prompt", Prompt, paths, format, columns, base)


def read_ranked(
    paths: Paths, *, format: str = "", columns: Mapping[str, str] | None = None, base: StrPath | None = None
) -> tuple[list[RankedGroup], Tally]:
    """Preferences: chosen and rejected, HH dialogues, votes, scores, SHP, and our K-way records.

    Records on the same completions of one prompt, in any order, are one group: the order of each annotator is in its
    `votes`, and a pair is preferred where more annotators prefer it than not. A cycle of majorities stays a cycle.
    Records of one scored completion are ranked with the others of their prompt. Otherwise as `read_conversations`; the
    tally counts records, of which several may be in one group.
    """
    tally, judgments = Tally(), Judgments()
    for form, where, record in _records("ranking", paths, format, columns, base, tally):
        try:
            form.require_keys(record)
            if form.parse_part is not None:
                judgments.add_part(form.parse_part(record, where), tally)
            else:
                judgments.add(_checked(form, RankedGroup, form.parse(record, where)), where, form.counts_votes, tally)
        except (BadLine, InvalidArgument) as bad:
            tally.reject(_rejection(where, bad))
    return judgments.groups(tally), tally


def first_ranked(
    path: StrPath, read_bytes: int, *, format: str = "", columns: Mapping[str, str] | None = None
) -> Iterator[RankedGroup]:
    """The groups that a file begins with, one for each record of its first `read_bytes` bytes, for estimates.

    Votes are not counted, records that are one scored completion or cannot be used are passed over.

    Raises:
        CorpusError: the file cannot be read or its keys are of no format.
    """
    given = takewhile(lambda each: each[0].byte_offset <= read_bytes, read_records(path))
    for form, where, record in _of_file("ranking", given, format, columns or {}, os.fspath(path), Tally()):
        if form.parse_part is not None:
            return
        try:
            form.require_keys(record)
            yield _checked(form, RankedGroup, form.parse(record, where))
        except (BadLine, InvalidArgument):
            continue


def read_labeled(
    paths: Paths, *, format: str = "", columns: Mapping[str, str] | None = None, base: StrPath | None = None
) -> tuple[list[LabeledText], Tally]:
    """Texts with the class of each, every text once.

    Texts that differ only in letter case, white space or Unicode form are copies of one. A text that has several labels
    is rejected with all its copies (`conflicting_label`): nothing says which is right. Otherwise as
    `read_conversations`.
    """
    tally, distinct = Tally(), DistinctTexts()
    for form, where, record in _records("label", paths, format, columns, base, tally):
        try:
            form.require_keys(record)
            distinct.add(_checked(form, LabeledText, form.parse(record, where)), tally)
        except (BadLine, InvalidArgument) as bad:
            tally.reject(_rejection(where, bad))
    return distinct.texts(tally), tally


def _read(
    kind: Kind,
    expected: type[Kept],
    paths: Paths,
    name: str,
    columns: Mapping[str, str] | None,
    base: StrPath | None,
) -> tuple[list[Kept], Tally]:
    tally, found, seen = Tally(), [], set()
    for form, where, record in _records(kind, paths, name, columns, base, tally):
        try:
            form.require_keys(record)
            made = _checked(form, expected, form.parse(record, where))
        except (BadLine, InvalidArgument) as bad:
            tally.reject(_rejection(where, bad))
            continue
        digest = _digest(made.messages, getattr(made, "reference", None))
        if digest in seen:
            tally.drop_duplicate()
            continue
        seen.add(digest)
        found.append(made)
        tally.keep()
        tally.later_turns += len(made.meta.get(LATER_TURNS, ())) if isinstance(made, Prompt) else 0
    return found, tally


def _checked(form: Format, expected: type[Any], made: Any) -> Any:
    if not isinstance(made, expected):
        raise TypeError(f"read() of the format {form.name!r} gave a {type(made).__name__}, not a {expected.__name__}")
    return made


def _rejection(where: Place, bad: BadLine | InvalidArgument) -> Rejection:
    if isinstance(bad, BadLine):
        return Rejection(where, bad.code, bad.message)
    return Rejection(where, "invalid_record", str(bad))


def _digest(messages: Iterable[Message], reference: str | None) -> bytes:
    """Names what a record says: equal records have equal digests."""
    digest = blake2b(digest_size=16)
    for part in (reference, *((m.role, m.text, m.trained) for m in messages)):
        digest.update(repr(part).encode())
    return digest.digest()


def _records(
    kind: Kind,
    paths: Paths,
    name: str,
    columns: Mapping[str, str] | None,
    base: StrPath | None,
    tally: Tally,
) -> Iterator[tuple[Format, Place, dict[str, Any]]]:
    """The records of all files with their formats; those that cannot be read are counted."""
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    several("paths", paths)
    for path in paths:
        shown = os.fspath(path) if base is None else shown_name(Path(path), base)
        yield from _of_file(kind, read_records(path, name=shown), name, columns or {}, shown, tally)


def _of_file(
    kind: Kind, given: Iterator[Given], name: str, columns: Mapping[str, str], file: str, tally: Tally
) -> Iterator[tuple[Format, Place, dict[str, Any]]]:
    first: list[Given] = []
    form = format_named(name, kind) if name else None
    unknown: CorpusError | None = None
    mapped = (_mapped(where, record, columns) for where, record in given)
    for where, record in mapped:
        first.append((where, record))
        if isinstance(record, dict):
            try:
                form = form or recognize(record, kind, what=str(where))
                break
            except CorpusError as error:
                unknown = unknown or error
        if len(first) >= _FIRST_RECORDS and unknown:
            break
    if form is None and unknown:
        raise unknown
    if not first:
        raise CorpusError(f"{file} holds no records; leave it out")
    if form is not None:
        tally.formats[file] = form.name
    usable = False
    for where, record in chain(first, mapped):
        if isinstance(record, Rejection):
            tally.reject(record)
        elif form is not None:
            usable = True
            yield form, where, record
    if columns and not usable:
        raise CorpusError(
            f"{file}: no record has the fields {', '.join(repr(source) for source in columns.values())} that columns "
            f"names; the first rejection is {tally.first[0]}. Correct the names in columns."
        )


def _mapped(where: Place, record: dict[str, Any] | Rejection, columns: Mapping[str, str]) -> Given:
    """The record with its fields called as the format calls them; a Rejection where it lacks one."""
    if isinstance(record, Rejection) or not columns:
        return where, record
    renamed = {key: value for key, value in record.items() if key not in columns.values() and key not in columns}
    for target, source in columns.items():
        if source not in record:
            keys = ", ".join(ascii(key) for key in sorted(map(str, record))[:8])
            message = f'there is no "{source}", which columns names for {target}; the keys are {keys:.200}'
            return where, Rejection(where, "missing_field", message)
        renamed[target] = record[source]
    return where, renamed
