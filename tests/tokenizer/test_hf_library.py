"""What the `tokenizers` library raises, panics included, comes out as an error of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import stategpt as sg
from stategpt.cli import main
from stategpt.errors import DataError, StategptError, TokenizerFormatError
from stategpt.tokenizer import HfTokenizer
from stategpt.tokenizer.hf_library import library_faults
from tokenizer.hf_files import TEXTS

LEVEL: dict[str, Any] = json.loads(sg.Tokenizer.train(TEXTS, 300)._to_json())
STRIP = {"type": "Strip", "content": "a", "start": 0, "stop": 10**9}


def test_a_panic_while_loading_is_a_format_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({**LEVEL, "model": {**LEVEL["model"], "continuing_subword_prefix": "##"}}))
    with pytest.raises(TokenizerFormatError, match=r"tokenizer\.json: .* panicked: "):
        sg.Tokenizer.load(path, engine="tokenizers")
    for command in ("inspect", "encode"):
        assert (
            main(
                [
                    "tokenizer",
                    command,
                    str(path),
                    "--engine",
                    "tokenizers",
                ]
            )
            == 2
        )
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("stategpt: ")
        assert "Traceback" not in last


@pytest.mark.parametrize(
    "change",
    [
        {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
        {"normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": "x"}},
    ],
)
def test_a_panic_while_encoding_is_a_data_error(change: dict[str, Any]) -> None:
    tok = HfTokenizer(json.dumps({**LEVEL, **change}))
    uses: list[Any] = [
        lambda: tok.encode("a"),
        lambda: tok.encode("a", special="unflagged"),
        lambda: tok.encode("a", special="allow"),
        lambda: tok.count_batch(["a", "b"]),
        lambda: tok.encode_with_spans("a"),
    ]
    if "pre_tokenizer" in change:
        uses.append(lambda: tok.pieces("a"))
    for use in uses:
        with pytest.raises(DataError, match="the tokenizers library"):
            use()


def test_a_panic_while_decoding_is_a_data_error() -> None:
    tok = HfTokenizer(json.dumps({**LEVEL, "decoder": STRIP}))
    (letter,) = tok.encode("a").tolist()
    decoder = tok.decoder()
    for use in (
        lambda: tok.decode([letter]),
        lambda: tok.token_bytes(letter),
        lambda: [decoder.push(letter), decoder.finish()],
    ):
        with pytest.raises(DataError, match=r"cannot decode these ids: .* panicked"):
            use()


def test_an_unknown_token_that_is_missing_is_a_data_error() -> None:
    model = {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"a": 0}}
    tok = HfTokenizer(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    assert tok.encode("a").tolist() == [0]
    with pytest.raises(DataError, match="cannot encode this text: "):
        tok.encode("b")


def test_errors_are_short_and_hold_no_control_character() -> None:
    with pytest.raises(DataError) as caught, library_faults(DataError, "it fails"):
        raise ValueError("\x1b[31m" + "x" * 10_000)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_errors_of_ours_interrupts_and_lack_of_memory_pass() -> None:
    for fault in (StategptError("a"), KeyboardInterrupt(), MemoryError()):
        with pytest.raises(type(fault)), library_faults(DataError, "it fails"):
            raise fault
