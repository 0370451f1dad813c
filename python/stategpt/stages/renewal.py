"""What becomes of a run whose inputs changed: it is refused, or what was made from what differs is made again.

A file that was edited, added or removed is named, and so is a function of the user's (a filter, a scorer) whose module
was edited. By `corpus.on_change` the run is refused, or the corpus is built again beside the old one, and the two are
compared part by part (`data.corpus.PARTS`). A stage that was made from a part that differs, or with an edited scorer,
is removed, with all that was made from it, and the run makes it again; what no difference led to stays as it is. Old
and new are never mixed: the old corpus and the record of scorers are replaced last, so that a call that was killed is
done over.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from stategpt.artifacts import publish_file, read_manifest
from stategpt.artifacts.measurements import EVALUATION, GATES, LOG, is_published, stage_folders
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.config.parts import CONVERSATION_FIT, CURATION, PROMPT_FIT, parts_of
from stategpt.config.presence import is_own
from stategpt.config.schema import flatten
from stategpt.config.stage_names import stage_of_folder
from stategpt.data.corpus import CONVERSATIONS, DOCUMENTS, PARTS
from stategpt.data.inputs import Changes
from stategpt.errors import CorruptArtifact, ForeignArtifact
from stategpt.json_reader import MapOf, Record, Text, read_record
from stategpt.progress import console
from stategpt.stages.fingerprints import part_fingerprint, scorer_sources
from stategpt.stages.user_data import build_from_files, input_changes, shown
from stategpt.visible_text import visible_line

_NEXT, _CURATION, _BEFORE = ".corpus", ".curation", ".corpus_before"
"""Hidden folders of a run: corpus and curation that were built again, and the corpus that they replace."""

_SCORERS = Record({"scorers": MapOf(Text())})


def renew_inputs(run: RunConfig, folder: RunFolder) -> None:
    """Refuses a run whose input files or functions changed since they were used, or builds the corpus again and removes
    what was made from what differs.

    Raises:
        ForeignArtifact: they changed, and `corpus.on_change` is "refuse"; each kind of change names its files.
        ConfigError, CorpusError: the files are not usable as they are now; the run is left as it was.
    """
    _end_replacing(folder)
    read, scorers = is_own(run) and is_published(folder.corpus), _edited_scorers(run, folder)
    changes = input_changes(run, folder) if read else Changes((), (), ())
    is_rebuilt = bool(changes)
    edited = {name.partition(" = ")[0] for name in scorers}
    made_with = [name for name, part in parts_of(run).items() if any(map(part.reads, edited))]
    is_made = any(path != folder.gates for path in stale_folders(run, folder, stale_parts(run, (), made_with, False)))
    if is_rebuilt or (scorers and is_made):
        said = "; ".join(filter(None, [shown(changes), ", ".join(f"module edited: {name}" for name in scorers)]))
        if run.corpus.on_change == "refuse":
            raise ForeignArtifact(
                f"input files of {visible_line(str(folder.root))} changed since they were read. {said}. Restore them, "
                'use another --out folder, or set corpus.on_change = "rebuild": the stages that were made from what '
                "differs are repeated."
            )
        console.print(f"inputs changed. {said}", markup=False)
        _make_way(run, folder, is_rebuilt, made_with)
    _record_scorers(run, folder)


def _make_way(run: RunConfig, folder: RunFolder, is_rebuilt: bool, made_with: Collection[str]) -> None:
    """Builds the corpus again, if it is to be, and removes what is not valid any more."""
    differing: list[str] = []
    if is_rebuilt:
        curation = folder.root / _CURATION
        build_from_files(run, folder, part_fingerprint(run, "corpus"), folder.root / _NEXT, curation)
        differing = differing_parts(folder.corpus, folder.root / _NEXT)
    removed = list(stale_folders(run, folder, stale_parts(run, differing, made_with, is_rebuilt)))
    _say(folder, differing, removed)
    for path in reversed(removed):
        shutil.rmtree(path)
    if is_rebuilt:
        folder.corpus.rename(folder.root / _BEFORE)
        _end_replacing(folder)


def _scorers(folder: RunFolder) -> Path:
    """The record of the scorers of the user's that the run was made with."""
    return folder.root / "scorers.json"


def _record_scorers(run: RunConfig, folder: RunFolder) -> None:
    """Writes that record, where it is not as it should be; a run without such scorers has none."""
    used, path = scorer_sources(flatten(run)), _scorers(folder)
    text = json.dumps({"scorers": used}, indent=2) + "\n"
    if (used or path.exists()) and not (path.exists() and path.read_text(encoding="utf-8") == text):
        publish_file(path, text.encode())


