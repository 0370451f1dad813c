"""The corpus of a run on a user's own files: built, and compared with the files as they are now."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.config.parts import CURATION
from stategpt.data.curation.work import discard_work
from stategpt.data.inputs import Changes, Inputs, changed
from stategpt.data.user_corpus import build_user_corpus, publish_user_corpus, read_inputs, run_inputs
from stategpt.errors import CorruptArtifact
from stategpt.json_reader import read_json
from stategpt.progress import console
from stategpt.stages.curation import curated_documents, found_of, kept_of
from stategpt.visible_text import visible_line

_MOST_SHOWN = 5


def build_from_files(
    run: RunConfig, folder: RunFolder, fingerprint: str, target: Path, curation: Path | None = None
) -> None:
    """Builds the corpus of the files that the run names and publishes it as `target`; a curation that the run's own is
    not valid for any more is published as `curation`, by default in its place.

    Raises:
        ConfigError: a setting that does not fit the files.
        CorpusError: a pattern that matches nothing, files that cannot be used, too many rejected records, or too few
            groups to split.
    """
    names = [*(f"sources.{name}" for name in run.sources), *(key for key in run.own_data if key != "sources")]
    console.print(f"corpus: reading {', '.join(names) or 'prompts'} and splitting by group", markup=False)
    if not run.curate.is_active:
        discard_work(folder.root / CURATION)  # that an interrupted run with [curate] left
        build_user_corpus(run, Path.cwd(), target, exclude=[folder.root], fingerprint=fingerprint)
        return
    given = read_inputs(run, Path.cwd(), [folder.root])
    curated = curated_documents(run, folder, given, curation)
    publish_user_corpus(
        run,
        given,
        target,
        read=partial(kept_of, curated),
        found=found_of(curated),
        fingerprint=fingerprint,
        parents=(curated.manifest.fingerprint,),
    )


def input_changes(run: RunConfig, folder: RunFolder) -> Changes:
    """How the run's input files and own functions differ from those its published corpus was built from.

    Raises:
        CorpusError: a pattern matches nothing any more.
        CorruptArtifact: the corpus does not say what it was built from.
    """
    path = folder.corpus / "inputs.json"
    before = Inputs.from_json(read_json(path, error=CorruptArtifact), str(path))
    return changed(before, run_inputs(run, Path.cwd(), [folder.root]))


def shown(changes: Changes) -> str:
    """As in "edited: a.md; added: b.md, c.md; edited functions: own:keep"."""
    kinds = {"edited": changes.edited, "added": changes.added, "removed": changes.removed}
    kinds["edited functions"] = changes.functions
    return "; ".join(f"{kind}: {_listed(paths)}" for kind, paths in kinds.items() if paths)


def _listed(paths: tuple[str, ...]) -> str:
    named = ", ".join(visible_line(path) for path in paths[:_MOST_SHOWN])
    return named if len(paths) <= _MOST_SHOWN else f"{named} and {len(paths) - _MOST_SHOWN} more"
