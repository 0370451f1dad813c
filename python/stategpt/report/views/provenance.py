"""The foot of the page: cost of each stage, what each artifact was made from, and the configuration."""

import tomllib
from typing import Any

from stategpt.artifacts import fingerprint
from stategpt.report.run_files import RunFiles, field, number
from stategpt.report.wording import STAGE_LABELS, count, duration

_SHORT = 12


def provenance(files: RunFiles) -> dict[str, Any]:
    """Context of the part on cost and origin."""
    config = files.text("run.toml")
    return {
        "costs": _costs(files),
        "lineage": _lineage(files.json("lineage.json")),
        "config": config,
        "config_fingerprint": _config_fingerprint(config),
    }


def _costs(files: RunFiles) -> list[dict[str, str]]:
    seconds = files.seconds()
    rows = []
    for stage, label in STAGE_LABELS.items():
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


def _config_fingerprint(config: str | None) -> str | None:
    try:
        return None if config is None else fingerprint(tomllib.loads(config))
    except tomllib.TOMLDecodeError:
        return None


def _lineage(data: Any) -> list[dict[str, str]]:
    """Rows of lineage.json: what was made, its fingerprint, and the paths of what it was made from."""
    nodes = [node for node in field(data, "nodes") or [] if {"id", "path"} <= node.keys()]
    paths = {node["id"]: node["path"] for node in nodes}
    return [
        {
            "path": node["path"],
            "kind": str(node.get("kind", "")),
            "fingerprint": short(node["id"]),
            "parents": ", ".join(paths.get(parent, short(parent)) for parent in node.get("parents", [])),
        }
        for node in nodes
    ]


def short(text: str) -> str:
    """The first digits of a fingerprint, its prefix kept."""
    prefix, colon, digits = text.rpartition(":")
    return prefix + colon + digits[:_SHORT]
