"""The tokenizer beside the libraries people use today: equal ids first, then time.

Run: pytest benches/python/bench_tokenizer.py --benchmark-group-by=group
Text is the standard library of the interpreter at hand; the vocabulary is trained on it, so nothing is downloaded.
The record against all peers is made by benches/peers/tokenizer.py.
"""

from __future__ import annotations

import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stategpt.tokenizer.tokenizer import Tokenizer

Benchmark = Callable[..., Any]

TEXTS = [
    path.read_text(encoding="utf-8", errors="replace")
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("[a-z]*.py"))
]
TOK = Tokenizer.train(TEXTS, 8192, pattern="gpt4")
IDS = [TOK.encode(text) for text in TEXTS]
LISTS = [ids.tolist() for ids in IDS]
FLOODS = {"a": "a", "space": " ", "newline": "\n", "dash": "-", "7": "7", "ab": "ab", "han": "数据处理速度"}


@pytest.fixture(scope="module")
def hf(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same tokenizer in the `tokenizers` library."""
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")
    path = tmp_path_factory.mktemp("bench") / "tokenizer.json"
    TOK.save(path)
    theirs = tokenizers.Tokenizer.from_file(str(path))
    assert all(theirs.encode(text).ids == ids for text, ids in zip(TEXTS[:20], LISTS, strict=False))
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


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The tokenizer as a file."""
    path = tmp_path / "tokenizer.json"
    TOK.save(path)
    assert Tokenizer.load(path).fingerprint == TOK.fingerprint
    return path


@pytest.mark.benchmark(group="encode")
def test_encode(benchmark: Benchmark) -> None:
    """Document by document, cache warm after the first round."""
    benchmark(lambda: [TOK.encode(text) for text in TEXTS])


@pytest.mark.benchmark(group="encode")
@pytest.mark.parametrize("threads", [1, 2])
def test_encode_batch(benchmark: Benchmark, threads: int) -> None:
    """All documents in one call."""
    batch = TOK.encode_batch(TEXTS, threads=threads)
    assert all(ours.tolist() == ids for ours, ids in zip(batch, LISTS, strict=True))
    benchmark(lambda: TOK.encode_batch(TEXTS, threads=threads))


@pytest.mark.benchmark(group="encode")
def test_encode_in_two_threads(benchmark: Benchmark) -> None:
    """Two Python threads on one object, each with half of the documents."""

    def work(texts: list[str]) -> None:
        for text in texts:
            TOK.encode(text)

    def both() -> None:
        threads = [threading.Thread(target=work, args=(half,)) for half in (TEXTS[::2], TEXTS[1::2])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    benchmark(both)


@pytest.mark.benchmark(group="encode")
def test_encode_cold(benchmark: Any, saved: Path) -> None:
    """An engine that has seen nothing yet."""
    fresh = lambda: ((Tokenizer.load(saved),), {})  # noqa: E731
    benchmark.pedantic(lambda tok: tok.encode_batch(TEXTS, threads=1), setup=fresh, rounds=10)


@pytest.mark.benchmark(group="encode")
def test_encode_tiktoken(benchmark: Benchmark, tiktoken: Any) -> None:
    benchmark(lambda: [tiktoken.encode_ordinary(text) for text in TEXTS])


@pytest.mark.benchmark(group="encode")
def test_encode_tokenizers(benchmark: Any, hf: Any) -> None:
    benchmark.pedantic(lambda: [hf.encode(text) for text in TEXTS], rounds=2)


@pytest.mark.benchmark(group="flood")
@pytest.mark.parametrize("name", FLOODS)
def test_encode_flood(benchmark: Benchmark, name: str) -> None:
    """A megabyte of one kind of character: time grows with length, not with its square."""
    text = FLOODS[name] * (1_000_000 // len(FLOODS[name].encode()))
    assert TOK.decode(TOK.encode(text)) == text
    benchmark(TOK.encode, text)


@pytest.mark.benchmark(group="decode")
@pytest.mark.parametrize("form", ["list", "array"])
def test_decode(benchmark: Benchmark, form: str) -> None:
    documents = LISTS if form == "list" else IDS
    assert all(TOK.decode(ids) == text for ids, text in zip(documents, TEXTS, strict=True))
    benchmark(lambda: [TOK.decode(ids) for ids in documents])


@pytest.mark.benchmark(group="decode")
def test_decode_batch(benchmark: Benchmark) -> None:
    batch = TOK.encode_batch(TEXTS)
    assert TOK.decode_batch(batch) == TEXTS
    benchmark(TOK.decode_batch, batch)


@pytest.mark.benchmark(group="decode")
def test_decode_tiktoken(benchmark: Benchmark, tiktoken: Any) -> None:
    benchmark(lambda: [tiktoken.decode(ids) for ids in LISTS])


@pytest.mark.benchmark(group="short")
@pytest.mark.parametrize("length", [5, 60, 1000])
def test_encode_short(benchmark: Benchmark, length: int) -> None:
    """The cost of a call."""
    text = TEXTS[0][:length]
    assert TOK.decode(TOK.encode(text)) == text
    benchmark(TOK.encode, text)


@pytest.mark.benchmark(group="train")
@pytest.mark.parametrize("pattern", ["gpt2", "gpt4", "o200k"])
def test_train(benchmark: Any, pattern: str) -> None:
    alone = Tokenizer.train(TEXTS, 8192, pattern=pattern, threads=1)
    assert Tokenizer.train(TEXTS, 8192, pattern=pattern).fingerprint == alone.fingerprint
    benchmark.pedantic(lambda: Tokenizer.train(TEXTS, 8192, pattern=pattern), rounds=3)


@pytest.mark.benchmark(group="load")
def test_load(benchmark: Benchmark, saved: Path) -> None:
    benchmark(Tokenizer.load, saved)


@pytest.mark.benchmark(group="load")
def test_load_tokenizers(benchmark: Benchmark, saved: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")
    benchmark(tokenizers.Tokenizer.from_file, str(saved))
