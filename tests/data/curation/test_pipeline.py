"""`curate`: every document is kept or has a record; the order of documents and failures change nothing."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stategpt as sg
from stategpt.artifacts import verify
from stategpt.config import CurateConfig
from stategpt.data import Document, Place, curate, read_curated
from stategpt.data.curation.boilerplate import MIN_DOCUMENTS
from stategpt.errors import ConfigError, CorpusError, CorruptArtifact

PROSE = (
    "The cat sat on the mat with a dog, and they have to be friends. It was warm. They slept. It rained. All is well."
)
TEXTS = (
    "",
    "short",
    PROSE,
    PROSE + "\r\n",
    "{ code }. " * 9,
    f"mail a@b.co: {PROSE}",
    "a \ud83d half",
    f"Menu\n{PROSE}",
    "ja ja " * 40,
)
DOCUMENTS = st.lists(
    st.builds(
        Document,
        st.sampled_from(TEXTS),
        st.sampled_from(("web", "wiki", "a b/c", "")),
        group=st.sampled_from(("g", "h")),
        where=st.none() | st.builds(Place, st.just("x.jsonl"), st.integers(1, 9), st.just(0)),
        meta=st.sampled_from(({}, {"license": "MIT"}, {"license": "GPL", "n": 1})),
    ),
    max_size=20,
)
CONFIGS = st.builds(
    CurateConfig,
    clean=st.booleans(),
    boilerplate_share=st.sampled_from((0.0, 0.5)),
    rules=st.sampled_from(((), ("c4",), ("fineweb", "gopher_repetition"))),
    min_characters=st.sampled_from((0, 10)),
    licenses=st.sampled_from(((), ("mit",))),
    pii=st.sampled_from(("keep", "replace", "remove")),
)


@settings(max_examples=40, deadline=None)
@given(DOCUMENTS, CONFIGS, st.booleans())
def test_every_document_is_kept_or_recorded(
    tmp_path_factory: pytest.TempPathFactory, documents: list[Document], config: CurateConfig, cuts_paragraphs: bool
) -> None:
    config = dataclasses.replace(config, duplicate_paragraphs=cuts_paragraphs)
    curated = curate(iter(documents), config, tmp_path_factory.mktemp("curated") / "out")
    summary, kept, removed = curated.summary, list(curated.documents()), list(curated.removed())
    assert len(documents) == len(kept) + len(removed)
    assert (summary.documents, summary.kept) == (len(documents), len(kept))
    assert summary.removed == Counter(each.rule for each in removed)
    assert set(summary.sources) == {document.source for document in documents}
    for name, source in summary.sources.items():
        entered = [document for document in documents if document.source == name]
        assert source.documents == len(entered) == source.kept + sum(source.removed.values()) == sum(source.lengths)
        assert source.removed == Counter(each.rule for each in removed if each.source == name)
        stayed = list(curated.documents(name))
        assert source.kept == len(stayed) == sum(source.kept_lengths)
        assert source.kept_characters == sum(len(document.text) for document in stayed)
        assert source.characters == sum(len(document.text) for document in entered)
        texts = Counter(document.text for document in entered)
        unchanged = sum((texts & Counter(document.text for document in stayed)).values())
        assert source.edited >= len(stayed) - unchanged
    places = Counter((each.where, each.group) for each in [*kept, *removed])
    assert places == Counter((document.where, document.group) for document in documents)


@settings(max_examples=25, deadline=None)
@given(DOCUMENTS, CONFIGS, st.integers(0, 99))
def test_the_order_of_documents_changes_nothing_but_the_order(
    tmp_path_factory: pytest.TempPathFactory, documents: list[Document], config: CurateConfig, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("curated")
    shuffled = random.Random(seed).sample(documents, len(documents))
    first, second = curate(documents, config, folder / "first"), curate(shuffled, config, folder / "second")
    assert sorted(map(repr, first.documents())) == sorted(map(repr, second.documents()))
    assert Counter(map(repr, first.removed())) == Counter(map(repr, second.removed()))
    assert first.summary.sources == second.summary.sources


def test_the_defaults_change_and_remove_nothing(tmp_path: Path) -> None:
    documents = [Document(text, "s", meta={"k": [1, None]}) for text in TEXTS if text != "a \ud83d half"]
    curated = curate(documents, CurateConfig(), tmp_path / "out")
    assert list(curated.documents("s")) == documents
    assert not CurateConfig().is_active
    assert curated.summary.sources["s"].edited == 0


def test_it_is_published_with_parents_and_is_verified(tmp_path: Path) -> None:
    parent = "b3:" + "0" * 64
    named = {"config": "f"}
    documents = [Document(PROSE, "s")]
    curated = sg.curate(documents, CurateConfig(clean=True), tmp_path / "out", parents=[parent], fingerprints=named)
    assert (curated.manifest.parents, curated.manifest.fingerprints) == ((parent,), named)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "manifest.json", "documents", "removed.jsonl.zst", "summary.json",
    }  # fmt: skip
    assert verify(tmp_path / "out", kind="curation") == curated.manifest
    assert read_curated(tmp_path / "out").summary == curated.summary
    assert repr(curated) == f"<Curated {tmp_path / 'out'}: 1 of 1 documents>"
    file = tmp_path / "out" / "documents" / "00000.jsonl"
    file.write_bytes(file.read_bytes().replace(b"cat", b"rat"))
    with pytest.raises(CorruptArtifact, match=r"00000\.jsonl"):
        read_curated(tmp_path / "out")


def test_the_same_documents_give_the_same_bytes(tmp_path: Path) -> None:
    documents = [Document(text, source) for text in TEXTS for source in ("b", "a")] * 20
    config = CurateConfig(clean=True, rules=("c4", "gopher_quality"), boilerplate_share=0.1)
    prints = [curate(documents, config, tmp_path / name).manifest.fingerprint for name in ("first", "second")]
    assert prints[0] == prints[1]


def test_lines_of_many_documents_of_a_source_go(tmp_path: Path) -> None:
    documents = [Document(f"Home | About\n{number}. {PROSE}\nHome | About", "web") for number in range(MIN_DOCUMENTS)]
    documents += [Document(f"Home | About\n{number}. other", "wiki") for number in range(MIN_DOCUMENTS - 1)]
    documents += [Document(" Home | About ", "web")]
    curated = curate(documents, CurateConfig(boilerplate_share=0.5), tmp_path / "out")
    assert [document.text for document in curated.documents("web")] == [f"{n}. {PROSE}" for n in range(MIN_DOCUMENTS)]
    assert [document.text for document in curated.documents("wiki")] == [
        document.text for document in documents if document.source == "wiki"
    ]
    web = curated.summary.sources["web"]
    assert (web.lines_removed, web.removed, web.edited) == (
        {"boilerplate": 2 * MIN_DOCUMENTS},
        {"boilerplate": 1},
        MIN_DOCUMENTS,
    )


def test_licenses_are_compared_without_regard_to_case(tmp_path: Path) -> None:
    documents = [Document("a", meta={"license": name}) for name in ("MIT", "mit", "GPL", 7)] + [Document("b")]
    curated = curate(documents, CurateConfig(licenses=("Mit",)), tmp_path / "out")
    assert curated.summary.kept == 2
    assert [each.evidence for each in curated.removed()] == [
        "license 'GPL'; kept are Mit", "license 7; kept are Mit", "no license; kept are Mit",
    ]  # fmt: skip


def test_personal_data_is_replaced_and_counted(tmp_path: Path) -> None:
    documents = [Document("a@b.co or c@d.co, +1-202-555-0143", "s"), Document("none", "s")]
    curated = curate(documents, CurateConfig(pii="replace"), tmp_path / "out")
    assert [document.text for document in curated.documents()] == ["[email] or [email], [phone]", "none"]
    source = curated.summary.sources["s"]
    assert (source.pii_replaced, source.edited) == ({"email": 2, "phone": 1}, 1)
    removed = curate(documents, CurateConfig(pii="remove"), tmp_path / "other")
    assert [(each.rule, each.evidence) for each in removed.removed()] == [("pii", "2 email, 1 phone")]


def test_own_filters_keep_change_or_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = "{'x': True, 'y': False, 'z': 'too odd'}"
    lines = [
        "from dataclasses import replace",
        f"def keep(d): return {answers}.get(d.text, replace(d, text=d.text + '!'))",
        "def names(text): return [(0, 1, 'name')]",
    ]
    _module(tmp_path, monkeypatch, "own_filters_a", lines)
    config = CurateConfig(filters=("own_filters_a:keep",), pii="replace", pii_finder="own_filters_a:names")
    curated = curate([Document("long")], config, tmp_path / "out")
    assert [document.text for document in curated.documents()] == ["[name]ong!"]
    config = CurateConfig(filters=("own_filters_a:keep",))
    curated = curate([Document(text) for text in "xyzw"], config, tmp_path / "out")
    assert [document.text for document in curated.documents()] == ["x", "w!"]
    assert [(each.rule, each.evidence) for each in curated.removed()] == [
        ("own_filters_a:keep", "returned False"), ("own_filters_a:keep", "too odd"),
    ]  # fmt: skip


def test_a_failing_filter_names_document_and_function_and_nothing_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        "from dataclasses import replace",
        "def bad(d): return 1 / 0",
        "def odd(d): return 3",
        "def move(d): return replace(d, source='t')",
        "def spans(text): return [(0, 99, 'x')]",
    ]
    _module(tmp_path, monkeypatch, "own_filters_b", lines)
    document = Document("some text", "s", where=Place("x.jsonl", 7, 512))
    for name, said in (("bad", "raised ZeroDivisionError"), ("odd", "returned a int"), ("move", "source 't'")):
        with pytest.raises(CorpusError, match=rf"x\.jsonl:7 \(byte 512\): own_filters_b:{name} .*{said}"):
            curate([document], CurateConfig(filters=(f"own_filters_b:{name}",)), tmp_path / "out")
    with pytest.raises(CorpusError, match=r"x\.jsonl:7 \(byte 512\): own_filters_b:spans gave"):
        curate([document], CurateConfig(pii="replace", pii_finder="own_filters_b:spans"), tmp_path / "out")
    with pytest.raises(ConfigError, match="did you mean 'bad'"):
        curate([document], CurateConfig(filters=("own_filters_b:bat",)), tmp_path / "out")
    with pytest.raises(ConfigError, match="importing 'no_such_module_x' raised ModuleNotFoundError"):
        curate([document], CurateConfig(filters=("no_such_module_x:keep",)), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".py" and path.name != "__pycache__"] == []


def test_what_the_documents_raise_passes_and_the_old_folder_stays(tmp_path: Path) -> None:
    curate([Document("old")], CurateConfig(), tmp_path / "out")

    def broken() -> Iterator[Document]:
        yield Document("new")
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        curate(broken(), CurateConfig(boilerplate_share=0.1), tmp_path / "out")
    assert [document.text for document in read_curated(tmp_path / "out").documents()] == ["old"]
    assert len(list(tmp_path.iterdir())) == 1


def test_decontamination_needs_prompts_and_sources_are_limited(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs evaluation prompts"):
        curate([], CurateConfig(decontaminate=True), tmp_path / "out")
    with pytest.raises(CorpusError, match="more than 500 sources"):
        curate((Document("x", str(n)) for n in range(501)), CurateConfig(), tmp_path / "out")


def test_an_example_shows_each_rule(tmp_path: Path) -> None:
    documents = [Document("word " * 9, "s", where=Place("x", n, n)) for n in range(1, 6)] + [Document(PROSE, "s")]
    config = CurateConfig(rules=("gopher_quality_words_min",), thresholds={"gopher_quality_words_min": 20})
    summary = curate(documents, config, tmp_path / "out").summary
    assert [(each.rule, each.where, each.evidence) for each in summary.examples] == [
        ("gopher_quality_words_min", f"x:{n} (byte {n})", "words: 9, at least 20") for n in (1, 2, 3)
    ]
    assert summary.thresholds == {"gopher_quality_words_min": 20}
    lengths = dict(enumerate(summary.sources["s"].lengths))
    assert {length: n for length, n in lengths.items() if n} == {6: 5, len(PROSE).bit_length(): 1}


def test_progress_is_called_with_the_documents_of_each_pass(tmp_path: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    documents = (Document(f"x{number // 2} of many", "s") for number in range(250))
    config = CurateConfig(boilerplate_share=0.5, exact_duplicates=True, near_duplicates=True)
    curate(documents, config, tmp_path / "out", progress=lambda *call: calls.append(call))
    known = [(0, 250), (100, 250), (200, 250), (250, 250)]
    assert calls == [
        *((done, 0, "clean") for done, _ in known),
        *((*counted, "boilerplate") for counted in [*known, *known]),
        *((*counted, "filter") for counted in known),
        *((*counted, "exact duplicates") for counted in known),
        *((*counted, "near-duplicates") for counted in [(0, 125), (100, 125), (125, 125)]),
    ]


def _module(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, lines: list[str]) -> None:
    (folder / f"{name}.py").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(folder)
