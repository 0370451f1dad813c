"""Whether the files that a run's corpus was built from are still what they were, and what is done where they are not.

The corpus records path, size and BLAKE3 of every input file. A file that was edited, added or removed since is named;
by `corpus.on_change` the run is refused, or what was made from the files is removed, and so made again. Old and new are
never mixed.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stategpt.artifacts.measurements import is_published, stage_folders
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.errors import ForeignArtifact
from stategpt.progress import console
from stategpt.stages.user_data import inputs_now, is_own, recorded_inputs
from stategpt.visible_text import visible_line

_MOST_SHOWN = 5


@dataclass(frozen=True)
class InputChanges:
    """Input files that are not what they were when the corpus was built, as paths."""

    edited: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.edited or self.added or self.removed)

    def __str__(self) -> str:
        """As in "edited: a.md; added: b.md, c.md"."""
        kinds = {"edited": self.edited, "added": self.added, "removed": self.removed}
        return "; ".join(f"{kind}: {_listed(paths)}" for kind, paths in kinds.items() if paths)

    @classmethod
    def between(cls, before: Mapping[str, str], now: Mapping[str, str]) -> InputChanges:
        """Compares the content hashes of files by path."""
        return cls(
            tuple(path for path in before if path in now and before[path] != now[path]),
            tuple(path for path in now if path not in before),
            tuple(path for path in before if path not in now),
        )


def renew_inputs(run: RunConfig, folder: RunFolder) -> None:
    """Refuses a run whose input files changed since its corpus was built, or removes what was made from them.

    Raises:
        ForeignArtifact: they changed, and `corpus.on_change` is "refuse"; each kind of change names its files.
        ConfigError: a pattern matches nothing any more.
    """
    if not is_own(run) or not is_published(folder.corpus):
        return
    changes = InputChanges.between(recorded_inputs(folder.corpus), inputs_now(run))
    if not changes:
        return
    made = _made_from_corpus(run, folder)
    names = ", ".join(path.relative_to(folder.root).as_posix() for path in made)
    if run.corpus.on_change == "refuse":
        raise ForeignArtifact(
            f"input files of {visible_line(str(folder.root))} changed since its corpus was built. {changes}. Restore "
            f'them, use another --out folder, or set corpus.on_change = "rebuild" to make again: {names}.'
        )
    console.print(f"inputs changed. {changes}. Made again: {names}", markup=False)
    for path in reversed(made):  # the corpus last: a kill in between leaves it, and the next call goes on
        shutil.rmtree(path)


def _made_from_corpus(run: RunConfig, folder: RunFolder) -> list[Path]:
    """Folders of the run that were made from its corpus, the corpus first."""
    stages = [name for name in stage_folders(folder.root) if "/" not in name and name != "data"]
    kept = ("base",) if run.start.model else ()
    names = ["corpus", *(() if run.start.model else ("tokenizer",)), "data", "gates", *stages]
    return [folder.root / name for name in names if name not in kept and (folder.root / name).is_dir()]


def _listed(paths: tuple[str, ...]) -> str:
    shown = ", ".join(visible_line(path) for path in paths[:_MOST_SHOWN])
    return shown if len(paths) <= _MOST_SHOWN else f"{shown} and {len(paths) - _MOST_SHOWN} more"
