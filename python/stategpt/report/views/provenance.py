"""The foot of the page: cost of each stage, what each artifact was made from, and the configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

from stategpt.config.stage_names import folder_title
from stategpt.quantities import size
from stategpt.report.run_files import RunFiles, number
from stategpt.report.wording import count, duration

_SHORT = 12


def provenance(files: RunFiles) -> dict[str, Any]:
    """Context of the part on cost and origin."""
    return {
        "environment": _environment(files),
        "costs": _costs(files),
        "lineage": _lineage(files.lineage),
        "config": files.config_text,
        "config_fingerprint": files.config_fingerprint,
    }


def _environment(files: RunFiles) -> list[tuple[str, str]]:
    """Machine, versions, date, commit, command and seed of the run: those of its first call, and how many differ."""
    calls = files.environments
    if not calls:
        return []
    first = calls[0]
    memory = "" if first.memory_bytes is None else f", {size(first.memory_bytes)} memory"
    cores = "" if first.cores is None else f", {count(first.cores)} cores"
    seed = "" if files.run is None else str(files.run.seed)
    rows = (
        ("date", first.date),
        ("command", first.command or "stategpt.run, called from Python"),
        ("seed", seed),
        ("machine", f"{first.cpu}{cores}{memory}".removeprefix(", ")),
        ("GPU", first.gpu or "none used"),
        ("system", first.system),
        ("versions", ", ".join([f"Python {first.python}", *(f"{name} {v}" for name, v in first.versions.items())])),
        ("commit", first.commit),
        ("later calls", f"{len(calls) - 1} with another machine, command or version" if len(calls) > 1 else ""),
    )
    return [(label, value) for label, value in rows if value]


def _costs(files: RunFiles) -> list[dict[str, str]]:
    seconds = files.seconds()
    rows = []
    for stage in files.stage_folders:
        label = folder_title(stage)
        tokens = files.tokens(stage)
        if stage in seconds or tokens:
            log = files.metrics(stage)
            pace = number(log[-1], "tokens_per_s") if log else None
            rows.append(
                {
                    "label": label,
                    "seconds": duration(seconds.get(stage)),
                    "tokens": count(tokens),
                    "pace": count(pace),
                }
            )
    return rows


def _lineage(nodes: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Rows of lineage.json: what was made, its fingerprint, and the paths of what it was made from."""
    paths = {node["id"]: node["path"] for node in nodes}
    return [
        {
            "path": node["path"],
            "kind": node["kind"],
            "fingerprint": short(node["id"]),
            "parents": ", ".join(paths.get(parent, short(parent)) for parent in node["parents"]),
        }
        for node in nodes
    ]


def short(text: str) -> str:
    """The first digits of a fingerprint, its prefix kept."""
    prefix, colon, digits = text.rpartition(":")
    return prefix + colon + digits[:_SHORT]
