"""Validation loss weighs sources as the mixture does, and its baselines are what they are called."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="models need the train extra")

from stategpt.config import CONTROL_TOKENS, GPTConfig  # noqa: E402
from stategpt.data import ControlTokens  # noqa: E402
from stategpt.data.corpus import Corpus, SplitDocuments  # noqa: E402
from stategpt.data.records import Document  # noqa: E402
from stategpt.evaluate.bits import token_nats  # noqa: E402
from stategpt.evaluate.validation import ValidationDocuments  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402

PROPORTIONS = {"a": 0.6, "b": 0.2, "empty": 0.2}


@pytest.fixture(scope="module")
def tok() -> Tokenizer:
    return Tokenizer.train(["a b c"] * 4, vocab_size=280, special_tokens=list(CONTROL_TOKENS))


def _documents(tok: Tokenizer, max_tokens: int = 10_000) -> ValidationDocuments:
    sources = {
        "a": SplitDocuments([], [Document("aaa b", "a", "g"), Document("b", "a", "g")], []),
        "b": SplitDocuments([], [Document("ccccccccc", "b", "g")], []),
        "empty": SplitDocuments(),
    }
    return ValidationDocuments.of(
        Corpus(sources, {"train": [], "validation": [], "test": []}, {}),
        tok,
        PROPORTIONS,
        max_tokens,
        row_tokens=16,
        seed=0,
    )


def test_the_loss_is_the_mean_of_the_sources_by_their_shares(tok: Tokenizer) -> None:
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=280, depth=1, width=16, heads=1, kv_heads=1, head_dim=16, mlp_width=16))
    documents, control = _documents(tok), ControlTokens.of(tok)
    assert documents.shares == pytest.approx({"a": 0.75, "b": 0.25}), "a source without documents has no share"
    by_source = {
        name: token_nats(model, ids, control, 16).sum() / sum(len(each) + 1 for each in ids)
        for name, ids in documents.by_source.items()
    }
    expected = 0.75 * by_source["a"] + 0.25 * by_source["b"]
    assert documents.nats_per_token(model, control) == pytest.approx(expected)


def test_the_baselines_are_uniform_and_unigram(tok: Tokenizer) -> None:
    documents, end = _documents(tok), tok.special_tokens["<|endoftext|>"]
    flat = documents.references(np.zeros(280, np.int64), end)
    assert flat.uniform == pytest.approx(math.log(280))
    assert flat.unigram == pytest.approx(math.log(280)), "without a count every token is equally likely"
    assert flat.tokens == documents.tokens
    counts = np.zeros(280, np.int64)
    for ids in (*documents.by_source["a"], *documents.by_source["b"]):
        counts += 1000 * np.bincount([*ids, end], minlength=280)
    assert documents.references(counts, end).unigram < 0.6 * math.log(280)


def test_few_tokens_are_taken_and_none_without_documents(tok: Tokenizer) -> None:
    assert len(_documents(tok, max_tokens=1).by_source["a"]) == 1
    nothing = ValidationDocuments({}, {}, 16)
    assert nothing.tokens == 0
    assert nothing.references(np.ones(4, np.int64), 0).unigram is None
