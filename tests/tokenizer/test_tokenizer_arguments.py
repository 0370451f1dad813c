"""Arguments of another type are refused by what they are, in both engines, before they mean something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stategpt as sg
from stategpt.errors import InvalidArgument, MissingExtra
from stategpt.tokenizer import Control, HfTokenizer

NATIVE = sg.Tokenizer.train(["to be or not to be"], 270, special_tokens=["<|end|>", "<|user|>"])
LIBRARY: list[sg.AnyTokenizer] = []
with suppress(MissingExtra):
    LIBRARY.append(HfTokenizer(NATIVE._to_json()))
both = pytest.mark.parametrize("tok", [NATIVE, *LIBRARY], ids=lambda tok: type(tok).__name__)

REFUSED: dict[str, tuple[Callable[[Any], object], str]] = {
    "a batch of one text": (lambda tok: tok.encode_batch("abc"), r"texts is of type str; .*\[texts\]"),
    "a batch of one bytes": (lambda tok: tok.encode_batch(b"abc"), "texts is of type bytes"),
    "a batch of None": (lambda tok: tok.encode_batch(None), "texts is of type NoneType"),
    "a count of one text": (lambda tok: tok.count_batch("abc"), r"texts is of type str; .*\[texts\]"),
    "one path": (lambda tok: tok.encode_files("/x"), r"paths is of type str; .*\[paths\]"),
    "one path as such": (lambda tok: tok.encode_files(Path("/x")), "paths is of type PosixPath"),
    "one segment": (lambda tok: tok.encode_segments("abc"), "segments is of type str"),
    "one control": (lambda tok: tok.encode_segments(Control("<|user|>")), "segments is of type Control"),
    "a flat list": (lambda tok: tok.decode_batch([1, 2]), r"ragged is of type list; .*Ragged\.of"),
    "an array": (lambda tok: tok.decode_batch(np.arange(3)), "ragged is of type ndarray"),
    "bytes": (lambda tok: tok.encode(b"abc"), "bytes, not str"),
    "a number": (lambda tok: tok.encode(5), "int, not str"),
    "a list": (lambda tok: tok.encode(["a"]), "list, not str"),
    "a number to count": (lambda tok: tok.count(5), "int, not str"),
    "a number in spans": (lambda tok: tok.encode_with_spans(5), "int, not str"),
    "a number in offsets": (lambda tok: tok.encode_with_offsets(5), "int, not str"),
    "a number in a batch": (lambda tok: tok.encode_batch(["a", 5]), "text 1 is int, not str"),
    "pieces of bytes": (lambda tok: tok.pieces(b"abc"), "bytes, not str"),
    "pieces of a surrogate": (lambda tok: tok.pieces("\ud800"), "not valid Unicode"),
    "text as bytes": (lambda tok: tok.encode_bytes("abc"), "data is of type str"),
    "a surrogate as a name": (lambda tok: tok.encode_segments([Control("\ud800")]), "Control is .*lone surrogate"),
    "a number as a name": (lambda tok: tok.encode_segments([Control(5)]), "Control is of type int"),  # type: ignore[arg-type]
    "threads as text": (lambda tok: tok.encode_batch(["a"], threads="2"), "threads is '2'"),
    "a fraction of a thread": (lambda tok: tok.encode_batch(["a"], threads=1.5), "threads is 1.5"),
    "ids of unlike lengths": (lambda tok: tok.decode([[1], [1, 2]]), "ids"),
    "ids as text": (lambda tok: tok.decode("abc"), "ids are"),
    "a mode": (lambda tok: tok.encode("a", special="all"), "special is '?all'?; choose one of text, unflagged, allow"),
}


@both
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, tok: Any) -> None:
    call, message = REFUSED[name]
    with pytest.raises(InvalidArgument, match=message):
        call(tok)


@both
def test_what_is_taken(tok: sg.AnyTokenizer) -> None:
    assert len(tok.encode_batch(text for text in ("a", "b"))) == 2
    assert tok.count_batch({"a": 1}.keys()).tolist() == [1]
    assert tok.decode_batch(tok.encode_batch([])) == []
    assert tok.encode_batch(["a"], threads=np.int64(1)).ids.tolist() == tok.encode("a").tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"special_tokens": "<|end|>"}, r"special_tokens is of type str; .*\[special_tokens\]"),
        ({"special_tokens": ["a", 5]}, "special token 1 is of type int"),
        ({"special_tokens": ["<\ud800>"]}, r"special token 0 is '<\\ud800>', with a lone surrogate"),
        ({"pattern": "\ud800"}, "pattern is .*lone surrogate"),
        ({"pattern": None}, "pattern is of type NoneType"),
        ({"vocab_size": 300.0}, r"vocab_size is 300\.0; it must be a whole number"),
        ({"vocab_size": -1}, "vocab_size is -1"),
        ({"min_frequency": "2"}, "min_frequency is '2'"),
        ({"source": "a text"}, "source is one text or path"),
        ({"source": Path("/x")}, "source is one text or path"),
    ],
)
def test_training_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        sg.Tokenizer.train(**{"source": ["a"], "vocab_size": 260, **arguments})


def test_rank_files_refuse_names_that_are_no_text(tmp_path: Path) -> None:
    for special, message in (({"\ud800": 1}, "lone surrogate"), ({5: 1}, "of type int"), (["a"], "of type list")):
        with pytest.raises(InvalidArgument, match=message):
            sg.Tokenizer.from_tiktoken(tmp_path / "none", "gpt2", special)  # type: ignore[arg-type]


def test_an_unknown_special_token_is_answered_in_a_few_words() -> None:
    names = [f"<|reserved_{number}|>" for number in range(256)]
    native = sg.Tokenizer.train(["a"], 512, special_tokens=names)
    for tok in [native, *(HfTokenizer(json.dumps(json.loads(native._to_json()))) for _ in LIBRARY)]:
        with pytest.raises(InvalidArgument, match=r"'?\"?<\|user\|>'?\"? is not .* and 248 more") as caught:
            tok.special_id("<|user|>")
        assert len(str(caught.value)) < 400
