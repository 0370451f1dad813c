"""The tokenizer beside the libraries people use today: equal ids first, then time.

Run: pytest benches/python/bench_tokenizer.py --benchmark-group-by=group
Text is the standard library of the interpreter at hand; the vocabulary is trained on it, so nothing is downloaded.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stategpt.data.tokenizer import Tokenizer

Benchmark = Callable[..., Any]

TEXTS = [
    path.read_text(encoding="utf-8", errors="replace")
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("[a-z]*.py"))
]
TOK = Tokenizer.train(TEXTS, 8192, pattern="gpt4")
IDS = [TOK.encode(text) for text in TEXTS]


@pytest.fixture(scope="module")
def hf(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same tokenizer in the `tokenizers` library."""
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")
    path = tmp_path_factory.mktemp("bench") / "tokenizer.json"
    TOK.save(path)
    theirs = tokenizers.Tokenizer.from_file(str(path))
    assert all(theirs.encode(text).ids == ids.tolist() for text, ids in zip(TEXTS[:20], IDS, strict=False))
    return theirs


@pytest.fixture(scope="module")
def tiktoken() -> Any:
    """A tiktoken encoding of the same vocabulary. Its merges go by id: compared by what it decodes to."""
    module = pytest.importorskip("tiktoken", reason="tiktoken is not installed (extra: dev)")
    from native.naive_bpe import PATTERNS

    ranks = {TOK.token_bytes(token): token for token in range(TOK.vocab_size)}
    theirs = module.Encoding("bench", pat_str=PATTERNS["gpt4"], mergeable_ranks=ranks, special_tokens={})
    assert all(theirs.decode(theirs.encode_ordinary(text)) == text for text in TEXTS[:20])
    return theirs


@pytest.mark.benchmark(group="encode")
def test_encode(benchmark: Benchmark) -> None:
    """Document by document, cache warm after the first round."""
    benchmark(lambda: [TOK.encode(text) for text in TEXTS])


@pytest.mark.benchmark(group="encode")
def test_encode_batch(benchmark: Benchmark) -> None:
    """All documents in one call, on as many threads as the machine lends."""
    assert (TOK.encode_batch(TEXTS)[3] == IDS[3]).all()
    benchmark(lambda: TOK.encode_batch(TEXTS))


@pytest.mark.benchmark(group="encode")
def test_encode_tiktoken(benchmark: Benchmark, tiktoken: Any) -> None:
    benchmark(lambda: [tiktoken.encode_ordinary(text) for text in TEXTS])


@pytest.mark.benchmark(group="encode")
def test_encode_tokenizers(benchmark: Benchmark, hf: Any) -> None:
    benchmark.pedantic(lambda: [hf.encode(text) for text in TEXTS], rounds=2)  # type: ignore[attr-defined]


@pytest.mark.benchmark(group="decode")
def test_decode(benchmark: Benchmark) -> None:
    assert TOK.decode(IDS[0]) == TEXTS[0]
    benchmark(lambda: [TOK.decode(ids) for ids in IDS])


@pytest.mark.benchmark(group="decode")
def test_decode_tiktoken(benchmark: Benchmark, tiktoken: Any) -> None:
    lists = [ids.tolist() for ids in IDS]
    benchmark(lambda: [tiktoken.decode(ids) for ids in lists])


@pytest.mark.benchmark(group="short")
@pytest.mark.parametrize("length", [5, 60, 1000])
def test_encode_short(benchmark: Benchmark, length: int) -> None:
    """The cost of a call."""
    text = TEXTS[0][:length]
    assert TOK.decode(TOK.encode(text)) == text
    benchmark(TOK.encode, text)


@pytest.mark.benchmark(group="train")
def test_train(benchmark: Benchmark) -> None:
    assert Tokenizer.train(TEXTS, 8192, threads=1).fingerprint == TOK.fingerprint
    benchmark.pedantic(lambda: Tokenizer.train(TEXTS, 8192), rounds=3)  # type: ignore[attr-defined]
