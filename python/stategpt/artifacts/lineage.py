"""What each artifact of a run was made from: hash-linked from the corpus's bytes to the policy.

Every manifest names its parents by their fingerprints, and a fingerprint covers the hashes of all files and the
fingerprints of the parents. So the policy's fingerprint fixes everything that went into it, as a commit its history.
`lineage.json` in the run folder is the same graph in one file, for the report and for people.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from os import PathLike, walk
from pathlib import Path

from stategpt.artifacts.publish import Manifest, publish_file, read_manifest, verify
from stategpt.errors import CorruptArtifact, DataError, ForeignArtifact, StorageError
from stategpt.json_reader import Integer, Items, MapOf, Record, Text, check_value, read_record
from stategpt.shown_fields import documented, short_repr
from stategpt.visible_text import visible_line

LINEAGE_NAME = "lineage.json"
SCHEMA_VERSION = 1
MOST_CHAINS = 1000
# Working state of a stage, removed as the stage proceeds (what it becomes is the stage's model), and logs, which hold
# times and so differ between equal runs: nothing is made from them.
_NOT_FOLLOWED = frozenset({"checkpoints", "log"})
_DEPTH = 4
_NODE = Record(
    {"id": Text(), "kind": Text(), "path": Text(), "parents": Items(Text()), "fingerprints": MapOf(Text())}, closed=True
)
_VERSION = Record({"schema_version": Integer()})
_LINEAGE = Record({"schema_version": Integer(), "nodes": Items(_NODE, max_items=10_000)})


@documented
@dataclass(frozen=True)
class Node:
    """One published folder of a run."""

    id: str
    """Fingerprint of its manifest."""
    kind: str
    """What it is, e.g. "model"."""
    path: str
    """Relative to the run folder, with `/` between the parts."""
    parents: tuple[str, ...]
    """`id` of each folder it was made from."""
    fingerprints: Mapping[str, str]
    """What else it depends on, by name: "config", "tokenizer"."""

    __repr__ = short_repr


@documented
@dataclass(frozen=True)
class Lineage:
    """The published folders of a run, parents before children."""

    nodes: tuple[Node, ...]
    """The folders, parents before children."""

    __repr__ = short_repr

    @classmethod
    def of(cls, run_folder: str | PathLike[str]) -> Lineage:
        """Reads every manifest below `run_folder`, apart from checkpoints.

        Raises:
            CorruptArtifact: a manifest is damaged, or a parent is not in the run (it was made again or removed later).
        """
        root = Path(run_folder)
        found = [_node(read_manifest(folder), folder.relative_to(root).as_posix()) for folder in _published(root)]
        return cls(_parents_first(found, root))

    @classmethod
    def read(cls, run_folder: str | PathLike[str]) -> Lineage:
        """The lineage recorded in `lineage.json`.

        Raises:
            DataError: there is no such file or it does not hold a lineage.
            ForeignArtifact: it has another format version.
        """
        path = Path(run_folder) / LINEAGE_NAME
        try:
            fields = read_record(path, _VERSION)
            version = fields["schema_version"]
            if version != SCHEMA_VERSION:
                raise ForeignArtifact(f"{path} has format version {version}, not {SCHEMA_VERSION}; run `stategpt run`")
            nodes = check_value(fields, _LINEAGE, where=str(path))["nodes"]
            return cls(_in_order(tuple(Node(**node | {"parents": tuple(node["parents"])}) for node in nodes)))
        except (DataError, StorageError) as error:
            shown = visible_line(str(path))
            raise DataError(f"{shown} holds no lineage ({error}); `stategpt run` on the folder writes it") from error

    def write(self, run_folder: str | PathLike[str]) -> None:
        """Publishes `lineage.json`."""
        fields = {"schema_version": SCHEMA_VERSION, "nodes": [asdict(node) for node in self.nodes]}
        publish_file(Path(run_folder) / LINEAGE_NAME, (json.dumps(fields, indent=2) + "\n").encode())

    def verify(self, run_folder: str | PathLike[str]) -> None:
        """Reads every file of every folder again: each must still be what its children were made from.

        Raises:
            CorruptArtifact: a folder is damaged, or is not the one recorded.
        """
        for node in self.nodes:
            found = verify(Path(run_folder) / node.path, node.kind).fingerprint
            if found != node.id:
                raise CorruptArtifact(
                    f"{node.path} is {found}, but the lineage records {node.id}: it was made again. "
                    f"Make what was made from it again: {', '.join(self._children(node)) or 'nothing'}."
                )

    def refuse_changes(self, run_folder: str | PathLike[str]) -> None:
        """Compares each node with the manifest of the folder it names, where that is there; files are not read.

        Raises:
            CorruptArtifact: a node says something else than its folder.
        """
        for node in self.nodes:
            folder = Path(run_folder) / node.path
            # os.path: a name that no file system takes names no folder.
            if os.path.exists(folder / "manifest.json") and _node(read_manifest(folder), node.path) != node:
                raise CorruptArtifact(
                    f"{LINEAGE_NAME} records {visible_line(node.path)} as {visible_line(node.id)}, which is not what "
                    "its manifest says: one of them was changed or made again. `stategpt run` on the folder writes "
                    "it again."
                )

    def chains(self) -> list[tuple[Node, ...]]:
        """Every way through the graph from a folder without parents to one without children.

        Raises:
            DataError: there are more than `MOST_CHAINS`; their number can double with each folder. Read `nodes` then.
        """
        children = {parent for node in self.nodes for parent in node.parents}
        ways: dict[str, list[tuple[Node, ...]]] = {}
        ends: list[tuple[Node, ...]] = []
        for node in self.nodes:  # parents come first
            before: list[tuple[Node, ...]] = [way for parent in node.parents for way in ways[parent]]
            found = [(*way, node) for way in (before if node.parents else [()])]
            if len(found) + len(ends) > MOST_CHAINS:
                raise DataError(
                    f"more than {MOST_CHAINS:,} ways lead to {visible_line(node.path)}; read the graph from `nodes`"
                )
            ways[node.id] = found
            ends += found if node.id not in children else []
        return ends

    def text(self) -> str:
        """One block a folder: path, kind and identity, then what it was made from."""
        paths = {node.id: node.path for node in self.nodes}
        blocks = []
        for node in self.nodes:
            lines = [f"{node.path}  ({node.kind})  {node.id}"]
            lines += [f"  made from  {paths[parent]}" for parent in node.parents]
            lines += [f"  {name}  {value}" for name, value in sorted(node.fingerprints.items())]
            blocks.append("\n".join(visible_line(line) for line in lines))
        return "\n\n".join(blocks)

    def _children(self, node: Node) -> list[str]:
        return [other.path for other in self.nodes if node.id in other.parents]


def write_lineage(run_folder: str | PathLike[str]) -> Lineage:
    """Collects the run's lineage and publishes it as `lineage.json`."""
    lineage = Lineage.of(run_folder)
    lineage.write(run_folder)
    return lineage


