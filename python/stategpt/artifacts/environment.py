"""Machine, versions, date, commit and command of each call that worked on a run: `log/environment.json`.

It is a log: nothing is made from it, so two machines that make the same artifacts have the same lineage. A path is in
it only where the user typed one.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated

from stategpt.artifacts.measurements import LOG, Measurements
from stategpt.artifacts.publish import publish_folder
from stategpt.artifacts.run_folder import write_json
from stategpt.errors import StorageError
from stategpt.files import read_bytes
from stategpt.json_reader import Integer, Text
from stategpt.json_records import Limit, versioned
from stategpt.machine import memory_bytes
from stategpt.shown_fields import documented

ENVIRONMENT = "environment.json"
FORMAT_VERSION = 1
MAX_CALLS = 50
"""The first call and the newest ones are kept."""
_PACKAGES = ("stategpt", "torch", "numpy")
_LIMIT_CHARS = 2000
Line = Annotated[str, Text(max_chars=_LIMIT_CHARS)]


@documented
@dataclass(frozen=True)
class Environment:
    """Where and how one call of `stategpt run` worked; "" or None for what is not known."""

    date: Line = ""
    """When it began, in UTC."""
    command: Line = ""
    """The command line, as typed; "" where `stategpt.run` was called from Python."""
    cpu: Line = ""
    """Model name of the processor."""
    cores: Annotated[int, Integer(0, 10**6)] | None = None
    """Cores that the process may use."""
    memory_bytes: Annotated[int, Integer(0, 10**18)] | None = None
    """Memory of the machine."""
    gpu: Line = ""
    """Name of the GPU; "" where none is used."""
    system: Line = ""
    """Operating system and architecture."""
    python: Line = ""
    """Version of Python."""
    versions: Annotated[dict[str, Line], Limit(16)] = field(default_factory=dict)
    """Versions of packages by name."""
    commit: Line = ""
    """Commit of the git checkout that holds the package, with "+" where files were changed; "" without a checkout."""


@documented
@dataclass(frozen=True)
class Environments:
    """The calls that worked on a run."""

    calls: Annotated[tuple[Environment, ...], Limit(MAX_CALLS)] = ()
    """Oldest first; one that differs from the one before only in its date is left out."""


def current_environment(gpu: str = "") -> Environment:
    """The machine, the versions and the command of this process; `gpu` is the name of the GPU it uses."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Environment(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=_command(sys.argv)[:_LIMIT_CHARS],
        cpu=_cpu(),
        cores=cores,
        memory_bytes=memory_bytes(),
        gpu=gpu,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        versions={name: version for name in _PACKAGES if (version := _version(name))},
        commit=_commit(Path(__file__).resolve().parent),
    )


def read_environments(run_folder: Path) -> Environments:
    """The calls recorded so far; none where nothing is recorded.

    Raises:
        CorruptArtifact: the file is not what was published. DataError: it holds something else.
    """
    return Measurements(run_folder).read("", LOG, ENVIRONMENT, Environments, FORMAT_VERSION) or Environments()


def record_environment(run_folder: Path, environment: Environment) -> None:
    """Adds a call to `log/environment.json` of the run."""
    calls = read_environments(run_folder).calls
    if calls and replace(calls[-1], date="") == replace(environment, date=""):
        return
    calls = (*calls, environment)
    kept = Environments(calls if len(calls) <= MAX_CALLS else (calls[0], *calls[1 - MAX_CALLS :]))
    publish_folder(
        run_folder / LOG,
        lambda temporary: write_json(temporary / ENVIRONMENT, versioned(kept, FORMAT_VERSION)),
        kind=LOG,
    )


def _command(arguments: list[str]) -> str:
    """The command line where this process is the command-line program."""
    program = Path(arguments[0]) if arguments else Path()
    is_ours = program.stem == "stategpt" or (program.name == "__main__.py" and program.parent.name == "stategpt")
    return shlex.join(["stategpt", *arguments[1:]]) if is_ours else ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _cpu() -> str:
    try:
        text = read_bytes("/proc/cpuinfo").decode("utf-8", "replace")
    except StorageError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _commit(folder: Path) -> str:
    def git(*arguments: str) -> str:
        call = ["git", "-C", str(folder), *arguments]
        return subprocess.run(call, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # fails in a checkout that only holds an installed copy
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return ""
