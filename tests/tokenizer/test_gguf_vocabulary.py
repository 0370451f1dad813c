"""Tokenizers of GGUF metadata: llama.cpp's ids on small vocabularies that it read (`make_golden_vocabularies.py`)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import stategpt as sg
from stategpt import _native
from stategpt.errors import ForeignArtifact, TokenizerFormatError, TokenizerUnsupported
from stategpt.tokenizer import HfTokenizer
from stategpt.tokenizer.gguf_patterns import ADAPTED, CUTS
from stategpt.tokenizer.gguf_vocabulary import gguf_metadata, tokenizer_json

GOLDEN = json.loads((Path(__file__).parent / "golden" / "vocabularies.json").read_text())
TEXTS: list[str] = GOLDEN["texts"]
BASE: dict[str, Any] = GOLDEN["byte_level"]
IDS = {case["pre"]: case["ids"] for case in GOLDEN["cuts"]}
NATIVE = sorted({*IDS} - {"deepseek-llm"})  # `\s+$` is not covered
K = "tokenizer.ggml."


def native(text: str) -> sg.Tokenizer:
    return sg.Tokenizer(_native.Tokenizer._from_json(text.encode()))


def library(text: str) -> HfTokenizer:
    pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")
    return HfTokenizer(text)


def comparable(name: str, text: str) -> bool:
    """Whether llama.cpp cuts a text as the model does; see `gguf_patterns`."""
    return name not in ADAPTED or text.isascii()


# --- the ids of llama.cpp ---


@pytest.mark.parametrize("name", NATIVE)
def test_byte_level_ids_are_those_of_llama_cpp(name: str) -> None:
    tok = native(tokenizer_json({**BASE, K + "pre": name}))
    for text, ids in zip(TEXTS, IDS[name], strict=True):
        if comparable(name, text):
            assert tok.encode(text, special="unflagged").tolist() == ids, ascii(text)


@pytest.mark.parametrize("name", IDS)
def test_byte_level_ids_of_the_library(name: str) -> None:
    tok = library(tokenizer_json({**BASE, K + "pre": name}))
    for text, ids in zip(TEXTS, IDS[name], strict=True):
        if comparable(name, text):
            assert tok.encode(text, special="unflagged").tolist() == ids, ascii(text)


@pytest.mark.parametrize("name", GOLDEN["metadata"])
def test_ids_of_the_other_kinds_are_those_of_llama_cpp(name: str) -> None:
    case = GOLDEN["metadata"][name]
    tok = library(tokenizer_json(case["metadata"]))
    for text, ids in zip(TEXTS, case["ids"], strict=True):
        if name != "bert" or "\u2581" not in text:  # GGUF spells the beginning of a word so, in the middle of one too
            assert tok.encode(text, special="unflagged").tolist() == ids, ascii(text)


def test_the_texts_tell_the_ways_to_cut_apart() -> None:
    assert len({json.dumps(ids) for ids in IDS.values()}) >= 11
    assert sum(text.isascii() for text in TEXTS) >= 15


def test_text_that_spells_a_control_token_stays_text() -> None:
    for tok in (native(tokenizer_json(BASE)), library(tokenizer_json(BASE))):
        assert tok.special_tokens == {"<|end|>": 0, "[tool]": 1}
        assert 0 not in tok.encode("<|end|> [tool]", special="unflagged")
        assert 1 in tok.encode("<|end|> [tool]", special="unflagged")
        assert 1 not in tok.encode("<|end|> [tool]")
        assert tok.decode(tok.encode("<|end|> [tool]")) == "<|end|> [tool]"


@pytest.mark.parametrize(("name", "strips"), [("Phi-3 mini", True), ("phi3", True), ("Llama", False)])
def test_tokens_of_phi_3_take_the_white_space_after_them(name: str, strips: bool) -> None:
    text = tokenizer_json({**BASE, "general.name": name})
    for tok in (native(text), library(text)):
        ids = tok.encode("a[tool] \n b", special="unflagged").tolist()
        assert (tok.decode(ids) == "a[tool]b") is strips


# --- files that are not right ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "rwkv"}, "tokenizer.ggml.model is 'rwkv'; supported are gpt2"),
        ({"model": None}, "tokenizer.ggml.model is None"),
        ({"pre": "brand-new"}, "tokenizer.ggml.pre is 'brand-new', which is not known here; known are a.x-4.0"),
        ({"pre": 7}, "tokenizer.ggml.pre is 7"),
    ],
)
def test_what_is_not_known_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TokenizerUnsupported, match=message):
        tokenizer_json({**BASE, **{K + key: value for key, value in change.items()}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": None}, "tokenizer.ggml.tokens is missing"),
        ({"tokens": "abc"}, "tokenizer.ggml.tokens is str; it must be a list"),
        ({"tokens": ["a", 7]}, r"tokens\[1\] is int"),
        ({"tokens": [], "token_type": []}, "it has 0 pieces"),
        ({"tokens": [*BASE[K + "tokens"][:-1], "a"]}, "are both 'a'"),
        ({"tokens": [*BASE[K + "tokens"][:-1], "x" * 1025]}, "has 1025 characters"),
        ({"token_type": [1]}, "token_type has 1 entries for"),
        ({"token_type": [9] * len(BASE[K + "tokens"])}, r"token_type\[0\] is 9; it must be 0 to 6"),
        ({"scores": [float("nan")] * len(BASE[K + "tokens"])}, r"scores\[0\] is nan"),
        ({"merges": None}, "tokenizer.ggml.merges is missing"),
        ({"merges": ["ab"]}, r"merges\[0\] is 'ab'; a merge is two tokens and a space"),
        ({"merges": ["t zz"]}, r"merges\[0\]: 'zz' is not in tokenizer.ggml.tokens"),
    ],
)
def test_damage_is_an_error_with_its_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TokenizerFormatError, match=message):
        tokenizer_json({**BASE, **{K + key: value for key, value in change.items()}})


@pytest.mark.parametrize("key", ["unknown_token_id", "add_space_prefix", "remove_extra_whitespaces"])
def test_ids_and_flags_are_checked(key: str) -> None:
    case = GOLDEN["metadata"]["t5"]["metadata"]
    for wrong in (10**9, "x", -1, 1.5):
        with pytest.raises(TokenizerFormatError, match=rf"tokenizer\.ggml\.{key} is "):
            tokenizer_json({**case, K + key: wrong})
    with pytest.raises(TokenizerFormatError, match=r"precompiled_charsmap\[0\]"):
        tokenizer_json({**case, K + "precompiled_charsmap": [999]})


def test_a_hostile_charsmap_is_a_typed_error() -> None:
    pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")
    case = GOLDEN["metadata"]["t5"]["metadata"]
    for charsmap in ([1], [255, 255, 255, 255, 0], [8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 200, 201]):
        text = tokenizer_json({**case, K + "precompiled_charsmap": charsmap})
        with pytest.raises(sg.errors.StategptError):
            HfTokenizer(text).encode("a é b")


def test_load_reads_a_gguf_file_by_the_engine_that_covers_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    held: dict[str, Any] = {}
    reader = ModuleType("stategpt.gguf_file")
    reader.read_metadata = lambda path: held  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stategpt.gguf_file", reader)
    held |= {**BASE, K + "pre": "gpt-2"}
    path = tmp_path / "model.gguf"
    assert type(sg.Tokenizer.load(path)) is sg.Tokenizer
    assert type(library(tokenizer_json(BASE))) is type(sg.Tokenizer.load(path, engine="tokenizers"))
    assert type(HfTokenizer.load(path)) is HfTokenizer
    held |= GOLDEN["metadata"]["llama"]["metadata"]
    found: Any = sg.Tokenizer.load(path)
    assert type(found) is HfTokenizer
    held[K + "model"] = "rwkv"
    with pytest.raises(TokenizerUnsupported, match=r"model\.gguf: tokenizer\.ggml\.model is 'rwkv'"):
        sg.Tokenizer.load(path)


# --- and back ---


@pytest.mark.parametrize(
    ("pattern", "pre"), [("gpt2", "gpt-2"), ("gpt4", "dbrx"), ("llama3", "dbrx"), ("qwen", "qwen2")]
)
def test_metadata_of_a_tokenizer_gives_it_back(pattern: str, pre: str) -> None:
    tok = sg.Tokenizer.train(TEXTS, 400, pattern=pattern, special_tokens=["<|endoftext|>", "<|user|>"])
    metadata = gguf_metadata(tok)
    assert metadata[K + "pre"] == pre
    again = native(tokenizer_json(metadata))
    assert again.fingerprint == tok.fingerprint
    assert [again.encode(text).tolist() for text in TEXTS] == [tok.encode(text).tolist() for text in TEXTS]


@pytest.mark.parametrize("pre", sorted({*CUTS} - ADAPTED))
def test_metadata_of_each_known_name_gives_the_same_cut(pre: str) -> None:
    metadata = gguf_metadata(native(tokenizer_json({**BASE, K + "pre": pre})))
    assert CUTS[metadata[K + "pre"]] == CUTS[pre]
    assert [metadata[K + key] for key in ("tokens", "token_type", "merges")] == [
        BASE[K + key] for key in ("tokens", "token_type", "merges")
    ]


def test_what_gguf_cannot_say_is_refused_with_the_reason() -> None:
    with pytest.raises(ForeignArtifact, match=r"'gpt-4o' cuts text as this tokenizer does in ASCII only"):
        gguf_metadata(sg.Tokenizer.train(TEXTS, 300, pattern="o200k"))
    with pytest.raises(ForeignArtifact, match=r"no tokenizer.ggml.pre of llama.cpp cuts text as this"):
        gguf_metadata(sg.Tokenizer.train(TEXTS, 300, pattern=r"\p{L}+|\s+"))
    fields = json.loads(sg.Tokenizer.train(TEXTS, 300, special_tokens=["<|end|>"])._to_json())
    with pytest.raises(ForeignArtifact, match="normalizer NFC"):
        gguf_metadata(native(json.dumps({**fields, "normalizer": {"type": "NFC"}})))
    fields["added_tokens"][0]["rstrip"] = True
    with pytest.raises(ForeignArtifact, match=r"white space that the added token '<\|end\|>' takes"):
        gguf_metadata(native(json.dumps(fields)))
    with pytest.raises(ForeignArtifact, match="byte-level BPE only"):
        gguf_metadata(library(tokenizer_json(GOLDEN["metadata"]["llama"]["metadata"])))