def _published(root: Path) -> Iterator[Path]:
    """Published folders below `root`, those inside of others too; temporary ones begin with a dot."""
    for folder, inside, files in walk(root, onerror=_unreadable):
        if "manifest.json" in files:
            yield Path(folder)
        if len(Path(folder).relative_to(root).parts) >= _DEPTH:
            inside.clear()
        inside[:] = sorted(name for name in inside if not name.startswith(".") and name not in _NOT_FOLLOWED)


def _unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise StorageError(f"cannot list a folder of the run ({error}); check its permissions") from error


def _node(manifest: Manifest, path: str) -> Node:
    return Node(manifest.fingerprint, manifest.kind, path, manifest.parents, dict(manifest.fingerprints))


def _parents_first(nodes: list[Node], root: Path) -> tuple[Node, ...]:
    known = {node.id for node in nodes}
    for node in nodes:
        lost = [parent for parent in node.parents if parent not in known]
        if lost:
            raise CorruptArtifact(
                f"{visible_line(str(root / node.path))} was made from {visible_line(', '.join(lost))}, which is not in "
                f"{visible_line(str(root))}: it was made again or removed since. Delete {visible_line(node.path)} and "
                "run again to make it from what is there."
            )
    # In rounds, each of what waits for nothing that is still to come; a fingerprint cannot contain itself, so it ends.
    ordered: list[Node] = []
    waits_for = {index: set(node.parents) for index, node in enumerate(nodes)}
    waiting: dict[str, list[int]] = {}
    for index, parents in waits_for.items():
        for parent in parents:
            waiting.setdefault(parent, []).append(index)
    ready = [index for index, parents in waits_for.items() if not parents]
    made: set[str] = set()
    while ready:
        ordered += [nodes[index] for index in ready]
        fresh = {nodes[index].id for index in ready} - made
        made |= fresh
        freed = {index for parent in fresh for index in waiting.get(parent, ())}
        for index in freed:
            waits_for[index] -= fresh
        ready = sorted(index for index in freed if not waits_for[index])
    return tuple(ordered)


def _in_order(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    seen: set[str] = set()
    for node in nodes:
        if "\0" in node.path or any(part in ("", ".", "..") for part in node.path.split("/")):
            raise DataError(f"the path {visible_line(node.path)!r} is not one of a folder inside the run")
        lost = [parent for parent in node.parents if parent not in seen]
        if lost:
            raise DataError(
                f"{visible_line(node.path)} is listed before {visible_line(lost[0])}, which it was made from"
            )
        seen.add(node.id)
    return nodes
