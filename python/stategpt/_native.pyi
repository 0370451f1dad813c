"""The compiled half of stategpt. Every call lets the interpreter go; errors are those of `stategpt.errors`."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

__version__: str

# --- storage ---

@final
class StagedFolder:
    """A folder being written beside its final name `target`.

    `publish` hashes it, makes it durable and gives it that name; `abandon` removes it. Either can be called once.
    A process that dies leaves a folder that the next one staged for the same name cleans up.
    """

    def __new__(cls, target: str | PathLike[str]) -> StagedFolder: ...
    @property
    def path(self) -> Path:
        """The temporary folder to write into."""
    def publish(self, label_json: str) -> str:
        """Publishes under a label {"kind", "fingerprints", "parents", "extra"}; returns the text of manifest.json."""
    def abandon(self) -> None:
        """Removes the temporary folder."""

def publish_file(path: str | PathLike[str], data: bytes) -> None:
    """Gives `path` the content `data`: after an error or a crash it has the old content or the new, whole."""

def verify_folder(folder: str | PathLike[str], kind: str | None = None) -> str:
    """Compares every file with the manifest; returns the text of manifest.json."""

def read_manifest(folder: str | PathLike[str]) -> str:
    """The checked text of manifest.json; the other files are not read."""

def fingerprint_json(text: str) -> str:
    """`b3:` and the BLAKE3 of a JSON text's canonical form."""

def append_line(path: str | PathLike[str], line: str, durable: bool) -> None:
    """Appends `line` and a newline to a log after removing a torn last line; `durable` fsyncs it."""

# --- ranking ---

@final
class RankingTable:
    """The records of one source in columns: G groups, C completions and P pairs in all, group after group."""

    @property
    def ids(self) -> list[str]:
        """Id of each group: G strings."""
    @property
    def prompts(self) -> list[str]:
        """Prompt of each group."""
    @property
    def lines(self) -> list[int]:
        """Line of each group, from 1."""
    @property
    def byte_offsets(self) -> list[int]:
        """Byte at which each group's line starts."""
    @property
    def texts(self) -> list[str]:
        """The C completions."""
    @property
    def ended(self) -> list[bool]:
        """Whether each completion stopped by itself."""
    @property
    def ranks(self) -> npt.NDArray[np.uint32]:
        """uint32[C]: 1 is best, equal ranks are ties."""
    @property
    def completion_offsets(self) -> npt.NDArray[np.uint64]:
        """uint64[G + 1]: group g owns the completions between entries g and g + 1."""
    @property
    def pairs(self) -> npt.NDArray[np.uint32]:
        """uint32[2 P]: winner, loser, winner, ... as indices into their group's completions."""
    @property
    def pair_offsets(self) -> npt.NDArray[np.uint64]:
        """uint64[G + 1]: pairs of each group."""
    @property
    def rejected(self) -> list[tuple[int, int, str, str]]:
        """(line, byte offset, code, message) of each malformed record."""
    @property
    def line_count(self) -> int:
        """Lines of the source = groups + rejected + blank."""
    @property
    def blank_count(self) -> int:
        """Blank lines."""

def read_rankings(path: str | PathLike[str]) -> RankingTable:
    """Reads a JSONL file, one line in memory at a time. Raises StorageError when it cannot be read."""

def parse_rankings(text: bytes) -> RankingTable:
    """As `read_rankings`, from memory."""

def arrange_rankings(
    ids: npt.NDArray[np.uint32],
    offsets: npt.NDArray[np.uint64],
    completions: Sequence[int],
    arrange: str,
    reward: int,
    pad: int,
) -> tuple[npt.NDArray[np.uint32], list[npt.NDArray[np.int32]], npt.NDArray[np.int64], int, int]:
    """Lays out groups of ids, each a prompt and then its `completions[g]` completions, cut out of `ids` by `offsets`.

    Returns tokens uint32[N], the layout's [segment_start, prefix_end, branch_start, position] int32[N], the index of
    each completion's reward token int64[C], the row width and the tokens that are not padding.
    Raises InvalidArgument when the pieces do not match the counts, a prompt is empty or N exceeds 2^31 - 1.
    """
