"""The compiled half of stategpt. Every call lets the interpreter go; errors are those of `stategpt.errors`."""

from os import PathLike
from typing import final

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
    def path(self) -> str:
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
