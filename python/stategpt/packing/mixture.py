"""Sources mixed in proportion to their tokens, as the talk's table of LLaMA's sources has it.

Which source a row is drawn from is a function of its number: within one row of the source's share at the end of every
block of `block_rows`, within two at every row. Each row of a source comes once per epoch, in a different order in
each epoch. Nothing is stored per row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, SupportsIndex, TypedDict

from stategpt import _native
from stategpt.arguments import instance, real, unicode_text, whole
from stategpt.errors import InvalidArgument
from stategpt.packing.packed import Batch, Packed, Row, read_batch, read_row


class Drawn(TypedDict):
    """What the first rows of a mixture draw from one source.

    Attributes:
        rows: rows drawn.
        tokens: tokens in these rows without padding.
        share: their share of all tokens drawn.
        epochs: passes over the source.
    """

    rows: int
    tokens: int
    share: float
    epochs: float


class MixtureReport(TypedDict):
    """Planned and drawn shares, by source.

    Attributes:
        planned: planned share of all tokens.
        drawn: what was drawn.
    """

    planned: dict[str, float]
    drawn: dict[str, Drawn]


class Mixture:
    """An order of rows from several packed sources; endless, or as long as `max_epochs` allows.

    Args:
        sources: packed rows and share of all *tokens* by name. Shares are divided by their sum; the order of the names
            does not matter. A source needs at least one row in 2^20.
        seed: with the names, decides the order of every epoch.
        max_epochs: maximum number of passes over a source, e.g. 4 or 1.5. The order ends before the first row beyond;
            reading that row is an error.

    Raises:
        InvalidArgument: no sources, a share that is not positive, rows of different length, `max_epochs` that does not
            allow one row.
        DataError: a source without rows; the message says whether its documents were rejected.
        ForeignArtifact: sources of different tokenizers.
    """

    __slots__ = ("_native", "_settings", "row_tokens", "sources")

    def __init__(
        self,
        sources: Mapping[str, tuple[Packed, float]],
        seed: SupportsIndex = 0,
        max_epochs: float | None = None,
    ) -> None:
        instance("sources", sources, Mapping, "Give {name: (packed rows, share)}.")
        shares = {}
        for name, source in sources.items():
            unicode_text("a source's name", name)
            if not (isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], Packed)):
                raise InvalidArgument(f"source {name!r} is {source!r:.200}; give (packed rows, share)")
            shares[name] = real(f"the share of source {name!r}", source[1])
        parts = [(name, sources[name][0]._native, share) for name, share in shares.items()]
        limit = None if max_epochs is None else real("max_epochs", max_epochs)
        number = whole("seed", seed)
        self._native = _native.MixedRows(parts, number, limit)
        self._settings = (shares, number, limit)
        self.sources = {name: sources[name][0] for name in sorted(sources)}
        self.row_tokens = next(iter(self.sources.values())).row_tokens

    @property
    def num_rows(self) -> int | None:
        """Rows before `max_epochs` would be passed; None without a limit."""
        return self._native.rows

    @property
    def block_rows(self) -> int:
        """At multiples of this many rows every source is within one row of its share."""
        return self._native.block_rows

    @property
    def fingerprint(self) -> str:
        """Identity of the order: sources, shares and seed. `max_epochs` only ends it, so it may be raised later."""
        return self._native.fingerprint

    def __getitem__(self, row: SupportsIndex) -> Row:
        """Row `row`, from 0.

        Raises:
            DataError: it is beyond `max_epochs`; the message names the source.
        """
        return read_row(self._native, self.row_tokens, row)

    def batch(self, first: SupportsIndex, rows: SupportsIndex, batch_rows: SupportsIndex | None = None) -> Batch:
        """Rows `first .. first + rows`, filled up to `batch_rows` with rows of padding."""
        return read_batch(self._native, self.row_tokens, first, rows, batch_rows)

    def source_of(self, row: SupportsIndex) -> tuple[str, int]:
        """Source of row `row`, and the epoch of that source it falls in, from 0."""
        name, epoch, _ = self._native.origin(whole("row", row))
        return name, epoch

    def documents_of(self, row: SupportsIndex) -> tuple[str, list[int]]:
        """Source of row `row`, and the numbers of its documents of which the row holds a piece, in order."""
        return self._native.documents_of(whole("row", row))

    def report(self, rows: SupportsIndex) -> MixtureReport:
        """What the first `rows` rows draw. Counts are exact. Time grows with the rows of unfinished epochs."""
        drawn = self._native.report(whole("rows", rows))
        tokens_in_all = max(sum(tokens for _, _, _, tokens, _ in drawn), 1)
        return {
            "planned": {name: planned for name, planned, *_ in drawn},
            "drawn": {
                name: {"rows": count, "tokens": tokens, "share": tokens / tokens_in_all, "epochs": epochs}
                for name, _, count, tokens, epochs in drawn
            },
        }

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as sources and settings: the copy mixes the same rows."""
        shares, seed, max_epochs = self._settings
        return Mixture, ({name: (self.sources[name], share) for name, share in shares.items()}, seed, max_epochs)

    def __repr__(self) -> str:
        """Mixture(names, rows, T)"""
        rows = "endless" if self.num_rows is None else f"{self.num_rows:,}"
        names = list(self.sources)
        shown = f"{names[:8]!r:.300}" + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        return f"Mixture({shown}, {rows} rows of {self.row_tokens})"
