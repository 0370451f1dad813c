"""Publishes the corpus of a run: of files that it names, or of the builder that `corpus.source` names."""

from __future__ import annotations

from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.config.presence import is_own
from stategpt.data.corpus import write_corpus
from stategpt.data.sources import build_corpus
from stategpt.progress import console
from stategpt.stages.fingerprints import part_fingerprint
from stategpt.stages.user_data import build_from_files


def publish_corpus(run: RunConfig, folder: RunFolder) -> None:
    """Builds the corpus, or checks that the one that is there belongs to these settings.

    Raises:
        ForeignArtifact: it was built with other settings.
        ConfigError, CorpusError: as the builder.
    """
    fingerprint = part_fingerprint(run, "corpus")
    if folder.published(folder.corpus, "corpus", fingerprint):
        return
    if is_own(run):
        build_from_files(run, folder, fingerprint, folder.corpus)
    else:
        console.print(f"corpus: reading the source {run.corpus.source} and splitting it by group", markup=False)
        write_corpus(build_corpus(run.corpus), folder.corpus, fingerprint=fingerprint)
