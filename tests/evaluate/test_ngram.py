"""The n-gram is compared with a dictionary implementation that follows the formulas symbol by symbol."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt.errors import InvalidArgument
from stategpt.evaluate.ngram import END, START, KneserNey

TEXT = b"the cat sat on the mat; the rat sat on the cat. a bat and a rat ate the mat that the cat sat on, all of it"
DOCUMENTS = [TEXT[i : i + 9 + i % 7] for i in range(0, len(TEXT), 8)] + [b"", b"t", b"th", b"the"]


class SlowKneserNey:
    """Chen & Goodman's interpolated modified Kneser-Ney, eq. 26-27, with dictionaries and recursion."""

    def __init__(self, documents: list[bytes], order: int) -> None:
        self.order = order
        self.counts: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(order + 1)]
        left: dict[tuple[int, ...], set[int]] = defaultdict(set)
        for document in documents:
            symbols = [START, *document, END]
            for end in range(1, len(symbols)):
                for k in range(1, min(order, end + 1) + 1):
                    gram = tuple(symbols[end - k + 1 : end + 1])
                    if k == order or gram[0] == START:
                        self.counts[k][gram] += 1
                    else:
                        left[gram].add(symbols[end - k])
        for gram, before in left.items():
            self.counts[len(gram)][gram] = len(before)
        self.discounts = [self.discounts_of(counts) for counts in self.counts]
        self.followers: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for counts in self.counts:
            for gram, count in counts.items():
                self.followers[gram[:-1]].append(count)

    @staticmethod
    def discounts_of(counts: Counter[tuple[int, ...]]) -> list[float]:
        n = [0] + [sum(1 for count in counts.values() if count == r) for r in (1, 2, 3, 4)]
        if 0 in n[1:]:
            return [0.0, 0.5, 1.0, 1.5]
        y = n[1] / (n[1] + 2 * n[2])
        found = [r - (r + 1) * y * n[r + 1] / n[r] for r in (1, 2, 3)]
        return [0.0, *found] if all(0 < d <= r for r, d in enumerate(found, 1)) else [0.0, 0.5, 1.0, 1.5]

    def probability(self, history: tuple[int, ...], symbol: int) -> float:
        lower = self.probability(history[1:], symbol) if history else 1 / 257
        counts = self.followers.get(history)
        if not counts:
            return lower
        discount = self.discounts[len(history) + 1]
        count = self.counts[len(history) + 1][(*history, symbol)]
        gamma = sum(discount[min(c, 3)] for c in counts)
        return (count - discount[min(count, 3)] + gamma * lower) / sum(counts)

    def nats(self, document: bytes) -> float:
        symbols = [START, *document, END]
        histories = [tuple(symbols[max(0, i - self.order + 1) : i]) for i in range(1, len(symbols))]
        return -sum(math.log(self.probability(h, s)) for h, s in zip(histories, symbols[1:], strict=True))


@pytest.mark.parametrize("order", [1, 2, 3, 5, 7])
def test_it_equals_the_dictionary_implementation(order: int) -> None:
    fast, slow = KneserNey.train(DOCUMENTS, order), SlowKneserNey(DOCUMENTS, order)
    held_out = [b"the rat sat", b"that cat", b"", b"zebra \xff\x00", *DOCUMENTS[:4]]
    np.testing.assert_allclose(fast.nats(held_out), [slow.nats(d) for d in held_out], rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    train=st.lists(st.text("ab\x00", max_size=12).map(str.encode), min_size=1, max_size=12),
    held_out=st.lists(st.text("abc", max_size=8).map(str.encode), min_size=1, max_size=4),
    order=st.integers(1, 6),
)
def test_it_equals_the_dictionary_implementation_on_any_documents(
    train: list[bytes], held_out: list[bytes], order: int
) -> None:
    slow = SlowKneserNey(train, order)
    expected = [slow.nats(document) for document in held_out]
    np.testing.assert_allclose(KneserNey.train(train, order).nats(held_out), expected, rtol=1e-12)


def next_symbol(model: KneserNey, context: bytes) -> np.ndarray:
    """p of the 256 bytes and of the end after a document's first bytes: float64[257]."""
    rows = np.empty((257, len(context) + 2), dtype=np.int64)
    rows[:, :-1] = [START, *context]
    rows[:, -1] = np.arange(257)
    depth = np.tile(np.arange(rows.shape[1]), 257)
    return model._probabilities(rows.reshape(-1), depth).reshape(rows.shape)[:, -1]


@pytest.mark.parametrize("context", [b"", b"t", b"the ", b"on the ca", b"never seen \xfe"])
def test_probabilities_of_the_bytes_and_the_end_sum_to_one(context: bytes) -> None:
    p = next_symbol(KneserNey.train(DOCUMENTS), context)
    assert p.shape == (257,)
    assert p.min() > 0
    assert p.sum() == pytest.approx(1, abs=1e-12)


def test_the_nats_of_a_document_are_those_of_its_bytes_and_its_end() -> None:
    model = KneserNey.train(DOCUMENTS)
    document = b"the bat"
    one_by_one = [next_symbol(model, document[:i])[s] for i, s in enumerate([*document, END])]
    assert model.nats([document])[0] == pytest.approx(-np.log(one_by_one).sum(), rel=1e-12)


def test_documents_are_scored_apart() -> None:
    model = KneserNey.train(DOCUMENTS)
    together = model.nats([b"the cat", b"", b"a rat"])
    np.testing.assert_array_equal(together, np.concatenate([model.nats([d]) for d in (b"the cat", b"", b"a rat")]))
    assert model.nats([]).shape == (0,)


def test_a_document_start_is_a_context() -> None:
    model = KneserNey.train([b"ab", b"ab", b"ab", b"ba"] * 3)
    assert next_symbol(model, b"")[ord("a")] > next_symbol(model, b"")[ord("b")]


def test_a_higher_order_helps_on_text_like_the_training_text() -> None:
    held_out = [b"the cat sat on the mat", b"a rat and a bat sat"]
    bits = [KneserNey.train(DOCUMENTS * 3, order).nats(held_out).sum() for order in (1, 2, 4)]
    assert bits[0] > bits[1] > bits[2]


@pytest.mark.parametrize(("documents", "order"), [([], 5), ([b"a"], 0), ([b"a"], 8)])
def test_bad_arguments_are_refused(documents: list[bytes], order: int) -> None:
    with pytest.raises(InvalidArgument):
        KneserNey.train(documents, order)
