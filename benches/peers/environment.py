"""A virtual environment of its own with the peers and our wheel, kept between runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The versions the adapters were written for; --latest takes what the registry has today.
PEERS = {
    "tiktoken": "0.14.0",
    "tokenizers": "0.23.3",
    "gigatoken": "0.10.0",
    "fastokens": "0.3.5",
    "toktok-rs": "0.3.0",
    "quicktok-v1": "0.4.0",
    "tuetoken": "0.1.3",
    "gigabpe": "0.1.0",
    "rustbpe": "0.1.0",
}
_OURS_NEEDS = ["numpy>=1.26", "rich>=13", "safetensors>=0.5"]


@dataclass(frozen=True)
class Environment:
    """Its interpreter, what is installed in it, and why the rest is not."""

    python: str
    versions: dict[str, str]
    missing: dict[str, str]


def make(folder: Path, latest: bool, wheel: Path | None, say: Callable[[str], None]) -> Environment:
    """The environment in `folder`, made or completed; `wheel` is built from this checkout if none is given."""
    installer = _Installer(folder / "venv")
    installer.create()
    missing = {}
    installed = installer.versions()
    wanted = {name: name if latest else f"{name}=={version}" for name, version in PEERS.items()}
    if latest or any(installed.get(name) != PEERS[name] for name in PEERS):
        say(f"installing {', '.join(wanted.values())}")
        if installer.install([*_OURS_NEEDS, *wanted.values()]):
            for name, spec in wanted.items():  # one of them cannot be had: find out which
                if failure := installer.install([spec]):
                    missing[name] = failure
        installer.install(_OURS_NEEDS)
    wheel = wheel or _built(folder / "wheels", installer, say)
    if failure := installer.install(["--reinstall" if installer.uv else "--force-reinstall", "--no-deps", str(wheel)]):
        raise SystemExit(f"our own wheel cannot be installed: {failure}")
    return Environment(str(installer.python), installer.versions(), missing)


def unpack(package: str, folder: Path) -> Path:
    """A package's files, in `folder`, without what it depends on."""
    shutil.rmtree(folder, ignore_errors=True)
    uv = _uv()
    command = [*uv, "pip", "install"] if uv else [sys.executable, "-m", "pip", "install"]
    done = _run([*command, "-q", "--no-deps", "--target", str(folder), package])
    if done.returncode:
        raise SystemExit(f"cannot install {package}: {_last(done.stderr)}")
    return folder


def _built(folder: Path, installer: _Installer, say: Callable[[str], None]) -> Path:
    say("building our wheel (a few minutes the first time)")
    if failure := installer.install(["maturin>=1.9,<2"]):
        raise SystemExit(f"cannot install maturin: {failure}")
    shutil.rmtree(folder, ignore_errors=True)
    command = [str(installer.python), "-m", "maturin", "build", "--release", "--locked", "--out", str(folder)]
    done = _run([*command, "--interpreter", str(installer.python)], cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"our own wheel cannot be built:\n{done.stderr[-2000:]}")
    return next(folder.glob("*.whl"))


class _Installer:
    """uv where there is one, else venv and pip."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.python = folder / "bin" / "python"
        self.uv = _uv()

    def create(self) -> None:
        works = "" if self.uv else "import pip"
        if self.python.exists() and _run([str(self.python), "-c", works]).returncode == 0:
            return
        if self.uv:
            command = [*self.uv, "venv", "-q", "--clear", "--python", sys.executable, str(self._folder)]
        else:
            command = [sys.executable, "-m", "venv", "--clear", str(self._folder)]
        done = _run(command)
        if done.returncode:
            raise SystemExit(f"cannot make a virtual environment: {_last(done.stderr)}")

    def install(self, packages: list[str]) -> str:
        """Empty, or the reason why it failed."""
        if self.uv:
            command = [*self.uv, "pip", "install", "-q", "--python", str(self.python)]
        else:
            command = [str(self.python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        done = _run([*command, *packages])
        return _last(done.stderr) if done.returncode else ""

    def versions(self) -> dict[str, str]:
        code = (
            "import importlib.metadata as m, json, platform;"
            "print(json.dumps({'python': platform.python_version(),"
            " **{d.metadata['Name']: d.version for d in m.distributions()}}))"
        )
        return dict(json.loads(_run([str(self.python), "-c", code]).stdout))


def _uv() -> list[str]:
    if found := shutil.which("uv"):
        return [found]
    here = ROOT / ".venv" / "bin" / "uv"
    return [str(here)] if here.exists() else []


def _run(command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        command, cwd=cwd, env=clean, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
