"""Bad input through the commands: one explained error that names file and setting, or counts."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from stategpt import _native
from stategpt.cli import main
from user_files import Writer

SOURCE = '[sources.docs]\npaths = ["{}"]\nshare = 1.0\n'
GOOD = SOURCE.format("files/docs")
CHATS = '[sft]\ndata = ["files/{}"]\n'
RANKED = '[rankings]\ndata = ["files/{}"]\n[reward]\n'
Change = Callable[[Path], object]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    writer = Writer(tmp_path / "files")
    writer.markdown(40)
    writer.notes(40)
    return tmp_path


def built(project: Path, text: str, *more: str) -> int:
    (project / "mine.toml").write_text(text)
    return main(["data", "build", str(project / "mine.toml"), "--out", str(project / "run"), *more])


def one_line(text: str) -> str:
    return " ".join(text.split())


def _columns(**columns: object) -> Change:
    def write(files: Path) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.table(columns), files / "a.parquet")

    return write


def _bomb(pack: Callable[[bytes], bytes], name: str) -> Change:
    return lambda files: (files / name).write_bytes(pack(b'{"text": "' + b"a" * (100 << 20) + b'"}\n'))


def _lines(name: str, *rows: object) -> Change:
    return lambda files: (files / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def _nothing(files: Path) -> None:
    """The files are as they are."""


UNTRAINED = {"messages": [{"role": "user", "content": "Hm?"}, {"role": "assistant", "content": "Ah.", "weight": 0}]}


@pytest.mark.parametrize(
    ("change", "text", "message"),
    [
        pytest.param(
            *(_nothing, SOURCE.format("files/*.rst"), r"sources\.docs\.paths: '.*\*\.rst' matches no file"),
            id="a glob that matches nothing",
        ),
        pytest.param(
            *(_nothing, SOURCE.format("files/none.md"), r"sources\.docs\.paths: .*none\.md does not exist"),
            id="a file that is not there",
        ),
        pytest.param(
            lambda files: (files.parent / "run" / "notes").mkdir(parents=True),
            SOURCE.format("run/notes"),
            r"sources\.docs\.paths: .*notes is inside .*run, the run's folder",
            id="the run's own folder",
        ),
        pytest.param(
            _nothing,
            '[sources.a]\npaths = ["files/docs"]\nshare = 0.5\n[sources.b]\npaths = ["files/docs/*.md"]\nshare = 0.5\n',
            r"page0\.md is in sources\.a\.paths and in sources\.b\.paths",
            id="the same file in two sources",
        ),
        pytest.param(
            lambda files: (files / "self.md").symlink_to("self.md"),
            SOURCE.format("files/self.md"),
            r"self\.md does not exist",
            id="a link to itself",
        ),
        pytest.param(
            _bomb(gzip.compress, "a.jsonl.gz"),
            SOURCE.format("files/a.jsonl.gz"),
            r"a\.jsonl\.gz unpacks to over",
            id="gz",
        ),
        pytest.param(
            _bomb(_native.compress_zstd, "a.jsonl.zst"),
            SOURCE.format("files/a.jsonl.zst"),
            r"a\.jsonl\.zst unpacks to over",
            id="zst bomb",
        ),
        pytest.param(
            _bomb(gzip.compress, "chats.jsonl.gz"),
            GOOD + CHATS.format("chats.jsonl.gz"),
            r"unpacks to over",
            id="chats",
        ),
        pytest.param(
            _columns(text=[["a"], ["b"]]),
            SOURCE.format("files/a.parquet"),
            r"sources\.docs: .*a\.parquet: the column 'text' is of type list<",
            id="a Parquet list column",
        ),
        pytest.param(
            _columns(text=[1, 2]),
            SOURCE.format("files/a.parquet"),
            r"a\.parquet: the column 'text' is of type int64; name a text column",
            id="a column of another type",
        ),
        pytest.param(
            _columns(body=["a"]),
            SOURCE.format("files/a.parquet"),
            r"a\.parquet has no column 'text'",
            id="a column that is not there",
        ),
        pytest.param(
            _nothing,
            SOURCE.format("files/notes.jsonl"),
            r"sources\.docs: 40 of 40 records were rejected \(40 missing_field\).*notes\.jsonl:1 \(byte 0\): missing",
            id="a field that no record has",
        ),
        pytest.param(
            _lines("chats.jsonl", *({"q": f"{n}?", "a": "Yes."} for n in range(30))),
            GOOD + CHATS.format("chats.jsonl") + 'columns = {prompt = "question", response = "a"}\n',
            r"chats\.jsonl: no record has the fields 'question', 'a' that columns names",
            id="a column that no chat has",
        ),
        pytest.param(
            _nothing,
            SOURCE.format("files/docs").replace("1.0", "0.7"),
            r"mine\.toml: sources = .*: the shares of all sources must add up to 1, not 0\.7",
            id="weights that do not add up",
        ),
        pytest.param(
            lambda files: [path.write_text(" \n") for path in files.rglob("*.md")],
            GOOD + "[corpus]\nmax_rejected_share = 1.0\n",
            r"sources\.docs: no document is left of 40; give files with text",
            id="an empty source",
        ),
        pytest.param(
            _lines("chats.jsonl", *(UNTRAINED for _ in range(30))),
            GOOD + CHATS.format("chats.jsonl"),
            r"sft\.data: 30 of 30 records were rejected \(30 no_answer\).*chats\.jsonl:1 \(byte 0\): no_answer",
            id="conversations without a trained token",
        ),
        pytest.param(
            _lines("hh.jsonl", *({"prompt": f"{n}?", "chosen": "Same.", "rejected": "Same."} for n in range(30))),
            GOOD + RANKED.format("hh.jsonl"),
            r"rankings\.data: 30 of 30 records were rejected \(30 equal_completions_ranked_apart\)",
            id="equal answers",
        ),
    ],
)
def test_what_cannot_be_used_is_one_error_that_names_file_and_setting(
    project: Path, change: Change, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(project / "files")
    assert built(project, text) == 2
    assert re.search(message, one_line(capsys.readouterr().err))
    assert not (project / "run" / "corpus").exists(), "nothing is published"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\x89PNG\r\n\0\0", "not_text"),
        ("Caf\u00e9 au lait.".encode("latin-1"), "not_utf8"),
        ("Caf\u00e9".encode("utf-16"), "not_utf8"),
        ("Caf\u00e9".encode()[:-1], "cut_off"),
        (b"", "empty_text"),
    ],
)
def test_a_file_that_is_no_text_is_rejected_counted_and_shown(
    project: Path, content: bytes, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "files" / "docs" / "odd.md").write_bytes(content)
    assert built(project, GOOD) == 2
    assert f"odd.md:1 (byte 0): {code}" in one_line(capsys.readouterr().err)
    assert built(project, GOOD, "--corpus.max_rejected_share", "0.1") == 0
    statistics = json.loads((project / "run" / "corpus" / "statistics.json").read_text())
    tally = statistics["inputs"]["sources.docs"]
    assert (tally["total"], tally["kept"], tally["rejected"]) == (41, 40, {code: 1})


def test_line_ends_of_windows_stay_and_links_in_a_loop_are_read_once(project: Path) -> None:
    docs = project / "files" / "docs"
    (docs / "windows.md").write_bytes(b"First line.\r\nSecond line.\r\n")
    (docs / "deeper" / "up").symlink_to(docs)
    assert built(project, GOOD) == 0
    texts = [path.read_text() for path in (project / "run").rglob("documents/docs/*.jsonl")]
    rows = [json.loads(line) for text in texts for line in text.splitlines()]
    assert len(rows) == 41
    assert [row["text"] for row in rows if "windows" in row["where"]["file"]] == ["First line.\r\nSecond line.\r\n"]


@pytest.mark.parametrize(
    ("write", "text", "what"),
    [
        (lambda writer: shutil.rmtree(writer.folder / "docs") or writer.markdown(20), GOOD, r"sources\.docs"),
        (lambda writer: writer.chats(5), GOOD + CHATS.format("chats.jsonl"), r"sft\.data"),
        (lambda writer: writer.preferences(5), GOOD + RANKED.format("hh.jsonl"), r"rankings\.data"),
        (
            lambda writer: writer.lines("prompts.jsonl", [{"prompt": "What?"}]),
            GOOD + '[rl]\nprompts = ["files/prompts.jsonl"]\nscorer = "length"\n[rl.scorer_options]\ntarget = "3"\n',
            r"rl\.prompts",
        ),
    ],
)
def test_too_little_to_split_is_said_with_the_minimum_by_plan_and_by_run(
    project: Path, write: Callable[[Writer], object], text: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Writer(project / "files"))
    (project / "mine.toml").write_text(text)
    assert main(["plan", str(project / "mine.toml")]) == 0
    planned = one_line(capsys.readouterr().out)
    assert re.search(rf"missing: {what} has \d+ \w+; .* takes 25: \d+ are missing", planned), planned
    assert built(project, text) == 2
    assert re.search(rf"{what} has \d+ group.*too little to split", one_line(capsys.readouterr().err))
