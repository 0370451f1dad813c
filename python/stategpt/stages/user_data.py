"""The corpus of a run on a user's own files: built, and compared with the files as they are now."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from stategpt.artifacts import read_manifest
from stategpt.artifacts.measurements import is_published
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.config.parts import CURATION
from stategpt.data.inputs import Changes, Inputs, changed
from stategpt.data.user_corpus import build_user_corpus, run_inputs
from stategpt.errors import CorpusError, CorruptArtifact
from stategpt.json_reader import read_json
from stategpt.progress import console
from stategpt.stages.curation import curated_documents, curation_fingerprint, found_of, kept_of, read_by_curation
from stategpt.visible_text import visible_line

_MOST_SHOWN = 5


def build_from_files(
    run: RunConfig, folder: RunFolder, fingerprint: str, target: Path, curation: Path | None = None
) -> None:
    """Builds the corpus of the files that the run names and publishes it as `target`, and what curation keeps of them
    as `curation`, by default in the run's own folder.

    Raises:
        ConfigError: a setting that does not fit the files.
        CorpusError: a pattern that matches nothing, files that cannot be used, too many rejected records, or too few
            groups to split.
    """
    names = [*(f"sources.{name}" for name in run.sources), *(key for key in run.own_data if key != "sources")]
    console.print(f"corpus: reading {', '.join(names) or 'prompts'} and splitting by group", markup=False)
    left_out = [folder.root]
    if not run.curate.is_active:
        build_user_corpus(run, Path.cwd(), target, exclude=left_out, fingerprint=fingerprint)
        return
    before = run_inputs(run, Path.cwd(), left_out)
    read = run_inputs(run, Path.cwd(), left_out, read_by_curation(run))
    curated = curated_documents(run, folder, read, curation)
    build_user_corpus(
        run,
        Path.cwd(),
        target,
        exclude=left_out,
        curate=partial(kept_of, curated),
        found=found_of(curated),
        fingerprint=fingerprint,
        parents=(curated.manifest.fingerprint,),
    )
    if changes := input_changes(run, folder, before, target):
        shutil.rmtree(target)
        raise CorpusError(f"input files changed while they were curated ({shown(changes)}); run it again")


def curation_target(run: RunConfig, folder: RunFolder, other: Path) -> Path:
    """Where the curation of the files as they are now belongs: the run's, or `other` where that is of other files."""
    target = folder.root / CURATION
    if run.curate.is_active and is_published(target):
        read = run_inputs(run, Path.cwd(), [folder.root], read_by_curation(run))
        if read_manifest(target).fingerprints.get("config") != curation_fingerprint(run, read):
            return other
    return target


def input_changes(run: RunConfig, folder: RunFolder, now: Inputs | None = None, corpus: Path | None = None) -> Changes:
    """How the run's input files (as they are, or were hashed) differ from those its published corpus was built from.

    `corpus` is the folder of another one than the run's.

    Raises:
        CorpusError: a pattern matches nothing any more.
        CorruptArtifact: the corpus does not say what it was built from.
    """
    path = (corpus or folder.corpus) / "inputs.json"
    before = Inputs.from_json(read_json(path, error=CorruptArtifact), str(path))
    return changed(before, now or run_inputs(run, Path.cwd(), [folder.root]))


def shown(changes: Changes) -> str:
    """As in "edited: a.md; added: b.md, c.md"."""
    kinds = {"edited": changes.edited, "added": changes.added, "removed": changes.removed}
    return "; ".join(f"{kind}: {_listed(paths)}" for kind, paths in kinds.items() if paths)


def _listed(paths: tuple[str, ...]) -> str:
    named = ", ".join(visible_line(path) for path in paths[:_MOST_SHOWN])
    return named if len(paths) <= _MOST_SHOWN else f"{named} and {len(paths) - _MOST_SHOWN} more"
