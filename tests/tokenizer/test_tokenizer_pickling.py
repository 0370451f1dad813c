"""Tokenizers go to other processes: pickled as their canonical file, copied as themselves."""

from __future__ import annotations

import copy
import json
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stategpt as sg
from stategpt import _native
from stategpt.tokenizer import HfTokenizer
from tokenizer.tokenizer_oracles import library_texts

TEXTS = library_texts(60_000)
TOK = sg.Tokenizer.train(TEXTS, 700, special_tokens=["<|endoftext|>", "<|user|>"])
FILE: dict[str, Any] = json.loads(TOK._to_json())
RANKS = {**{bytes([byte]): byte for byte in range(256)}, b"ab": 256, b"abc": 257, b"bc": 258, b" abc": 259}


def of_ranks(folder: Path) -> sg.Tokenizer:
    import base64

    lines = [base64.b64encode(token) + b" %d" % rank for token, rank in RANKS.items()]
    (folder / "ranks.tiktoken").write_bytes(b"\n".join(lines) + b"\n")
    return sg.Tokenizer.from_tiktoken(folder / "ranks.tiktoken", "gpt2", {"<|end|>": 300})


def kinds(folder: Path) -> dict[str, sg.Tokenizer]:
    """Native tokenizers of every origin."""

    def of(**changes: object) -> sg.Tokenizer:
        return sg.Tokenizer(_native.Tokenizer._from_json(json.dumps({**FILE, **changes}).encode()))

    return {
        "trained": TOK,
        "a pattern of one's own": sg.Tokenizer.train(TEXTS, 300, pattern=r"\w+|\W"),
        "nfc": of(normalizer={"type": "NFC"}),
        "ignore_merges": of(model={**FILE["model"], "ignore_merges": True}),
        "ranks": of_ranks(folder),
    }


def ids_of(tok: sg.AnyTokenizer, text: str) -> tuple[str, list[int], list[int]]:
    """What another process sees of a tokenizer."""
    return tok.fingerprint, tok.encode(text).tolist(), tok.encode(text, special="allow").tolist()


def test_pickled_tokenizers_are_equal_and_warm_ones_too(tmp_path: Path) -> None:
    for name, tok in kinds(tmp_path).items():
        for text in TEXTS[:3]:
            tok.encode(text)  # caches are no part of it
        again = pickle.loads(pickle.dumps(tok))
        assert type(again) is sg.Tokenizer
        for text in [*TEXTS, " abc<|endoftext|>e\u0301 abcab"]:
            assert ids_of(again, text) == ids_of(tok, text), name
        assert again.decode(again.encode("abc")) == "abc"


def test_a_copy_of_what_never_changes_is_itself_and_a_subclass_stays_one() -> None:
    assert copy.copy(TOK) is copy.deepcopy(TOK) is TOK
    assert copy.deepcopy({"tok": [TOK]})["tok"][0] is TOK

    again = pickle.loads(pickle.dumps(Named(TOK)))
    assert type(again) is Named
    assert again.fingerprint == TOK.fingerprint


class Named(sg.Tokenizer):
    """A subclass, which pickle finds by its name."""


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_of_a_pool_encode_alike(method: str) -> None:
    texts = TEXTS[:4]
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.starmap(ids_of, [(TOK, text) for text in texts], chunksize=1)
    assert found == [ids_of(TOK, text) for text in texts]


def test_the_other_engine_pickles_as_its_file() -> None:
    pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")
    tok = HfTokenizer(json.dumps(FILE))
    for again in (pickle.loads(pickle.dumps(tok)), copy.deepcopy(tok)):
        for text in TEXTS[:2]:
            assert ids_of(again, text) == ids_of(tok, text)


def test_results_pickle() -> None:
    ragged = pickle.loads(pickle.dumps(TOK.encode_batch(TEXTS[:3])))
    assert np.array_equal(ragged.ids, TOK.encode_batch(TEXTS[:3]).ids)