def _edited_scorers(run: RunConfig, folder: RunFolder) -> list[str]:
    """Scorers that the settings name and whose module was edited since it was used: "rl.scorer = rules:score"."""
    if not _scorers(folder).exists():
        return []
    before = read_record(_scorers(folder), _SCORERS, error=CorruptArtifact)["scorers"]
    return [name for name, digest in scorer_sources(flatten(run)).items() if before.get(name, digest) != digest]


def differing_parts(before: Path, after: Path) -> list[str]:
    """The parts that two corpora do not have alike, as in "conversations"; one that is in neither is alike."""

    def identity(part: Path) -> str:
        """Fingerprint of a part's records; "" where it is not there."""
        return read_manifest(part).fingerprint if is_published(part) else ""

    return [part for part in PARTS if identity(before / part) != identity(after / part)]


def stale_parts(
    run: RunConfig, differing: Collection[str], made_with: Collection[str] = (), is_rebuilt: bool = True
) -> set[str]:
    """The parts of a run (`config.parts`) that were made from parts of the corpus that differ, or from the parts
    `made_with` (these included), directly or not.
    """
    stale = {*(["corpus"] if is_rebuilt else []), *(f"corpus/{part}" for part in differing), *made_with}
    for name, part in parts_of(run).items():  # in the order of the work
        if not name.startswith("corpus/") and not stale.isdisjoint(part.made_from):
            stale.add(name)
    return stale


def stale_folders(run: RunConfig, folder: RunFolder, stale: set[str]) -> Iterator[Path]:
    """Folders of the run folder that hold these parts, in the order of the work. What a run does not have any more,
    such as a stage whose section was left out, is among them.
    """
    parts = parts_of(run)
    if "tokenizer" in stale and folder.tokenizer.is_dir():
        yield folder.tokenizer
    yield from _stale_data(folder, stale)
    for name in stage_folders(folder.root):
        if name == "data":
            continue
        stage, measured = stage_of_folder(name), f"{name}/{EVALUATION}"
        made = f"{name}/{stage.artifact}" if stage.artifact else measured
        in_training = bool(stage.measured_with) and measured in stale  # cannot be measured on the finished model
        if made in stale or made not in parts or in_training:
            yield folder.root / name
        elif measured in stale and (folder.root / measured).is_dir():
            yield folder.root / measured
    if folder.gates.is_dir():
        yield folder.root / GATES


def _stale_data(folder: RunFolder, stale: set[str]) -> Iterator[Path]:
    """Folders of data/: what fits, and shards."""
    documents = not stale.isdisjoint(("tokenizer", f"corpus/{DOCUMENTS}"))
    for path in sorted((folder.root / "data").glob("*/")):
        is_stale = {
            LOG: "corpus" in stale,
            CONVERSATIONS: CONVERSATION_FIT in stale,
            "prompts": documents or PROMPT_FIT in stale,  # a source may have that name
        }
        if is_stale.get(path.name, documents):
            yield path


def _say(folder: RunFolder, differing: Collection[str], removed: Collection[Path]) -> None:
    """Prints which parts differ, which stages are repeated and which are kept."""
    parts = [part for part in PARTS if is_published(folder.corpus / part) or part in differing]
    alike = ", ".join(part for part in parts if part not in differing) or "none"
    console.print(f"parts of the corpus that differ: {', '.join(differing) or 'none'}; alike: {alike}", markup=False)
    names = [path.relative_to(folder.root).as_posix() for path in removed]
    repeated = [name for name in names if name not in (f"data/{LOG}", GATES)]
    console.print(f"made again, since it was made from what differs: {', '.join(repeated) or 'nothing'}", markup=False)
    there = ["tokenizer", *stage_folders(folder.root)]
    kept = [name for name in there if name not in names and name != "data" and (folder.root / name).is_dir()]
    console.print(f"kept, since nothing that differs led to it: {', '.join(kept) or 'nothing'}", markup=False)


def _end_replacing(folder: RunFolder) -> None:
    """Gives what was built again its place, where the old corpus has left it, also after a kill; else removes it."""
    after, curation, before = (folder.root / name for name in (_NEXT, _CURATION, _BEFORE))
    if before.exists():
        if after.exists():
            after.rename(folder.corpus)
        if curation.exists():
            shutil.rmtree(folder.root / CURATION, ignore_errors=True)
            curation.rename(folder.root / CURATION)
    for path in (after, curation, before):
        shutil.rmtree(path, ignore_errors=True)
