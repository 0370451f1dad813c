"""The foot of the page: cost of each stage, what each artifact was made from, and the configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

from stategpt.config.stage_names import folder_title
from stategpt.report.run_files import RunFiles, number
from stategpt.report.wording import count, duration

_SHORT = 12


def provenance(files: RunFiles) -> dict[str, Any]:
    """Context of the part on cost and origin."""
    return {
        "costs": _costs(files),
        "lineage": _lineage(files.lineage),
        "config": files.config_text,
        "config_fingerprint": files.config_fingerprint,
    }


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
