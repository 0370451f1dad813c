"""The corpus of a run on a user's own files: built, and compared with the files as they are now.

A file that was edited, added or removed since is named; by `corpus.on_change` the run is refused, or what was made from
the files is removed, and so made again. Old and new are never mixed.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from stategpt.artifacts.measurements import is_published, stage_folders
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.config.parts import CURATION
from stategpt.config.presence import is_own
from stategpt.data.curation.work import discard_work
from stategpt.data.inputs import Changes, Inputs, changed
from stategpt.data.user_corpus import build_user_corpus, publish_user_corpus, read_inputs, run_inputs
from stategpt.errors import CorruptArtifact, ForeignArtifact
from stategpt.json_reader import read_json
from stategpt.progress import console
from stategpt.stages.curation import curated_documents, found_of, kept_of
from stategpt.visible_text import visible_line

_MOST_SHOWN = 5


def build_from_files(run: RunConfig, folder: RunFolder, fingerprint: str) -> None:
    """Builds and publishes the corpus of the files that the run names.

    Raises:
        ConfigError: a setting that does not fit the files.
        CorpusError: a pattern that matches nothing, files that cannot be used, too many rejected records, or too few
            groups to split.
    """
    names = [*(f"sources.{name}" for name in run.sources), *(key for key in run.own_data if key != "sources")]
    console.print(f"corpus: reading {', '.join(names) or 'prompts'} and splitting by group", markup=False)
    if not run.curate.is_active:
        discard_work(folder.root / CURATION)  # that an interrupted run with [curate] left
        build_user_corpus(run, Path.cwd(), folder.corpus, exclude=[folder.root], fingerprint=fingerprint)
        return
    given = read_inputs(run, Path.cwd(), [folder.root])
    curated = curated_documents(run, folder, given)
    publish_user_corpus(
        run,
        given,
        folder.corpus,
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


def renew_inputs(run: RunConfig, folder: RunFolder) -> None:
    """Refuses a run whose input files changed since its corpus was built, or removes what was made from them.

    Raises:
        ForeignArtifact: they changed, and `corpus.on_change` is "refuse"; each kind of change names its files.
    """
    if not is_own(run) or not is_published(folder.corpus):
        return
    changes = input_changes(run, folder)
    if not changes:
        return
    made = _made_from_corpus(run, folder)
    names = ", ".join(path.relative_to(folder.root).as_posix() for path in made)
    if run.corpus.on_change == "refuse":
        raise ForeignArtifact(
            f"input files of {visible_line(str(folder.root))} changed since its corpus was built. {shown(changes)}. "
            f'Restore them, use another --out folder, or set corpus.on_change = "rebuild" to make again: {names}.'
        )
    console.print(f"inputs changed. {shown(changes)}. Made again: {names}", markup=False)
    for path in reversed(made):  # the corpus last: after a kill in between the next call finds it changed, too
        shutil.rmtree(path)


def shown(changes: Changes) -> str:
    """As in "edited: a.md; added: b.md, c.md; edited functions: own:keep"."""
    kinds = {"edited": changes.edited, "added": changes.added, "removed": changes.removed}
    kinds["edited functions"] = changes.functions
    return "; ".join(f"{kind}: {_listed(paths)}" for kind, paths in kinds.items() if paths)


def _made_from_corpus(run: RunConfig, folder: RunFolder) -> list[Path]:
    """Folders of the run that were made from its corpus, in the order of the work.

    The curation is made again where its own inputs changed (`stages.curation`).
    """
    stages = [name for name in stage_folders(folder.root) if "/" not in name and name != "data"]
    kept = ("base", "tokenizer") if run.start.model else ()
    names = ["corpus", "tokenizer", "data", *stages, "gates"]
    return [folder.root / name for name in names if name not in kept and (folder.root / name).is_dir()]


def _listed(paths: tuple[str, ...]) -> str:
    named = ", ".join(visible_line(path) for path in paths[:_MOST_SHOWN])
    return named if len(paths) <= _MOST_SHOWN else f"{named} and {len(paths) - _MOST_SHOWN} more"
