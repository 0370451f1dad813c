"""Sources are found by name in their folder; what a source does not offer is empty."""

import sys
from pathlib import Path

import pytest

from stategpt.config import CorpusConfig
from stategpt.data import sources
from stategpt.data.corpus import Corpus, SplitDocuments
from stategpt.errors import ConfigError
from stategpt.recipes import tiny_cpu

ONE_FILE = """
from stategpt.data.corpus import Corpus, SplitDocuments

def build(config):
    return Corpus({"notes": SplitDocuments()}, {"train": [], "validation": [], "test": []}, {"paths": config.paths})
"""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source of one file in the folder of sources."""
    (tmp_path / "notes.py").write_text(ONE_FILE)
    (tmp_path / "broken.py").write_text("def build(config):\n    return []\n")
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path)])
    yield
    for name in ("notes", "broken"):
        sys.modules.pop(f"stategpt.data.sources.{name}", None)


@pytest.mark.usefixtures("notes")
def test_a_file_in_the_folder_is_a_source() -> None:
    config = CorpusConfig(source="notes", paths=("a", "b"))
    assert "notes" in sources.source_names()
    empty = Corpus({"notes": SplitDocuments()}, {"train": [], "validation": [], "test": []}, {"paths": ("a", "b")})
    assert sources.build_corpus(config) == empty
    assert (sources.describe_corpus(config), sources.expected_corpus(config)) == ([], {})


@pytest.mark.usefixtures("notes")
def test_a_source_that_gives_no_corpus_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"corpus\.source = 'broken'.*list"):
        sources.build_corpus(CorpusConfig(source="broken"))


def test_only_modules_that_build_are_sources() -> None:
    assert sources.source_names() == ["python_library"]


def test_a_source_that_is_not_set_or_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"corpus\.source is not set; .*python_library"):
        sources.build_corpus(CorpusConfig())
    with pytest.raises(ConfigError, match=r"corpus\.source = 'text' is not a source"):
        sources.build_corpus(CorpusConfig(source="text"))
    with pytest.raises(ConfigError, match=r"corpus\.source = 'x' is not a source; it is one of .*python_library"):
        sources.describe_corpus(CorpusConfig(source="x"))
    assert sources.expected_corpus(CorpusConfig()) == {}


def test_the_standard_library_is_described_and_its_size_expected() -> None:
    config = tiny_cpu().corpus
    described = dict(sources.describe_corpus(config))
    assert {"read from", "core", "C modules"} <= described.keys()
    assert sources.expected_corpus(config) == {"conversations": 5_700, "seconds": 30.0}


def test_files_are_counted_and_expect_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    config = CorpusConfig(source="python_library", paths=(str(tmp_path),))
    assert sources.describe_corpus(config) == [("read from", str(tmp_path)), ("Python files", "1, 6 B")]
    assert sources.expected_corpus(config) == {}
