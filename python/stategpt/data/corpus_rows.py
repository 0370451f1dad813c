"""Records of a corpus as lines of JSON, and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stategpt.data.lines import MAX_LINE_BYTES, BadLine, Source, read_lines
from stategpt.data.records import ROLES, Conversation, Document, LabeledText, Message, Place, Prompt, ToolCall
from stategpt.errors import CorpusError, CorruptArtifact
from stategpt.json_reader import Flag, Integer, Items, Kind, MapOf, Optional, Record, Text, check_value

_ANY_LENGTH = Text(max_chars=2**32)
PLACE = Record({"file": Text(), "line": Integer(1), "byte_offset": Integer(0)}, closed=True)
_SHARED: dict[str, Kind] = {"group": Optional(Text(), ""), "where": Optional(PLACE), "meta": Optional(MapOf())}
_TOOL_CALL = Record({"name": Text(), "arguments": MapOf(), "id": Optional(Text(), "")}, closed=True)
_MESSAGE = Record(
    {
        "role": Text(ROLES),
        "content": _ANY_LENGTH,
        "trained": Optional(Flag()),
        "tool_calls": Optional(Items(_TOOL_CALL), []),
    },
    closed=True,
)
_MESSAGES = Items(_MESSAGE, min_items=1)
DOCUMENT = Record({"text": _ANY_LENGTH, **_SHARED}, closed=True)
CONVERSATION = Record({"messages": _MESSAGES, **_SHARED}, closed=True)
LABELED = Record({"text": _ANY_LENGTH, "label": Text(max_chars=200), **_SHARED}, closed=True)
PROMPT = Record({"messages": _MESSAGES, "reference": Optional(_ANY_LENGTH), **_SHARED}, closed=True)


def document_row(document: Document) -> dict[str, Any]:
    """A document as JSON values."""
    meta = {"meta": dict(document.meta)} if document.meta else {}
    return {"group": document.group, "text": document.text, **where_row(document.where), **meta}


def conversation_row(conversation: Conversation) -> dict[str, Any]:
    """A conversation as JSON values."""
    return {
        "messages": [message_row(message) for message in conversation.messages],
        "group": conversation.group,
        "meta": dict(conversation.meta),
        **where_row(conversation.where),
    }


def prompt_row(prompt: Prompt) -> dict[str, Any]:
    """A prompt as JSON values."""
    row: dict[str, Any] = {"messages": [message_row(message) for message in prompt.messages], "group": prompt.group}
    if prompt.reference is not None:
        row["reference"] = prompt.reference
    return row | {"meta": dict(prompt.meta), **where_row(prompt.where)}


def labeled_row(labeled: LabeledText) -> dict[str, Any]:
    """A labeled text as JSON values."""
    meta = {"meta": dict(labeled.meta)} if labeled.meta else {}
    return {
        "text": labeled.text,
        "label": labeled.label,
        "group": labeled.group,
        **meta,
        **where_row(labeled.where),
    }


def labeled_of(row: Mapping[str, Any]) -> LabeledText:
    """The labeled text of a checked row."""
    return LabeledText(row["text"], row["label"], row["group"], place_of(row["where"]), row["meta"] or {})


def document_of(row: Mapping[str, Any], source: str) -> Document:
    """The document of a checked row."""
    return Document(row["text"], source, row["group"], place_of(row["where"]), row["meta"] or {})


def conversation_of(row: Mapping[str, Any]) -> Conversation:
    """The conversation of a checked row."""
    return Conversation(_messages(row), row["group"], place_of(row["where"]), row["meta"] or {})


def prompt_of(row: Mapping[str, Any]) -> Prompt:
    """The prompt of a checked row."""
    return Prompt(_messages(row), row["reference"], row["group"], place_of(row["where"]), row["meta"] or {})


def encoded(row: Mapping[str, Any], name: object) -> bytes:
    """A row as one line, with its newline.

    Raises:
        CorpusError: it takes more than a line may; `name`, as a string, says which.
    """
    line = json.dumps(row, ensure_ascii=False).encode()
    if len(line) > MAX_LINE_BYTES:
        raise CorpusError(
            f"{name} takes {len(line):,} bytes, more than the {MAX_LINE_BYTES:,} of a line; split the document"
        )
    return line + b"\n"


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a file of rows; folders above it are created.

    Raises:
        CorpusError: a row takes more than a line may.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for number, row in enumerate(rows, start=1):
            file.write(encoded(row, f"record {number} of {path.parent.name} ({path.stem})"))


def read_rows(path: Path, kind: Kind) -> Iterator[dict[str, Any]]:
    """The rows of a file, each checked to be of `kind`.

    Raises:
        CorruptArtifact: a line is no such row; it is named with its byte.
    """
    with Source(path, CorruptArtifact) as source:
        for line in read_lines(source):
            yield checked_row(line.json_object, kind, f"{path}:{line.number} (byte {line.byte_offset})")


def checked_row(parse: Any, kind: Kind, where: str) -> dict[str, Any]:
    """What `parse` gives, if it is of `kind`; faults are of a damaged corpus."""
    try:
        row = parse()
    except BadLine as bad:
        raise CorruptArtifact(f"{where}: {bad.message}. Restore the file from a copy.") from None
    found: dict[str, Any] = check_value(row, kind, where=where, error=CorruptArtifact)
    return found


def _messages(row: Mapping[str, Any]) -> tuple[Message, ...]:
    return tuple(
        Message(**{**message, "tool_calls": [ToolCall(**call) for call in message["tool_calls"]]})
        for message in row["messages"]
    )


def message_row(message: Message) -> dict[str, Any]:
    """A message as JSON values."""
    row: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        row["tool_calls"] = [_tool_call_row(call) for call in message.tool_calls]
    return row if message.trained == (message.role == "assistant") else row | {"trained": message.trained}


def _tool_call_row(call: ToolCall) -> dict[str, Any]:
    return {"name": call.name, "arguments": dict(call.arguments), **({"id": call.id} if call.id else {})}


def where_row(where: Place | None) -> dict[str, Any]:
    """The field `where` of a row; nothing for none."""
    return {"where": dataclasses.asdict(where)} if where else {}


def place_of(row: Mapping[str, Any] | None) -> Place | None:
    """The place in the field `where` of a row."""
    return Place(**row) if row else None
