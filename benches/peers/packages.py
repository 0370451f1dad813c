"""Files of Debian packages and of PyPI's source archives, read without being installed; no root is needed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

# (name of the file, its bytes)
Member = tuple[str, bytes]


def has_apt() -> bool:
    """Whether Debian packages can be had here."""
    return all(shutil.which(tool) for tool in ("apt-get", "apt-cache", "dpkg-deb"))


class Debian:
    """Debian's packages through apt with lists and cache of its own, so that the system's are left alone."""

    def __init__(self, folder: Path) -> None:
        self._packages = folder / "deb"
        self._options = ["-o", f"Dir::State::lists={folder / 'lists'}", "-o", f"Dir::Cache={folder / 'cache'}"]
        self._options += ["-o", "APT::Sandbox::User=root", "-qq"]
        for name in ("deb", "lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._listed = any((folder / "lists").glob("*_Packages*"))

    def fetch(self, wanted: list[str]) -> list[Path]:
        """The archives of packages, downloaded once; of "name|name" the first there is, of an unknown name none."""
        if not self._listed:
            self._apt("update")
        absent = [name for names in wanted for name in names.split("|") if not self._held(name)]
        known = self._run("apt-cache", "pkgnames").split() if absent else []
        chosen = (next((name for name in names.split("|") if name in known), None) for names in wanted)
        if missing := [name for name in chosen if name and not self._held(name)]:
            self._apt("download", *missing)
        found = (next((path for name in names.split("|") if (path := self._held(name))), None) for names in wanted)
        return [path for path in found if path]

    def _held(self, name: str) -> Path | None:
        return next(self._packages.glob(f"{name}_*.deb"), None)

    def _apt(self, *words: str) -> None:
        self._run("apt-get", *words)

    def _run(self, tool: str, *words: str) -> str:
        command = [tool, *self._options, *words]
        done = subprocess.run(
            command, cwd=self._packages, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        return done.stdout


def debian_members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """The files of a .deb, and of a .tar.xz in it, whose names are wanted."""
    command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as outer,
    ):
        for member in outer:
            held = outer.extractfile(member) if member.isfile() else None
            if held and member.name.endswith(".tar.xz"):
                with tarfile.open(fileobj=held, mode="r|xz") as inner:
                    yield from tar_members(inner, wanted)
            elif held and wanted(member.name):
                yield member.name, held.read()


def tar_members(archive: tarfile.TarFile, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """The files of a tar archive whose names are wanted."""
    for member in archive:
        if member.isfile() and wanted(member.name) and (held := archive.extractfile(member)):
            yield member.name, held.read()


def source_archives(names: list[str], folder: Path) -> list[Path]:
    """Source archives from PyPI; what cannot be had is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if next(folder.glob(f"{name}-*.tar.gz"), None) is None:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-build-isolation"]
            command += ["--no-binary", ":all:", "-d", str(folder), name]
            subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL)
    return sorted(folder.glob("*.tar.gz"))
