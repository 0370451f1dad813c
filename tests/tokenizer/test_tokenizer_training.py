"""Training equals the readable twin, and the `tokenizers` library merge for merge."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import naive_bpe
from stategpt.errors import CorpusError, InvalidArgument
from stategpt.tokenizer.tokenizer import Tokenizer
from tokenizer.tokenizer_oracles import hf_trained, learned, library_texts, ours_saved

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
    # No token is made twice, of other parts: what is joined within a token's bounds depends on its bytes alone.
    assert len(merges) == len(tokens) - 256
    assert [tok.token_bytes(token) for token in range(tok.vocab_size)] == tokens
    for sample in (data, *(text.encode() for text in texts)):
        assert tok.encode_bytes(sample).tolist() == naive_bpe.encode(sample, pattern, tokens, merges)
        assert naive_bpe.decode(tok.encode_bytes(sample).tolist(), tokens) == sample


@pytest.mark.parametrize("pattern", ["gpt2", "gpt4", "o200k"])
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


def test_a_special_token_that_a_merge_spells_is_merged_on(tmp_path: Path) -> None:
    texts = [" a aA aA aAb"]
    tok = Tokenizer.train(texts, 260, pattern="gpt2", special_tokens=["Ġa"])
    theirs = hf_trained("gpt2", 260, texts=texts, special_tokens=["Ġa"])
    assert learned(ours_saved(tok, tmp_path)) == learned(theirs.to_str())


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


CORPORA = Path(os.environ.get("STATEGPT_CORPORA", "corpora"))


@pytest.mark.parametrize("documents", ["whole", "lines"])
@pytest.mark.parametrize("pattern", ["gpt2", "o200k"])
@pytest.mark.parametrize("corpus", ["prose", "code", "multi"])
def test_merges_of_three_corpora_equal_the_tokenizers_library(
    corpus: str, pattern: str, documents: Any, tmp_path: Path
) -> None:
    path = CORPORA / f"{corpus}.txt"
    if not path.exists():
        pytest.skip(f"no {path}: set STATEGPT_CORPORA to a folder with prose.txt, code.txt, multi.txt")
    with path.open("rb") as file:
        texts = [text for text in file.read(600_000).decode("utf-8", "ignore").split("<|endoftext|>") if text]
    files = [tmp_path / f"{place}.txt" for place in range(len(texts))]
    for name, text in zip(files, texts, strict=True):
        name.write_text(text, encoding="utf-8", newline="")
    source: list[Any] = files if documents == "lines" else texts
    tok = Tokenizer.train(source, 6000, pattern=pattern, documents=documents)
    theirs = hf_trained(
        pattern, 6000, **({"files": [str(name) for name in files]} if documents == "lines" else {"texts": texts})
    )
    assert learned(ours_saved(tok, tmp_path)) == learned(theirs.to_str())


def test_pieces_of_hundreds_of_bytes_equal_the_tokenizers_library(tmp_path: Path) -> None:
    texts = ["ab" * 127 + "c", "ab" * 128, "a" * 255, "a" * 256, "a" * 999, "abc" * 400, "x" + "é" * 200, "=-" * 300]
    tok = Tokenizer.train(texts, 330, pattern="gpt4")
    assert learned(ours_saved(tok, tmp_path)) == learned(hf_trained("gpt4", 330, texts=texts).to_str())


@pytest.mark.parametrize("documents", ["whole", "lines"])
def test_a_file_read_in_blocks_equals_its_text(documents: Any, tmp_path: Path) -> None:
    text = "".join(library_texts(3_000_000)) + "naïve 中文 é\u0301 \u3000\r\n"
    text *= 20_000_000 // len(text) + 1  # several blocks of 8 MiB
    path = tmp_path / "large.txt"
    path.write_text(text, encoding="utf-8", newline="")
    for pattern in ("gpt2", "o200k"):
        read = Tokenizer.train([path], 600, pattern=pattern, documents=documents)
        assert read.fingerprint == Tokenizer.train([text], 600, pattern=pattern, documents=documents).fingerprint


def test_a_table_of_counted_pieces_gives_what_the_text_gives() -> None:
    texts = library_texts(300_000)
    table = Counter(piece for text in texts for piece in Tokenizer.train(["a"], 256, pattern="gpt4").pieces(text))
    expected = Tokenizer.train(texts, 700, pattern="gpt4").fingerprint
    assert Tokenizer.train(table, 700, pattern="gpt4").fingerprint == expected
    as_bytes = {piece.encode(): count for piece, count in table.items()}
    assert Tokenizer.train(as_bytes, 700, pattern="gpt4").fingerprint == expected


def test_counts_of_a_table_may_exceed_32_bits() -> None:
    tok = Tokenizer.train({"ab": 2**40, "cd": 2**33, "ef": 1}, 300, min_frequency=2**33)
    assert [tok.token_bytes(token) for token in range(256, tok.vocab_size)] == [b"ab", b"cd"]


@pytest.mark.parametrize("table", [{"a": -1}, {"a": 2**63}, {"a": "1"}, {3: 1}, {"\ud800": 1}])
def test_a_table_that_is_none_is_refused(table: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"table|valid Unicode"):
        Tokenizer.train(table, 300)


def test_counts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(CorpusError, match=r"2\^63"):
        Tokenizer.train({"abab": 2**62}, 300)


def test_more_distinct_pieces_than_memory_limit_allows_are_refused() -> None:
    words = ["".join(chr(ord("a") + int(digit)) for digit in str(number)) * 3 for number in range(200_000)]
    texts = [" ".join(words[start : start + 4000]) for start in range(0, len(words), 4000)]
    message = r"distinct pre-tokens take \d+ bytes, more than memory_limit 1000000; raise it"
    with pytest.raises(CorpusError, match=message):
        Tokenizer.train(texts, 300, memory_limit=1_000_000)
    assert Tokenizer.train(texts[:2], 300, memory_limit=10_000_000).vocab_size == 300


def test_progress_tells_phase_units_done_and_units_in_all(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("".join(library_texts(400_000)), encoding="utf-8")
    told: list[tuple[str, int, int]] = []
    Tokenizer.train([path], 900, progress=lambda *progress: told.append(progress))
    size = path.stat().st_size
    assert ("counting", size, size) in told
    assert told[-1] == ("merging", 644, 644)
    assert [phase for phase, _, _ in told] == sorted(phase for phase, _, _ in told)


def test_what_progress_raises_ends_the_training() -> None:
    def refuse(phase: str, done: int, total: int) -> None:
        raise LookupError(phase)

    with pytest.raises(LookupError, match="merging"):
        Tokenizer.train({"abc": 1}, 300, progress=refuse)


def test_control_c_ends_the_training() -> None:
    code = """
import random, sys
from stategpt.tokenizer.tokenizer import Tokenizer
draw = random.Random(0)
letters = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=6_000_000))
table = {letters[at : at + 12]: 1 for at in range(0, len(letters), 12)}
seen = set()
def progress(phase, done, total):
    if phase == "merging" and total and phase not in seen:
        seen.add(phase)
        print("merging", flush=True)
while True:  # the signal always finds a training at work
    Tokenizer.train(table, 60_000, progress=progress)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "merging\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=250)  # a hang guard: it takes a fraction of a second
    assert "KeyboardInterrupt" in errors
