"""Shows whether two commits compute the same: runs the smoke recipe of each and compares what they leave, bit by bit.

    .venv/bin/python tests/equivalence/compare_commits.py BEFORE AFTER

Each commit is checked out into a temporary worktree, its compiled module is built there (some minutes the first time),
and its smallest recipe runs with the same number of threads. Then every artifact is printed as `same`, `DIFFERENT` or
`missing`: weights tensor by tensor, token shards array by array, the tokenizer, and the ids, ranks and preference pairs
of the ranking records. Exit code 0 if all are the same, 1 if not.

A commit that changes arithmetic, order or randomness is expected to differ; one that moves or renames is not.
`--runs FOLDER FOLDER` compares two finished run folders and builds nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

SAME, DIFFERENT, MISSING = "same", "DIFFERENT", "missing"
RECIPES = ("smoke_cpu", "test_cpu")
"""Names that the smallest recipe has had, the newest first."""
LIBRARIES = {"linux": "lib_native.so", "darwin": "lib_native.dylib"}

Arrays = Mapping[str, Any]
"""What a file holds, by name: arrays or plain JSON values."""


@dataclass(frozen=True)
class Verdict:
    """The result for one artifact."""

    artifact: str
    """Path inside the run folder."""
    verdict: str
    """`SAME`, `DIFFERENT` or `MISSING`."""
    detail: str = ""
    """Which parts differ, or on which side the file is missing."""


def compare_runs(before: Path, after: Path) -> list[Verdict]:
    """Compares every artifact of two run folders; a file that only one of them holds is missing."""
    found = []
    for pattern, read in READERS.items():
        names = {path.relative_to(root).as_posix() for root in (before, after) for path in root.glob(pattern)}
        found += [_compare(name, before / name, after / name, read) for name in sorted(names)]
    return found


def _compare(artifact: str, before: Path, after: Path, read: Callable[[Path], Arrays]) -> Verdict:
    sides = [side for side, path in (("before", before), ("after", after)) if not path.exists()]
    if sides:
        return Verdict(artifact, MISSING, f"not there {sides[0]}")
    old, new = read(before), read(after)
    names = {*old, *new}
    parts = sorted(name for name in names if not (name in old and name in new and _equal(old[name], new[name])))
    if not parts:
        return Verdict(artifact, SAME)
    shown = ", ".join(parts[:3]) + (", ..." if len(parts) > 3 else "")
    return Verdict(artifact, DIFFERENT, f"{len(parts)} of {len(names)} parts: {shown}")


def _equal(old: Any, new: Any) -> bool:
    """Bit equality: -0.0 is not 0.0, and a NaN equals the same NaN."""
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        return old.dtype == new.dtype and old.shape == new.shape and old.tobytes() == new.tobytes()
    return bool(old == new)


def _tensors(path: Path) -> Arrays:
    return load_file(path)


def _array(path: Path) -> Arrays:
    return {"array": np.load(path, allow_pickle=False)}


def _tokenizer(path: Path) -> Arrays:
    """The parts of a tokenizer.json; its bytes may differ in white space."""
    held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return held


def _rankings(path: Path) -> Arrays:
    """What a ranking trains on, by record: names of other fields have changed, these are the data."""
    records = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        record = json.loads(line)
        completions = [(each.get("ids"), each["rank"]) for each in record["completions"]]
        records[f"record {number}"] = (record["prompt"], completions, record.get("pairs"))
    return records


READERS: Mapping[str, Callable[[Path], Arrays]] = {
    "tokenizer/tokenizer.json": _tokenizer,
    "data/**/*.npy": _array,
    "rankings/records/*.jsonl": _rankings,
    "**/model/model.safetensors": _tensors,
}
"""What is compared, by glob pattern inside a run folder, in the order of the stages."""


def report(verdicts: list[Verdict]) -> Iterator[str]:
    """One line per artifact, and a last one with the count."""
    for each in verdicts:
        yield f"{each.verdict:<9}  {each.artifact}" + (f"  ({each.detail})" if each.detail else "")
    same = sum(each.verdict == SAME for each in verdicts)
    yield f"{same} of {len(verdicts)} artifacts are the same"


def run_commit(commit: str, folder: Path, target: Path, threads: int) -> Path:
    """Checks out, builds and runs the smallest recipe of a commit below `folder`; returns its run folder."""
    source, out = folder / "source", folder / "run"
    _call("git", "worktree", "add", "--detach", str(source), commit)
    try:
        environment = os.environ | {"CARGO_TARGET_DIR": str(target), "PYO3_PYTHON": sys.executable}
        _call("cargo", "build", "--release", "--locked", "-p", "stategpt-bindings", cwd=source, env=environment)
        library = target / "release" / LIBRARIES[sys.platform]
        shutil.copyfile(library, source / "python" / "stategpt" / "_native.abi3.so")
        recipe = smallest_recipe(source)
        environment = os.environ | {"PYTHONPATH": str(source / "python"), "OMP_NUM_THREADS": str(threads)}
        _call(sys.executable, "-m", "stategpt", "run", recipe, "--out", str(out), cwd=source, env=environment)
    finally:
        _call("git", "worktree", "remove", "--force", str(source))
    return out


def smallest_recipe(source: Path) -> str:
    """The name that the smallest recipe has in a checkout."""
    for name in RECIPES:
        if (source / "python" / "stategpt" / "recipes" / f"{name}.py").exists():
            return name
    raise SystemExit(f"{source} has none of the recipes {', '.join(RECIPES)}; add the name it had to RECIPES")


def _call(*command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    print("+", *command, file=sys.stderr, flush=True)
    subprocess.run(command, cwd=cwd or Path(__file__).resolve().parents[2], env=env, check=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("before", help="a commit, or with --runs a run folder")
    parser.add_argument("after", help="another commit or run folder")
    parser.add_argument("--runs", action="store_true", help="compare run folders that are there; build nothing")
    parser.add_argument("--threads", type=int, default=1, help="threads of both runs (default: 1)")
    arguments = parser.parse_args()
    if arguments.runs:
        verdicts = compare_runs(Path(arguments.before), Path(arguments.after))
    else:
        with tempfile.TemporaryDirectory(prefix="stategpt-compare-") as name:
            root = Path(name)
            folders = []
            for side in ("before", "after"):
                (root / side).mkdir()
                folders.append(run_commit(getattr(arguments, side), root / side, root / "target", arguments.threads))
            verdicts = compare_runs(*folders)
    print("\n".join(report(verdicts)))
    return 0 if verdicts and all(each.verdict == SAME for each in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
