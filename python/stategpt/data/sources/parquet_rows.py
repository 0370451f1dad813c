"""Rows of Parquet files, a batch of one row group at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stategpt.arguments import nearest_hint
from stategpt.data.lines import MAX_EXPANSION, MAX_LINE_BYTES, UNPACKED_FREELY_BYTES
from stategpt.data.records import Place
from stategpt.data.rejections import Rejection
from stategpt.errors import CorpusError, StorageError
from stategpt.extras import require
from stategpt.files import open_regular

_BATCH_ROWS = 1024
_BATCH_BYTES = 16 << 20
_METADATA_BYTES = 64 << 20


def read_rows(
    path: str | os.PathLike[str], name: str, columns: Sequence[str] | None = None
) -> Iterator[tuple[Place, dict[str, Any] | Rejection]]:
    """The rows of a Parquet file as dictionaries, with their number, from 1, as the line.

    Args:
        path: the file.
        name: its name in places.
        columns: columns of texts to read; by default all columns, of any type.

    Raises:
        CorpusError: it cannot be read, is damaged, unpacks to more than text does, lacks a column, or one of `columns`
            is no text or whole number (in the first place: text only).
        MissingExtra: pyarrow is not installed.
    """
    require("pyarrow", f"reading {name}", "data")
    import pyarrow
    from pyarrow import parquet

    try:
        with open_regular(path) as file:
            size = Path(path).stat().st_size
            table = parquet.ParquetFile(
                file,
                pre_buffer=False,
                buffer_size=1 << 20,
                thrift_string_size_limit=_METADATA_BYTES,
                thrift_container_size_limit=_METADATA_BYTES >> 4,
            )
            if columns is not None:
                _require_columns(table.schema_arrow, columns, name)
            yield from _rows(table, columns, name, size)
    except StorageError as error:
        raise CorpusError(f"{name} cannot be read ({error})") from error
    except (pyarrow.ArrowException, OSError) as error:
        raise CorpusError(f"{name} is not a whole Parquet file ({error}); write or fetch it again") from error


def _rows(table: Any, columns: Sequence[str] | None, name: str, size: int) -> Iterator[tuple[Place, Any]]:
    room = max(UNPACKED_FREELY_BYTES, MAX_EXPANSION * size)
    number = unpacked = 0
    groups = [table.metadata.row_group(group) for group in range(table.metadata.num_row_groups)]
    row_bytes = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=0)
    rows = max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, row_bytes)))
    for batch in table.iter_batches(batch_size=rows, columns=None if columns is None else list(columns)):
        unpacked += batch.nbytes
        if unpacked > room:
            raise CorpusError(
                f"{name} unpacks to over {unpacked:,} bytes from {size:,}: text does not shrink that far. If the file "
                "is what you want, write it without compression."
            )
        for row in _values(batch):
            number += 1
            where = Place(name, number)
            long = next((key for key, value in row.items() if _bytes(value) > MAX_LINE_BYTES), None)
            if long is None:
                yield where, row
            else:
                yield where, Rejection(where, "line_too_long", f"{long} has more than {MAX_LINE_BYTES:,} bytes")


def _values(batch: Any) -> Iterator[dict[str, Any]]:
    """Rows of a batch; a text that is not UTF-8 stays bytes, and the caller replaces or rejects it."""
    columns = {}
    for key, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            columns[key] = column.to_pylist()
        except UnicodeDecodeError:
            columns[key] = [_text(value.as_buffer().to_pybytes()) if value.is_valid else None for value in column]
    for place in range(batch.num_rows):
        yield {key: values[place] for key, values in columns.items()}


def _text(value: bytes) -> str:
    """UTF-8 as text, in which invalid bytes are lone surrogates: those are rejected, or replaced, as in JSON."""
    return value.decode(errors="surrogateescape")


def _bytes(value: object) -> int:
    return len(value) if isinstance(value, str | bytes) else 0


def _require_columns(schema: Any, columns: Sequence[str], name: str) -> None:
    """Checks that the columns exist and hold text."""
    import pyarrow.types as types

    for place, column in enumerate(columns):
        found = [number for number, other in enumerate(schema.names) if other == column]
        if len(found) != 1:
            hint = nearest_hint(column, schema.names, f"there are {', '.join(map(repr, schema.names))}"[:300])
            raise CorpusError(f"{name} has {'no' if not found else 'more than one'} column {column!r}; {hint}")
        kind = schema.field(found[0]).type
        value = kind.value_type if types.is_dictionary(kind) else kind
        is_text = types.is_string(value) or types.is_large_string(value) or types.is_string_view(value)
        if not is_text and not (place and types.is_integer(value)):
            wanted = "a text column" if place == 0 else "a column of texts or whole numbers"
            raise CorpusError(f"{name}: the column {column!r} is of type {kind}; name {wanted}")
