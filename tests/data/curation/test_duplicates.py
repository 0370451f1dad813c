"""Exact and near-duplicates: which copy is kept, what is named, and that order, threads and memory do not matter."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt import _native
from stategpt.data.curation.duplicates import (
    DuplicateFinder,
    NearDuplicates,
    batches,
    exact_duplicates,
    near_duplicates,
)
from stategpt.data.curation.removed import Removed
from stategpt.data.records import Document, Place
from stategpt.errors import DataError, InvalidArgument, StorageError

Decided = Iterable[tuple[Document, Removed | None]]


def kept(decided: Decided) -> list[Document]:
    return [document for document, removed in decided if removed is None]


def removed(decided: Decided) -> dict[str, Removed]:
    return {str(document.where): why for document, why in decided if why is not None}


def placed(texts: Iterable[str], source: str = "wiki") -> list[Document]:
    return [Document(text, source, where=Place(f"{source}.jsonl", line)) for line, text in enumerate(texts, start=1)]


def family(seed: int, words: int = 200, edits: int = 0) -> str:
    of_text, of_edits = random.Random(seed), random.Random(f"{seed} {edits}")
    found = [f"w{of_text.randrange(10**6)}" for _ in range(words)]
    for place in of_edits.sample(range(words), edits):
        found[place] = f"edited{of_edits.randrange(10**6)}"
    return " ".join(found)


def test_of_equal_texts_the_first_by_place_is_kept_and_named() -> None:
    documents = placed(["b", "a", "b", "b", "c"])
    decided = list(exact_duplicates(documents[::-1]))
    assert kept(decided) == [documents[4], documents[1], documents[0]]
    why = Removed("exact_duplicate", "equal to wiki.jsonl:1 (byte 0) of source wiki")
    assert removed(decided) == {"wiki.jsonl:3 (byte 0)": why, "wiki.jsonl:4 (byte 0)": why}


def test_documents_without_a_place_are_named_by_number() -> None:
    decided = list(exact_duplicates([Document("a"), Document("b"), Document("a")]))
    assert [why and why.evidence for _, why in decided] == [None, None, "equal to document 0"]


def test_a_preferred_source_is_kept() -> None:
    documents = placed(["text"], "a") + placed(["text"], "b") + placed(["text"], "c")
    assert [document.source for document in kept(exact_duplicates(documents))] == ["a"]
    assert [document.source for document in kept(exact_duplicates(documents, priority=["c", "b"]))] == ["c"]


def test_exact_duplicates_differ_in_nothing() -> None:
    texts = ["Same words.", "same words", "Same words. ", "", " "]
    assert len(kept(exact_duplicates(placed(texts)))) == 5


def test_near_duplicates_name_their_twin_and_the_similarity() -> None:
    documents = placed([family(1), family(2), family(1, edits=2), family(2).upper().replace(" ", ",\n")])
    decided = list(near_duplicates(documents))
    assert kept(decided) == documents[:2]
    found = removed(decided)
    assert found["wiki.jsonl:4 (byte 0)"].evidence.startswith("estimated Jaccard similarity 1.000 with wiki.jsonl:2 ")
    similarity = re.match(r"estimated Jaccard similarity (0\.\d+) with", found["wiki.jsonl:3 (byte 0)"].evidence)
    assert similarity is not None
    # Two edits change 10 of 196 shingles: 186 / 206.
    assert abs(float(similarity[1]) - 186 / 206) < 3 / 128**0.5
    assert found["wiki.jsonl:3 (byte 0)"].rule == "near_duplicate"


def test_the_threshold_decides() -> None:
    documents = placed([family(3), family(3, edits=8)])  # similarity about 0.66
    assert len(kept(near_duplicates(documents))) == 2
    assert len(kept(near_duplicates(documents, NearDuplicates(threshold=0.5)))) == 1


def test_short_texts_are_compared_by_characters_and_texts_without_words_never() -> None:
    documents = placed(["Terms of service", "terms-of-service!", "Other", "...", "...", "!?"])
    assert [document.text for document in kept(near_duplicates(documents))] == [
        "Terms of service",
        "Other",
        "...",
        "...",
        "!?",
    ]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_order_threads_memory_and_batches_do_not_matter(data: st.DataObject) -> None:
    edits = data.draw(st.lists(st.integers(0, 10), min_size=2, max_size=25))
    documents = placed([family(number % 5, 60, edit) for number, edit in enumerate(edits)])
    shuffled = data.draw(st.permutations(documents))
    expected = list(near_duplicates(documents, threads=1))
    for threads in (1, 2, 4):
        found = list(near_duplicates(shuffled, threads=threads, memory_bytes=data.draw(st.integers(1, 5000))))
        assert removed(found) == removed(expected)
        assert [document for document, _ in found] == shuffled
    again = list(near_duplicates(kept(expected)))
    assert not removed(again)
    exact = [removed(exact_duplicates(order, memory_bytes=100)) for order in (documents, shuffled)]
    assert exact[0] == exact[1]


def test_a_stream_is_read_once_and_gives_the_same() -> None:
    documents = placed([family(number % 7, edits=number % 3) for number in range(40)])
    finder = DuplicateFinder(NearDuplicates())
    finder.add(iter(documents[:13]))
    finder.add(iter(documents[13:]))
    counts = finder.compare()
    found = {str(documents[number].where): why for number, why in finder.removed()}
    assert found == removed(near_duplicates(documents))
    assert (counts.documents, counts.removed, counts.clusters) == (40, len(found), 7)
    assert counts.compared_pairs >= counts.near_pairs > 0
    assert counts.skipped_pairs == 0


def test_more_removed_documents_than_are_handed_over_at_once() -> None:
    finder = DuplicateFinder()
    finder.add(Document("same") for _ in range(10_001))
    finder.compare()
    assert [number for number, _ in finder.removed()] == list(range(1, 10_001))


def test_an_iterator_is_refused_before_anything_is_read() -> None:
    documents = iter(placed(["a"]))
    with pytest.raises(InvalidArgument, match=r"DuplicateFinder: add\(documents\)"):
        exact_duplicates(documents)
    assert len(list(documents)) == 1


class Changing:
    """Documents that differ from reading to reading."""

    def __init__(self, *readings: Sequence[str]) -> None:
        self._readings = list(readings)

    def __iter__(self) -> Iterator[Document]:
        return iter(placed(self._readings.pop(0)))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (["a", "x"], "document 1 .* another text"),
        (["a"], "document 1 .* ended"),
        (["a", "b", "c"], "document 2 .* more"),
    ],
)
def test_a_second_reading_that_differs_is_an_error(second: list[str], message: str) -> None:
    # The first reading is `iter` in the check for iterators.
    with pytest.raises(DataError, match=message):
        list(exact_duplicates(Changing([], ["a", "b"], second)))


def test_a_lone_surrogate_is_an_error_that_names_the_document() -> None:
    documents = placed(["fine", "not \ud800 fine"])
    with pytest.raises(DataError, match=r"wiki.jsonl:2 \(byte 0\) holds a lone surrogate at character 4"):
        list(exact_duplicates(documents))


@pytest.mark.parametrize("near", [None, NearDuplicates()])
def test_calls_out_of_order_are_errors(near: NearDuplicates | None) -> None:
    finder = DuplicateFinder(near)
    with pytest.raises(InvalidArgument, match="compare"):
        next(finder.removed())
    finder.add(placed(["a"]))
    finder.compare()
    with pytest.raises(InvalidArgument, match="make another finder"):
        finder.add(placed(["b"]))
    with pytest.raises(InvalidArgument, match="make another finder"):
        finder.compare()


@pytest.mark.parametrize(
    "wrong", [{"bands": 0}, {"rows": 0}, {"bands": 30}, {"threshold": 0.0}, {"threshold": 1.5}, {"bands": -1}]
)
def test_settings_out_of_range_are_errors(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidArgument):
        NearDuplicates(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="threads"):
        DuplicateFinder(threads=0)
    with pytest.raises(InvalidArgument, match="memory_bytes"):
        DuplicateFinder(memory_bytes=0)
    with pytest.raises(InvalidArgument, match="priority"):
        DuplicateFinder(priority="wiki")
    with pytest.raises(InvalidArgument, match="Document"):
        DuplicateFinder().add(["text"])  # type: ignore[list-item]


def test_the_curve_is_the_documented_one() -> None:
    near = NearDuplicates()
    curve = [round(near.probability(jaccard), 3) for jaccard in (0.3, 0.5, 0.7, 0.8)]
    assert curve == [0.014, 0.27, 0.918, 0.998]


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot create a temporary file in .*missing"):
        DuplicateFinder(folder=tmp_path / "missing")


def test_temporary_files_have_no_name_and_are_gone_with_the_finder(tmp_path: Path) -> None:
    def open_files() -> int:
        return sum(str(tmp_path) in os.readlink(f"/proc/self/fd/{each}") for each in _descriptors())

    finder = DuplicateFinder(NearDuplicates(), folder=tmp_path, memory_bytes=1000)
    finder.add(placed([family(number) for number in range(50)]))
    assert list(tmp_path.iterdir()) == []
    assert open_files() >= 4
    assert finder.disk_bytes > 50 * 512
    del finder
    assert open_files() == 0


def _descriptors() -> list[str]:
    held = []
    for each in os.listdir("/proc/self/fd"):
        try:
            os.readlink(f"/proc/self/fd/{each}")
        except OSError:
            continue
        held.append(each)
    return held


def test_a_full_disk_is_an_error_with_the_folder_and_the_bytes(tmp_path: Path) -> None:
    code = f"""
