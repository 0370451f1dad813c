"""Signatures, exact duplicates and clusters beside rensa and datasketch."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

from stategpt import _native
from stategpt.data.curation.duplicates import DuplicateFinder, NearDuplicates, exact_duplicates, near_duplicates
from stategpt.data.records import Document, Place

from .bench import Bench, Row, rates, size_of

COMPONENTS = 128
PEER_MEGABYTES = 4
_WORD = re.compile(r"\w+")


def rows(bench: Bench) -> Iterator[Row]:
    """All figures of this section."""
    yield _signatures(bench)
    yield _exact(bench)
    yield _near(bench)
    yield from _clusters(bench)


def shingles(text: str) -> list[str]:
    """What a user of a MinHash library writes: runs of 5 lower-case words."""
    words = _WORD.findall(text.lower())
    return [" ".join(words[at : at + 5]) for at in range(max(1, len(words) - 4))]


def _signatures(bench: Bench) -> Row:
    texts = [document.text for document in bench.documents]
    few = bench.first(PEER_MEGABYTES)
    jobs: dict[str, Any] = {"stategpt": lambda: _native.minhash_signatures(texts, 1)}
    sizes = {"stategpt": bench.bytes}
    if (rensa := bench.peer("rensa")) is not None:

        def with_rensa() -> None:
            for document in few:
                made = rensa.RMinHash(COMPONENTS, 42)
                made.update(shingles(document.text))
                made.digest()

        jobs["rensa, shingles in Python"], sizes["rensa, shingles in Python"] = with_rensa, size_of(few)
    if (datasketch := bench.peer("datasketch")) is not None:

        def with_datasketch() -> None:
            for document in few:
                made = datasketch.MinHash(COMPONENTS)
                made.update_batch([each.encode() for each in shingles(document.text)])

        jobs["datasketch, shingles in Python"] = with_datasketch
        sizes["datasketch, shingles in Python"] = size_of(few)
    found = rates(bench.seconds(jobs), sizes)
    return Row("text to signature", "MB/s", found.pop("stategpt"), found, ">= 60 and 5x rensa")


def _exact(bench: Bench) -> Row:
    documents = bench.documents * 2
    expected = len({document.text for document in documents})
    kept = sum(removed is None for _, removed in exact_duplicates(documents, threads=1))
    assert kept == expected, (kept, expected)

    def in_one_pass() -> None:
        finder = DuplicateFinder(threads=1)
        finder.add(documents)
        finder.compare()
        list(finder.removed())

    found = rates(bench.seconds({"stategpt": in_one_pass}), {"stategpt": 2 * bench.bytes})
    return Row("exact duplicates", "MB/s", found["stategpt"], {}, ">= 500")


def _near(bench: Bench) -> Row:
    def whole() -> None:
        finder = DuplicateFinder(NearDuplicates(), threads=1)
        finder.add(bench.documents)
        finder.compare()
        list(finder.removed())

    found = rates(bench.seconds({"stategpt": whole}), {"stategpt": bench.bytes})
    return Row("near-duplicates, whole search", "MB/s", found["stategpt"])


def _clusters(bench: Bench) -> Iterator[Row]:
    documents = planted(400 if bench.rounds > 3 else 120)
    truth = [jaccard(left.text, right.text) >= 0.8 for left, right in _pairs(documents)]
    expected = _near_pairs(documents, 1)
    shuffled = documents[:]
    random.Random(1).shuffle(shuffled)
    same = all(_near_pairs(order, threads) == expected for threads in (1, 2, 4) for order in (documents, shuffled))
    flags = [bool({_name(left), _name(right)} & expected) for left, right in _pairs(documents)]
    peers = {}
    if (datasketch := bench.peer("datasketch")) is not None:
        peers["datasketch"] = f1(_datasketch_flags(datasketch, documents), truth)
    yield Row("F1 of pairs beside exact Jaccard 0.8", "F1", f1(flags, truth), peers, ">= 0.98")
    yield Row("equal for 1, 2, 4 threads and shuffled", "1 = yes", float(same), {}, "1")


def planted(count: int) -> list[Document]:
    """Pairs of texts: copies with 0 to 5 of 400 words changed, or 16 to 40, where exact similarities leave no doubt."""
    documents = []
    for number in range(count):
        of = random.Random(number)
        words = [f"w{of.randrange(10**6)}" for _ in range(400)]
        documents.append(Document(" ".join(words), "planted", where=Place("planted", 2 * number + 1)))
        for place in of.sample(range(400), of.choice((0, 1, 2, 3, 4, 5, 16, 20, 30, 40))):
            words[place] = f"e{of.randrange(10**6)}"
        documents.append(Document(" ".join(words), "planted", where=Place("planted", 2 * number + 2)))
    return documents


def jaccard(left: str, right: str) -> float:
    """Exact similarity of the sets of shingles."""
    one, other = set(shingles(left)), set(shingles(right))
    return len(one & other) / len(one | other)


def f1(found: Sequence[bool], truth: Sequence[bool]) -> float:
    """F1 of pairs."""
    both = sum(each and true for each, true in zip(found, truth, strict=True))
    return 2 * both / (sum(found) + sum(truth))


def _pairs(documents: list[Document]) -> Iterator[tuple[Document, Document]]:
    return zip(documents[::2], documents[1::2], strict=True)


def _near_pairs(documents: list[Document], threads: int) -> set[str]:
    decided = near_duplicates(documents, threads=threads)
    return {_name(document) for document, removed in decided if removed is not None}


def _name(document: Document) -> str:
    return str(document.where)


def _datasketch_flags(datasketch: Any, documents: list[Document]) -> list[bool]:
    made = []
    for document in documents:
        signature = datasketch.MinHash(COMPONENTS)
        signature.update_batch([each.encode() for each in shingles(document.text)])
        made.append(signature)
    index = datasketch.MinHashLSH(threshold=0.8, num_perm=COMPONENTS)
    for number, signature in enumerate(made):
        index.insert(str(number), signature)

    def is_near(number: int) -> bool:
        other = number + 1
        return str(other) in index.query(made[number]) and made[number].jaccard(made[other]) >= 0.8

    return [is_near(number) for number in range(0, len(made), 2)]
