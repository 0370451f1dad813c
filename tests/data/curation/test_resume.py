"""An interrupted curation goes on after its last finished pass, and ends with the bytes of an uninterrupted one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stategpt.config import CurateConfig
from stategpt.data import Document, Place, Prompt, Tally, curate, read_curated
from stategpt.data.curation import parts
from stategpt.data.curation.work import discard_work
from stategpt.data.rejections import Rejection
from stategpt.errors import StorageError

PROSE = "the cat sat on the mat with a dog and they have to be friends of that house in it"
QUESTION = Prompt.of("Which river flows through the old town of Heidelberg?", "the Neckar")
STEPS = {"exact_duplicates": True, "near_duplicates": True, "decontaminate": True}
CONFIGS = {
    "all": CurateConfig(clean=True, boilerplate_share=0.4, rules=("gopher_repetition",), pii="replace", **STEPS),
    "filter": CurateConfig(min_characters=30),
}
FINGERPRINTS = {"config": "b3:x"}
TOTAL = 72


def documents() -> Iterator[Document]:
    """Some of each fate; in two sources."""
    for number in range(TOTAL):
        texts = {
            0: f"Menu | Home\n{number} {PROSE} {number * 7919}",
            1: "ja " * 60 + str(number),
            2: f"Menu | Home\n{PROSE} word{number % 3}",
            3: f"short {number}",
            4: f"Menu | Home\n{number} write to a{number}@b.co, {PROSE[number % 9 :]} number {number * 31}",
            5: f"{QUESTION.text} {number} It is the Neckar.",
        }
        yield Document(texts[number % 6], "ab"[number // 6 % 2], f"g{number}", Place("x.jsonl", number + 1, number))


def curated(out: Path, config: CurateConfig, **options: object) -> str:
    """The fingerprint of what is published: that of every byte."""
    given = {"fingerprints": FINGERPRINTS, "evaluation": [QUESTION] if config.decontaminate else ()} | options
    return curate(given.pop("documents", None) or documents(), config, out, **given).manifest.fingerprint  # type: ignore[arg-type]


class Stop(BaseException):
    """An interruption, as SIGINT or SIGTERM raise."""


class StopAt:
    """Interrupts at one call of progress."""

    def __init__(self, number: int) -> None:
        self.number, self.calls = number, list[tuple[int, int, str]]()

    def __call__(self, *call: int | str) -> None:
        self.calls.append(call)  # type: ignore[arg-type]
        if len(self.calls) == self.number:
            raise Stop


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_CHARACTERS", 3000)
    monkeypatch.setattr("stategpt.data.curation.passes.PROGRESS_EVERY", 40)


PLACES = {"all": (2, 5, 7, 9, 13, 15, 18, 20, 22, 25, 28), "filter": (1, 3, 5, 7)}
"""Calls of progress within and between the passes; the last ones come before the curation is published."""


@pytest.mark.parametrize("name", CONFIGS)
def test_an_interruption_at_any_place_changes_nothing(tmp_path: Path, name: str) -> None:
    config, counted = CONFIGS[name], StopAt(0)
    whole = curated(tmp_path / "whole", config, progress=counted)
    assert len(read_curated(tmp_path / "whole").summary.removed) == {"all": 4, "filter": 1}[name]
    assert len(counted.calls) == PLACES[name][-1]
    assert {call[2] for call in counted.calls} == {counted.calls[place - 1][2] for place in PLACES[name]}
    for number in PLACES[name]:
        out = tmp_path / f"out{number}"
        with pytest.raises(Stop):
            curated(out, config, progress=StopAt(number))
        assert not out.exists(), "nothing is published"
        assert curated(out, config) == whole
    made = {"whole", *(f"out{number}" for number in PLACES[name])}
    assert {path.name for path in tmp_path.iterdir()} == made, "the work is removed"


def test_an_interruption_while_it_is_published_makes_no_pass_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise Stop

    with monkeypatch.context() as broken:
        broken.setattr("stategpt.data.curation.pipeline.write_summary", stop)
        with pytest.raises(Stop):
            curated(tmp_path / "out", CONFIGS["all"])
    again = StopAt(0)
    assert curated(tmp_path / "out", CONFIGS["all"], progress=again) == curated(tmp_path / "whole", CONFIGS["all"])
    assert again.calls == []


def test_finished_passes_are_not_made_again(tmp_path: Path) -> None:
    config, counted = CONFIGS["all"], StopAt(0)
    curated(tmp_path / "whole", config, progress=counted)
    begins = {call[2]: number for number, call in reversed(list(enumerate(counted.calls, start=1)))}
    names = list(dict.fromkeys(call[2] for call in counted.calls))
    assert names == ["clean", "boilerplate", "filter", "exact duplicates", "near-duplicates", "contamination"]
    for name in names[1:]:
        with pytest.raises(Stop):
            curated(tmp_path / name, config, progress=StopAt(begins[name]))

        def unread() -> Iterator[Document]:
            raise AssertionError("the documents are read again")
            yield

        again = StopAt(0)
        curated(tmp_path / name, config, documents=unread(), progress=again)
        before = {"clean", *names[1 : names.index(name)]} - {"boilerplate", "filter"}
        if name not in ("boilerplate", "filter"):
            before |= {"boilerplate", "filter"}
        assert not before & {call[2] for call in again.calls}, name


def test_a_part_that_is_done_is_read_and_not_judged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["seen = []", "def keep(document):", "    seen.append(document.where.line)", "    return True"]
    (tmp_path / "own_resume.py").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import own_resume  # type: ignore[import-not-found]

    config = CurateConfig(filters=("own_resume:keep",))
    with pytest.raises(Stop):
        curated(tmp_path / "out", config, progress=StopAt(5))
    done = len(list((tmp_path / ".out.work").glob("filter-*")))
    assert done >= 1
    own_resume.seen.clear()
    curated(tmp_path / "out", config)
    first, *_ = own_resume.seen
    assert 1 < first < TOTAL
    assert own_resume.seen == list(range(first, TOTAL + 1))


@pytest.mark.parametrize(
    ("number", "by"), [(4, signal.SIGKILL), (12, signal.SIGTERM), (17, signal.SIGKILL), (27, signal.SIGKILL)]
)
def test_a_killed_process_is_gone_on_with(tmp_path: Path, number: int, by: signal.Signals) -> None:
    program = (
        "import os, sys, test_resume as t, stategpt.data.curation.passes as passes\n"
        "t.parts.PART_CHARACTERS, passes.PROGRESS_EVERY = 3000, 40\n"
        "calls = []\n"
        "def progress(*call):\n"
        "    calls.append(call)\n"
        f"    if len(calls) == {number}: os.kill(os.getpid(), {int(by)})\n"
        "t.curated(t.Path(sys.argv[1]), t.CONFIGS['all'], progress=progress)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "out")], env=environment, check=False, timeout=200
    )
    assert done.returncode == -by
    assert not (tmp_path / "out").exists()
    assert (tmp_path / ".out.work").exists()
    assert curated(tmp_path / "out", CONFIGS["all"]) == curated(tmp_path / "whole", CONFIGS["all"])
    assert not (tmp_path / ".out.work").exists()


@pytest.mark.parametrize("changed", ["fingerprints", "config", "prompts"])
def test_work_on_other_documents_settings_or_prompts_is_discarded(tmp_path: Path, changed: str) -> None:
    config = CONFIGS["all"]
    with pytest.raises(Stop):
        curated(tmp_path / "out", config, progress=StopAt(23))
    options: dict[str, object] = {}
    if changed == "fingerprints":
        options = {"fingerprints": {"config": "b3:y"}, "documents": [Document(PROSE, "c")]}
    elif changed == "config":
        config = CurateConfig(**{**vars(config), "pii": "remove"})
    else:
        options = {"evaluation": [Prompt.of("What is the number of words in this?", "nineteen")]}
    assert curated(tmp_path / "out", config, **options) == curated(tmp_path / "whole", config, **options)


@pytest.mark.parametrize("damage", ["cut", "edited", "no manifest", "no file"])
def test_damaged_work_is_made_again(tmp_path: Path, damage: str) -> None:
    config = CONFIGS["all"]
    with pytest.raises(Stop):
        curated(tmp_path / "out", config, progress=StopAt(23))
    part = tmp_path / ".out.work" / "filter-00001"
    file = part / "documents.jsonl"
    if damage == "cut":
        os.truncate(file, file.stat().st_size - 40)
    elif damage == "edited":
        file.write_bytes(file.read_bytes().replace(b"cat", b"rat"))
    else:
        (part / "manifest.json" if damage == "no manifest" else file).unlink()
    assert curated(tmp_path / "out", config) == curated(tmp_path / "whole", config)


def test_documents_without_a_name_are_read_anew(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        curated(tmp_path / "out", CONFIGS["all"], fingerprints={}, progress=StopAt(23))
    assert list(tmp_path.iterdir()) == []
    # As a killed process leaves it:
    with pytest.raises(Stop):
        curated(tmp_path / "out", CONFIGS["all"], progress=StopAt(23))
    curated(tmp_path / "out", CONFIGS["all"], fingerprints={}, documents=[Document(PROSE, "s")])
    assert [document.text for document in read_curated(tmp_path / "out").documents()] == [PROSE]


def test_counts_of_the_reader_are_kept_with_the_work(tmp_path: Path) -> None:
    def read(tally: Tally) -> Iterator[Document]:
        tally.reject(Rejection(Place("x.jsonl", 1, 0), "empty_text", "there is no text"))
        for document in documents():
            tally.keep()
            yield document

    tally = Tally()
    with pytest.raises(Stop):  # after all was read
        curated(tmp_path / "out", CONFIGS["all"], documents=read(tally), tallies={"a": tally}, progress=StopAt(23))
    curated(tmp_path / "out", CONFIGS["all"], documents=iter([Document("unread")]))
    assert read_curated(tmp_path / "out").summary.inputs == {"a": tally}
    assert tally.to_json()["first"] == ["x.jsonl:1 (byte 0): empty_text: there is no text"]


def test_a_link_in_place_of_the_work_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    (tmp_path / ".out.work").symlink_to(tmp_path / "other")
    with pytest.raises(StorageError, match="is a link"):
        curated(tmp_path / "out", CONFIGS["filter"])
    discard_work(tmp_path / "out")
    assert (tmp_path / "other" / "file").exists()