import resource
from stategpt.data.curation.duplicates import DuplicateFinder, NearDuplicates
from stategpt.data.records import Document
from stategpt.errors import OutOfSpace

resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
finder = DuplicateFinder(NearDuplicates(), folder={str(tmp_path)!r})
try:
    for number in range(10_000):
        finder.add([Document(f"document {{number}} of some words")])
except OutOfSpace as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=200)
    assert f"no space for temporary files in {tmp_path} after" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_text_but_by_a_few_bytes_per_document() -> None:
    def held(count: int) -> int:
        finder = DuplicateFinder(NearDuplicates(), memory_bytes=1 << 20)
        finder.add(Document(f"document {number} of some words {number}") for number in range(count))
        finder.compare()
        return finder.memory_bytes

    assert held(40_000) - held(20_000) <= 20_000 * 24


def test_batches_are_bounded() -> None:
    documents = [Document("x" * size) for size in (3 << 20, 3 << 20, 5 << 20, 1, 1)]
    assert [[len(document.text) for document in batch] for batch in batches(documents)] == [
        [3 << 20],
        [3 << 20],
        [5 << 20],
        [1, 1],
    ]
    assert [len(batch) for batch in batches(Document("x") for _ in range(9000))] == [4096, 4096, 808]


def reference_signature(text: str) -> list[int]:
    """A signature the slow way: all 256 rounds of all shingles, with whole numbers."""
    mask = 2**64 - 1

    def spread(bits: int) -> int:
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & mask
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & mask
        return bits ^ bits >> 31

    def hash_bytes(data: bytes, seed: int) -> int:
        fold = 0xD6E8FEB86659FD93
        found = 0x9E3779B97F4A7C15 ^ seed ^ len(data) * fold & mask
        for at in range(0, len(data), 8):
            product = (found ^ int.from_bytes(data[at : at + 8], "little")) * fold
            found = product & mask ^ product >> 64
        return found

    words = re.findall(r"[a-z0-9]+", text.lower())
    if len(words) >= 5:
        base, hashes = 0x5851F42D4C957F2D, [hash_bytes(word.encode(), 0) for word in words]
        shingles = [
            sum(each * base ** (4 - number) for number, each in enumerate(hashes[at : at + 5])) & mask
            for at in range(len(hashes) - 4)
        ]
    else:
        joined = " ".join(words)
        width = min(5, len(joined))
        parts = [joined[at : at + width] for at in range(len(joined) - width + 1)]
        shingles = [hash_bytes(part.encode(), 0xA0761D6478BD642F) for part in parts]
    values = [2**32 - 1] * 128
    for shingle in shingles:
        for number in range(256):
            bits = spread(shingle ^ number * 0x9E3779B97F4A7C15 & mask)
            component = bits >> 57 if number < 128 else number - 128
            low = bits & 0xFFFFFFFF
            value = low >> 1 if number == 0 else 1 << 31 | number << 23 | low >> 9
            values[component] = min(values[component], value)
    return values


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("abcXYZ019 .,\n", max_size=80), min_size=1, max_size=4), st.integers(1, 3))
def test_signatures_are_those_of_the_reference(texts: list[str], threads: int) -> None:
    texts = [text if re.search(r"\w", text) else "one word" for text in texts]
    found = _native.minhash_signatures(texts, threads)
    assert found.dtype == np.uint32
    assert found.tolist() == [reference_signature(text) for text in texts]
