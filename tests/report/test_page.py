"""The page: complete, self-contained, escaped, and honest about what a run does not have."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="the report needs the train extra")
pytest.importorskip("jinja2", reason="the report needs the train extra")

from stategpt.errors import DataError, MissingExtra
from stategpt.report import canvas, page
from stategpt.report.figures import all_sketches
from stategpt.report.run_files import RunFiles

WriteRun = Callable[..., Path]
HOSTILE = '</p><script>alert("x")</script><img src=http://example.org/x onerror=alert(1)>\x1b[31m\u202e&lt;{{ 7*7 }}'


class Tags(HTMLParser):
    """Start tags with their attributes, the text outside of tags, and whether every tag is closed in order."""

    VOID = frozenset({"meta", "img", "source", "br", "link", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def words_of(html: str) -> str:
    """The page's text with single spaces."""
    return " ".join(Tags(html).text.split())


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the figures out where a test is about words."""
    monkeypatch.setattr(page, "all_sketches", lambda files: [])


def test_every_part_of_the_report_is_there(page: str, run_folder: Path) -> None:
    words = words_of(page)
    for part in (
        "its answers have the form of the reference answers, and at a million tokens they are rarely true",
        "The four stages",
        "Packed rows, as the model reads them",
        "From text to ids",
        "The same prompts over training",
        "A ranked prompt",
        "Reward and wins",
        "Answers to the same prompts",
        "Are the answers about the question?",
        "Tokens and time",
        "Lineage",
        "beta 0.04",
        "best-of-4",
        "prompted base",
    ):
        assert part in words
    drawn = re.findall(r'id="figure-(\w+)"', page)
    assert sorted(drawn) == sorted(sketch.name for sketch in all_sketches(RunFiles(run_folder)))
    assert len(drawn) == 16


def test_the_measured_numbers_are_on_the_page(page: str) -> None:
    words = words_of(page)
    for number in (
        "2.010",
        "2.170",
        "99.9 %",
        "+0.032",
        "0.815",
        "0.552",
        "62.0 %",
        "4.1 nats",
        "59.1 to 64.9",
        "1085",
    ):
        assert number in words
    assert "gates passed 7 of 8, 1 warning" in words
    assert (
        "3 % of the answers use a word of the subject they were asked about; of the reference answers 56 % do" in words
    )


def test_the_page_is_well_formed_and_needs_nothing_from_outside(page: str) -> None:
    parsed = Tags(page)
    assert parsed.open == []
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in parsed.tags}
    for tag, attributes in parsed.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in {"src", "srcset"}:
                assert (value or "").startswith("data:image/png;base64,")
            if name == "href":
                assert (value or "").startswith("#")
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_every_picture_has_a_light_and_a_dark_form_and_words_for_those_who_do_not_see_it(page: str) -> None:
    parsed = Tags(page)
    images = [attributes for tag, attributes in parsed.tags if tag == "img"]
    dark = [attributes for tag, attributes in parsed.tags if tag == "source"]
    assert len(images) == len(dark) == 16
    assert all(len(image["alt"] or "") > 20 for image in images)
    assert all(source["media"] == "(prefers-color-scheme: dark)" for source in dark)
    assert all(image["src"] != source["srcset"] for image, source in zip(images, dark, strict=True))


def test_pngs_lie_beside_the_page(page: str, run_folder: Path) -> None:
    names = {path.stem for path in (run_folder / "report").glob("*.png")}
    assert names == {sketch.name for sketch in all_sketches(RunFiles(run_folder))}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (run_folder / "report").glob("*.png"))


def test_internal_links_lead_somewhere(page: str) -> None:
    parsed = Tags(page)
    anchors = {attributes["id"] for _, attributes in parsed.tags if "id" in attributes}
    links = {(attributes["href"] or "").removeprefix("#") for tag, attributes in parsed.tags if tag == "a"}
    assert links
    assert links <= anchors


@pytest.mark.usefixtures("no_pictures")
def test_text_of_a_model_or_a_corpus_never_becomes_markup(write_run: WriteRun, tmp_path: Path) -> None:
    changed = []

    def hostile(name: str, content: Any) -> Any:
        text = json.dumps(content)
        for harmless in ("def read(self", "nowait", "Return a list of the current items.", "queue.Queue.get_nowait"):
            text = text.replace(harmless, json.dumps(HOSTILE)[1:-1])
        changed.extend([name] * (json.dumps(HOSTILE)[1:-1] in text))
        return json.loads(text)

    root = write_run(tmp_path / "run", change=hostile)
    assert {"samples.jsonl", "rows.json", "evaluation.json"} <= {name.rpartition("/")[2] for name in changed}
    html = page.render(root).read_text(encoding="utf-8")
    parsed = Tags(html)
    assert parsed.open == []
    assert {"script", "img"}.isdisjoint(tag for tag, _ in parsed.tags)
    assert '<script>alert("x")</script>' in parsed.text
    assert "{{ 7*7 }}" in parsed.text
    assert "\x1b" not in html
    assert "\u202e" not in html


@pytest.mark.usefixtures("no_pictures")
def test_an_empty_folder_renders_and_says_what_is_missing(tmp_path: Path) -> None:
    words = words_of(page.render(tmp_path).read_text(encoding="utf-8"))
    assert words.count("Not in this run:") >= 15
    assert words.count("not in this run") == 4
    assert not re.search(r"\d\.\d", words)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("base/evaluation/mixture.json", "Not in this run: the mixture of the sources."),
        ("base/evaluation/rows.json", "Not in this run: a packed row."),
        ("tokenizer", "Not in this run: the tokenizer's statistics."),
        ("base/evaluation/samples.jsonl", "Not in this run: samples during pretraining."),
        ("sft/evaluation", "Not in this run: the relevance measures."),
        ("rankings/evaluation", "Not in this run: ranked completions."),
        ("reward/evaluation", "Not in this run: the evaluation of the reward model."),
        ("comparison/evaluation", "Not in this run: answers side by side."),
        ("gates", "Not in this run: gates; they are checked when all stages are done."),
        ("run.toml", "Not in this run: run.toml."),
    ],
)
def test_a_missing_file_leaves_a_line_in_its_place(
    write_run: WriteRun, tmp_path: Path, missing: str, says: str
) -> None:
    assert says in words_of(page.render(write_run(tmp_path / "run", [missing])).read_text(encoding="utf-8"))


@pytest.mark.usefixtures("no_pictures")
def test_evaluations_with_fewer_fields_than_expected_render_without_them(write_run: WriteRun, tmp_path: Path) -> None:
    def emptied(name: str, content: Any) -> Any:
        if name.endswith("evaluation.json"):
            return {"systems": {"sft": {}}, "examples": [{}], "example": None, "sources": {"code": {}}}
        return {} if name.endswith(("mixture.json", "rows.json")) else content

    words = words_of(page.render(write_run(tmp_path / "run", change=emptied)).read_text(encoding="utf-8"))
    assert "Not in this run: ranked completions." in words


def test_rendering_twice_gives_the_same_bytes(run_folder: Path, page: str) -> None:
    sketches = all_sketches(RunFiles(run_folder))[:2]
    assert [canvas.render_picture(sketch) for sketch in sketches] == [canvas.render_picture(s) for s in sketches]
    from stategpt.report.page import render_page

    assert render_page(RunFiles(run_folder), []) == render_page(RunFiles(run_folder), [])


def test_a_broken_json_file_is_named(publish_part: Callable[..., str], tmp_path: Path) -> None:
    publish_part(tmp_path, "base/evaluation", {"evaluation.json": '{"mixed": '})
    with pytest.raises(DataError, match=r"evaluation\.json is not valid JSON"):
        page.render(tmp_path)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(MissingExtra, match=r"jinja2, .* pip install '\.\[train\]'"):
        page.render(tmp_path)
