"""The publisher program, and a look at what it left."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from stategpt.artifacts import read_lines, verify
from stategpt.errors import CorruptArtifact

PUBLISHER = Path(__file__).with_name("publisher.py")
_PROGRAM = runpy.run_path(str(PUBLISHER))


@dataclass(frozen=True)
class Published:
    """What a reader finds in a root after a fault. A version is None where nothing was published yet."""

    folder: int | None
    file: int | None
    log: list[int]
    leftovers: list[str]
    """Temporary entries."""


@dataclass(frozen=True)
class Publisher:
    """Runs the publisher program in `root`."""

    root: Path

    def command(self, version: int, count: int = 1) -> list[str]:
        """The program's command line."""
        return [sys.executable, str(PUBLISHER), str(self.root), str(version), str(count)]

    def run(self, version: int, through: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Publishes one version in another process, started through a tool."""
        # Compiled files would be mutating system calls of Python's own, different at each start.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [*through, *self.command(version)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=250)

    def publish(self, version: int) -> None:
        """Publishes one version in this process."""
        _PROGRAM["publish"](self.root, version)

    def found(self) -> Published:
        """Reads everything back; damage of any kind fails the test."""
        stage = self.root / "stage"
        names = os.listdir(stage) if stage.exists() else []
        return Published(
            folder=self._folder_version() if "folder" in names else None,
            file=self._file_version() if "file.bin" in names else None,
            log=[line["version"] for line in read_lines(self.root / "log.jsonl")],
            leftovers=[name for name in names if name.startswith(".")],
        )

    def _folder_version(self) -> int:
        folder = self.root / "stage" / "folder"
        version: int = verify(folder, "version").extra["version"]
        for name in ("weights.bin", "deep/state.bin"):
            assert (folder / name).read_bytes() == _PROGRAM["content"](version, name)
        return version

    def _file_version(self) -> int:
        data = (self.root / "stage" / "file.bin").read_bytes()
        assert data, "the file is empty"
        version = data[0]
        if data != _PROGRAM["content"](version, "file.bin"):
            raise CorruptArtifact(f"file.bin has {len(data)} bytes of more than one version")
        return version


@pytest.fixture
def publisher_in() -> Callable[[Path], Publisher]:
    """Makes a publisher for a folder."""
    return Publisher
