"""`init`, `plan` and `data inspect` on labeled texts: what is recognized, counted and shown."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from labeled_files import labeled_rows, write_lines
from stategpt.cli import main
from stategpt.cli.found import label_sizes, look_into
from stategpt.cli.starter import label_counts
from stategpt.config import load
from user_files import Writer


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Labeled texts beside notes."""
    folder = tmp_path / "files"
    Writer(folder).notes(40)
    write_lines(folder / "reviews.jsonl", labeled_rows(120))
    return folder


def sections(text: str) -> list[str]:
    return re.findall(r"^\[([\w.]+)\]", text, re.MULTILINE)


def test_init_makes_labeled_texts_the_data_of_classify(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toml = files.parent / "mine.toml"
    assert main(["init", str(files), "--out", str(toml)]) == 0
    assert re.search(r"labeled texts +\S*reviews\.jsonl: labeled_text", capsys.readouterr().out)
    text = toml.read_text()
    assert sections(text) == ["corpus", "sources.notes", "tokenizer", "model", "pretrain", "classify"]
    assert "[classify]  # 1 file, " in text
    assert "120 labeled texts: how few" in text
    settings = [line for line in text.splitlines() if " = " in line and not line.startswith("#")]
    assert all(" # " in line or line.endswith("[") for line in settings), settings
    run = load(toml)
    assert run.stages == ("prepare", "pretrain", "classify")
    assert run.classify.data == (str(files / "reviews.jsonl"),)
    assert run.classify.label_counts == (10,)
    assert run.model.context_tokens == 512  # room for examples in the prompt
    assert run.classify.template == "Text: {text}\nLabel: {label}"
    assert main(["plan", str(toml)]) == 0
    planned = capsys.readouterr().out
    assert re.search(r"classify\.data +1 file, .* 120 labeled texts", planned)
    assert "missing" not in planned


def test_its_label_sets_are_filled_by_the_training_side(files: Path) -> None:
    pytest.importorskip("torch", reason="the stages need the train extra (torch)")
    toml = files.parent / "mine.toml"
    assert main(["init", str(files), "--out", str(toml)]) == 0
    small = ["--tokenizer.vocab_size", "400", "--until", "prepare"]
    assert main(["run", str(toml), "--out", str(files.parent / "run"), *small]) == 0


def test_labeled_texts_alone_need_a_model_to_start_from(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    write_lines(tmp_path / "files" / "stars.jsonl", [{"review": f"Film {n}.", "sentiment": n % 5} for n in range(60)])
    toml = tmp_path / "mine.toml"
    assert main(["init", str(tmp_path / "files"), "--out", str(toml)]) == 0
    assert sections(toml.read_text()) == ["corpus", "start", "classify"]


def test_documents_whose_label_is_another_for_each_stay_documents(tmp_path: Path) -> None:
    rows = [{"text": f"A long enough text of number {n}.", "label": f"id-{n}"} for n in range(40)]
    write_lines(tmp_path / "pages.jsonl", rows)
    found = look_into(tmp_path)
    assert [source.text for source in found.sources] == ["text"]
    assert not any(found.records.values())


def test_classes_are_counted_and_a_bad_record_is_not(tmp_path: Path) -> None:
    rows = [*labeled_rows(9), {"text": "", "label": "positive"}, {"text": "x", "label": None}]
    path = write_lines(tmp_path / "labeled.jsonl", rows)
    path.write_text(path.read_text() + "no JSON\n")
    assert label_sizes([path]) == Counter(positive=5, negative=4)


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        ({"a": 20_000, "b": 20_000}, [10, 100, 1000]),
        ({"a": 20_000, "b": 100}, [10, 100]),  # 80 of b are trained on, 72 nearly surely
        ({"a": 30, "b": 30, "c": 9}, [10]),  # 4 of each
        ({"a": 30, "b": 30, "c": 6}, [6]),
        ({"a": 1}, [2]),  # one class: the run says what is missing
        ({}, [2]),
    ],
)
def test_label_counts_are_those_that_the_rarest_class_can_fill(sizes: dict[str, int], counts: list[int]) -> None:
    assert label_counts(sizes, 0.8) == counts


RUN = """
[sources.notes]
paths = ["files/notes.jsonl"]
share = 1.0
text = "body"
[tokenizer]
vocab_size = 300
[classify]
data = ["files/reviews.jsonl"]
max_tokens = 16
"""


def test_the_plan_says_that_labels_are_too_few(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files.parent / "mine.toml").write_text(RUN)
    main(["plan", str(files.parent / "mine.toml")])
    shown = " ".join(capsys.readouterr().out.split())
    assert "classify.label_counts reaches 1,000, and of the 120 labeled texts some 1" in shown
    (files.parent / "mine.toml").write_text(RUN + "label_counts = [10]\n")
    main(["plan", str(files.parent / "mine.toml")])
    assert "classify.label_counts reaches" not in " ".join(capsys.readouterr().out.split())


def test_inspect_shows_classes_lengths_and_what_is_read_of_a_text(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = labeled_rows(120)
    bad = [{"text": rows[0]["text"].upper(), "label": "positive"}, {"text": "x", "label": None}]
    long = {"text": "word " * 90 + "LAST", "label": "neu\u202etral"}
    write_lines(files / "reviews.jsonl", [long, *rows, *bad])
    (files.parent / "mine.toml").write_text(RUN)
    assert main(["data", "inspect", str(files.parent / "mine.toml"), "--out", str(files.parent / "none")]) == 0
    out = capsys.readouterr().out
    assert "classify.data" in out
    assert "labeled_text(byitskeys:label,text)" in "".join(out.split())
    assert "123 records: 121 kept, 1 duplicate, 1 missing_field" in out
    assert re.search(r"3 classes: negative 60, neu\S+tral 1, positive 60", out)
    assert "\u202e" not in out
    found = re.search(r"(\d+) have at most 16 tokens \(classify\.max_tokens\); (\d+) are cut", out)
    assert found is not None
    assert sum(map(int, found.groups())) == 121
    assert int(found[2]) >= 1
    assert "word word" in out
    assert "LAST" not in out
    assert re.search(r"label: negative|label: positive", out)


def test_inspect_recognizes_labels_beside_the_keys_of_another_format(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**row, "prompt": "p", "response": "r"} for row in labeled_rows(30)]
    (files / "reviews.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (files.parent / "mine.toml").write_text(RUN)
    assert main(["data", "inspect", str(files.parent / "mine.toml"), "--out", str(files.parent / "none")]) == 0
    out = "".join(capsys.readouterr().out.split())  # lines break anywhere
    assert "reviews.jsonl:labeled_text(" in out
    assert "30records:30kept" in out
