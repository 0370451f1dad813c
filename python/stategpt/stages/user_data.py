"""The corpus of a run on a user's own files, and whether the files are still those it was built from."""

from __future__ import annotations

from pathlib import Path

from stategpt.config import RunConfig


def is_own(run: RunConfig) -> bool:
    """Whether the corpus is built from files that the run names, not by `corpus.source`."""
    prompts = (run.rankings.prompts, run.rl.prompts, run.evaluate.prompts)
    return not run.corpus.source and bool(run.own_data or run.start.model or any(prompts))


def build_from_files(run: RunConfig, folder: Path, fingerprint: str) -> None:
    """Builds and publishes the corpus.

    Raises:
        ConfigError: a pattern that matches nothing, or a setting that does not fit the files.
        CorpusError: files that cannot be used, too many rejected records, or too few groups to split.
    """
    raise NotImplementedError


def recorded_inputs(corpus: Path) -> dict[str, str]:
    """BLAKE3 of every file that a published corpus was built from, by path."""
    raise NotImplementedError


def inputs_now(run: RunConfig) -> dict[str, str]:
    """BLAKE3 of every file that the run's settings name now, by path."""
    raise NotImplementedError
