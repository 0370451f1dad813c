"""`stategpt doctor`: shows what this machine has, and what the default job would read on it."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import re
from pathlib import Path
from typing import Any

from stategpt.cli.commands import add
from stategpt.cli.format import listing
from stategpt.cli.launch import GUARD, glibc_version, tuned_environment
from stategpt.errors import StategptError
from stategpt.extras import MODULES, install_hint
from stategpt.machine import memory_bytes
from stategpt.quantities import size

_CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "sve")
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+).*extra\s*==\s*['\"]([\w-]+)['\"]")
Entries = list[tuple[str, str]]


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    add(commands, "doctor", execute, "show what this machine has: cores, memory, torch, extras, the default corpus")


def execute(_arguments: argparse.Namespace) -> int:
    """Prints every section; what is unknown is printed as unknown, never an error."""
    sections = {
        "machine": machine(),
        "packages": packages(),
        "acceleration": acceleration(),
        "allocator": allocator(),
        "default corpus": corpus(),
    }
    print("\n\n".join(f"{title}\n{listing(entries)}" for title, entries in sections.items()))
    return 0


def machine() -> Entries:
    """Returns interpreter, system, cores, memory and the processor features that the package uses."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    glibc = glibc_version()
    return [
        ("Python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("system", f"{platform.system()} {platform.machine()}" + (f", glibc {glibc[0]}.{glibc[1]}" if glibc else "")),
        ("cores", f"{cores} usable of {os.cpu_count()}"),
        ("memory", _memory()),
        ("CPU features", _cpu_features()),
    ]


def _memory() -> str:
    found = memory_bytes()
    return "unknown on this system" if found is None else size(found)


def _cpu_features() -> str:
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return "unknown on this system"
    return ", ".join(name for name in _CPU_FEATURES if name in flags) or "none that the package uses"


def packages() -> Entries:
    """Returns the versions of the packages of the base install and of each extra, or that one is missing."""
    groups: dict[str, list[str]] = {"base": ["numpy", "rich", "safetensors"], **_extras()}
    return [(group, ", ".join(_version(name) for name in names)) for group, names in groups.items()]


def _extras() -> dict[str, list[str]]:
    try:
        requirements = importlib.metadata.requires("stategpt") or []
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return {extra: list(modules) for extra, modules in MODULES.items()}
    extras: dict[str, list[str]] = {}
    for match in filter(None, map(_REQUIREMENT.match, requirements)):
        extras.setdefault(match[2], []).append(match[1])
    return extras


def _version(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{name} missing"


def acceleration() -> Entries:
    """Returns the devices that torch can use."""
    if importlib.util.find_spec("torch") is None:
        return [
            ("torch", f"missing: tokenizer, packing and rankings work without it. To train: {install_hint('train')}")
        ]
    import torch

    entries = [("torch threads", str(torch.get_num_threads()))]
    if not torch.cuda.is_available():
        return [*entries, ("CUDA", "no device: attention uses torch's CPU kernel")]
    for index in range(torch.cuda.device_count()):
        properties: Any = torch.cuda.get_device_properties(index)
        memory = size(properties.total_memory)
        entries.append((f"CUDA {index}", f"{properties.name}, {memory}, compute {properties.major}.{properties.minor}"))
    triton = "present" if importlib.util.find_spec("triton") else "missing: attention uses torch's kernel"
    return [*entries, ("Triton", triton)]


def allocator() -> Entries:
    """Returns the allocator settings that `stategpt run` uses, and which of them this shell has set."""
    glibc = glibc_version()
    if glibc is None:
        return [("settings", "none: the C library is not glibc")]
    tuned = tuned_environment({}, glibc)
    del tuned[GUARD]
    own = {name: os.environ[name] for name in tuned if name in os.environ}
    return [(name, f"{own[name]} (set by you)" if name in own else value) for name, value in tuned.items()]


def corpus() -> Entries:
    """Returns what `tiny_cpu` would read."""
    from stategpt.data.sources import describe_corpus
    from stategpt.recipes import tiny_cpu

    try:
        return describe_corpus(tiny_cpu().corpus)
    except StategptError as error:
        return [("unusable", str(error))]
