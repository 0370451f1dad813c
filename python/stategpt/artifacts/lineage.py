"""What each artifact of a run was made from: hash-linked from the corpus's bytes to the policy.

Every manifest names its parents by their fingerprints, and a fingerprint covers the hashes of all files and the
fingerprints of the parents. So the policy's fingerprint fixes everything that went into it, as a commit its history.
`lineage.json` in the run folder is the same graph in one file, for the report and for people.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from os import PathLike, walk
from pathlib import Path

from stategpt.artifacts.publish import Manifest, publish_file, read_manifest, verify
from stategpt.errors import CorruptArtifact, DataError, ForeignArtifact
from stategpt.shown_fields import documented, short_repr

LINEAGE_NAME = "lineage.json"
SCHEMA_VERSION = 1
# Working state of a stage, removed as the stage goes on; what it becomes is the stage's model.
_NOT_FOLLOWED = frozenset({"checkpoints"})


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
            fields = json.loads(path.read_bytes())
            version = fields["schema_version"]
            if version != SCHEMA_VERSION:
                raise ForeignArtifact(f"{path} has format version {version}, not {SCHEMA_VERSION}; run `stategpt run`")
            return cls(tuple(Node(**node | {"parents": tuple(node["parents"])}) for node in fields["nodes"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} holds no lineage ({error!r}); `stategpt run` on the folder writes it") from error

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

    def chains(self) -> list[tuple[Node, ...]]:
        """Every way through the graph from a folder without parents to one without children."""
        nodes = {node.id: node for node in self.nodes}
        return [chain for node in self.nodes if not self._children(node) for chain in _ways_to(node, nodes)]

    def text(self) -> str:
        """One block a folder: path, kind and identity, then what it was made from."""
        paths = {node.id: node.path for node in self.nodes}
        blocks = []
        for node in self.nodes:
            lines = [f"{node.path}  ({node.kind})  {node.id}"]
            lines += [f"  made from  {paths[parent]}" for parent in node.parents]
            lines += [f"  {name}  {value}" for name, value in sorted(node.fingerprints.items())]
            blocks.append("\n".join(lines))
        return "\n\n".join(blocks)

    def _children(self, node: Node) -> list[str]:
        return [other.path for other in self.nodes if node.id in other.parents]


def write_lineage(run_folder: str | PathLike[str]) -> Lineage:
    """Collects the run's lineage and publishes it as `lineage.json`."""
    lineage = Lineage.of(run_folder)
    lineage.write(run_folder)
    return lineage


def explain(run_folder: str | PathLike[str]) -> list[tuple[Node, ...]]:
    """Every chain of a run, first ancestor first: corpus -> shards -> base model -> ... -> policy."""
    return Lineage.of(run_folder).chains()


def _published(root: Path) -> Iterator[Path]:
    """Published folders below `root` that are not part of another one; temporary ones begin with a dot."""
    for folder, inside, files in walk(root):
        if "manifest.json" in files:
            inside.clear()
            yield Path(folder)
        inside[:] = sorted(name for name in inside if not name.startswith(".") and name not in _NOT_FOLLOWED)


def _node(manifest: Manifest, path: str) -> Node:
    return Node(manifest.fingerprint, manifest.kind, path, manifest.parents, dict(manifest.fingerprints))


def _parents_first(nodes: list[Node], root: Path) -> tuple[Node, ...]:
    known = {node.id for node in nodes}
    for node in nodes:
        lost = [parent for parent in node.parents if parent not in known]
        if lost:
            raise CorruptArtifact(
                f"{root / node.path} was made from {', '.join(lost)}, which is not in {root}: it was made again or "
                f"removed since. Delete {node.path} and run again to make it from what is there."
            )
    ordered: list[Node] = []
    waiting = nodes
    while waiting:  # ends: a fingerprint cannot contain itself, so there is no cycle
        made = {node.id for node in ordered}
        ordered += [node for node in waiting if made.issuperset(node.parents)]
        waiting = [node for node in waiting if not made.issuperset(node.parents)]
    return tuple(ordered)


def _ways_to(node: Node, nodes: Mapping[str, Node]) -> Iterator[tuple[Node, ...]]:
    if not node.parents:
        yield (node,)
    for parent in node.parents:
        for way in _ways_to(nodes[parent], nodes):
            yield (*way, node)
