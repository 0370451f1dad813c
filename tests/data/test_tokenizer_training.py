"""Training equals the readable twin, and the `tokenizers` library merge for merge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from data.tokenizer_oracles import hf_trained, learned, library_texts, ours_saved
from native import naive_bpe
from stategpt.data.tokenizer import Tokenizer

few_letters = st.sampled_from(["ab", "abc", "= ", "a\n ", "-=", "é中a", "aA1 ", "aab'"])
documents = few_letters.flatmap(
    lambda alphabet: st.lists(st.text(st.sampled_from(alphabet), min_size=1, max_size=60), min_size=1, max_size=5)
)


@settings(max_examples=60, deadline=None)
@given(documents, st.sampled_from(sorted(naive_bpe.PATTERNS)), st.integers(256, 300), st.binary(max_size=40))
def test_training_and_encoding_equal_the_readable_twin(
    texts: list[str], pattern: str, vocab_size: int, data: bytes
) -> None:
    tok = Tokenizer.train(texts, vocab_size, pattern=pattern)
    tokens, merges = naive_bpe.train([text.encode() for text in texts], pattern, vocab_size)
    # Where a merge spells an older token, the tokenizers library (and so we) counts its pairs on from where they stood;
    # the twin counts afresh. The library itself is the oracle for those, below.
    assume(len(merges) == len(tokens) - 256)
    assert [tok.token_bytes(token) for token in range(tok.vocab_size)] == tokens
    for sample in (data, *(text.encode() for text in texts)):
        assert tok.encode_bytes(sample).tolist() == naive_bpe.encode(sample, pattern, tokens, merges)
        assert naive_bpe.decode(tok.encode_bytes(sample).tolist(), tokens) == sample


@pytest.mark.parametrize("pattern", ["gpt2", "gpt4"])
def test_merges_of_real_text_equal_the_tokenizers_library(pattern: str, tmp_path: Path) -> None:
    texts = library_texts(700_000)
    tok = Tokenizer.train(texts, 2000, pattern=pattern, special_tokens=["<|endoftext|>"])
    theirs = hf_trained(pattern, 2000, texts=texts, special_tokens=["<|endoftext|>"])
    assert learned(ours_saved(tok, tmp_path)) == learned(theirs.to_str())


@pytest.mark.parametrize("pattern", ["gpt2", "gpt4"])
def test_training_by_lines_equals_training_on_files(pattern: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"{place}.txt" for place in range(40)]
    for path, text in zip(paths, library_texts(400_000), strict=False):
        path.write_text(text, encoding="utf-8", newline="")
    paths = [path for path in paths if path.exists()]
    tok = Tokenizer.train(paths, 1500, pattern=pattern, documents="lines")
    theirs = hf_trained(pattern, 1500, files=[str(path) for path in paths])
    assert learned(ours_saved(tok, tmp_path)) == learned(theirs.to_str())


@settings(max_examples=60, deadline=None)
@given(
    documents,
    st.sampled_from(["gpt2", "gpt4", "o200k", "qwen"]),
    st.integers(0, 50),
    st.integers(0, 3),
    st.sampled_from([[], ["<|x|>"], ["ab"], ["aa", "=="], ["Ġa"]]),
)
def test_ties_and_repeated_merges_equal_the_tokenizers_library(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    pattern: str,
    merges: int,
    min_frequency: int,
    specials: list[str],
) -> None:
    options: dict[str, Any] = {"special_tokens": specials, "min_frequency": min_frequency}
    vocab_size = 256 + len(specials) + merges
    tok = Tokenizer.train(texts, vocab_size, pattern=pattern, **options)
    theirs = hf_trained(pattern, vocab_size, texts=texts, **options)
    assert learned(ours_saved(tok, tmp_path_factory.mktemp("saved"))) == learned(theirs.to_str())


def test_neither_threads_nor_order_nor_an_iterator_changes_the_result() -> None:
    texts = library_texts(900_000)
    fingerprints = {
        Tokenizer.train(texts, 800, threads=1).fingerprint,
        Tokenizer.train(texts, 800, threads=3).fingerprint,
        Tokenizer.train(texts[::-1], 800).fingerprint,
        Tokenizer.train((text for text in texts), 800).fingerprint,
    }
    assert len(fingerprints) == 1
    assert Tokenizer.train(texts, 801).fingerprint not in fingerprints


def test_a_vocabulary_ends_where_no_pair_is_left() -> None:
    tok = Tokenizer.train(["aaaa"], 1000)
    assert tok.vocab_size == 258
    assert tok.encode("aaaa").tolist() == [257]


def test_rare_pairs_are_not_merged() -> None:
    assert Tokenizer.train(["ab ab cd"], 1000, min_frequency=3).vocab_size == 256
    assert Tokenizer.train(["ab ab cd"], 1000, min_frequency=2).vocab_size > 256


def test_no_token_crosses_a_line_when_training_by_lines() -> None:
    texts = ["=\n\n\n=" * 50]
    whole = Tokenizer.train(texts, 280)
    lines = Tokenizer.train(texts, 280, documents="lines")
    assert any(b"\n\n" in whole.token_bytes(token) for token in range(whole.vocab_size))
    assert not any(b"\n\n" in lines.token_bytes(token) for token in range(lines.vocab_size))
