"""Texts within a larger one get the ids that the library gives them there: no space that only a beginning gets."""

from __future__ import annotations

import json
from typing import Any

import pytest

tokenizers = pytest.importorskip("tokenizers", reason="the library is not installed")

from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers  # noqa: E402

from stategpt.data.chats.pieces import BORDER, Piece, encode_pieces  # noqa: E402
from stategpt.tokenizer import Control, HfTokenizer  # noqa: E402
from stategpt.tokenizer.hf_prefix import has_prefix  # noqa: E402

NAMES = ("<s>", "</s>")
KINDS: dict[str, dict[str, Any]] = {
    "Prepend": {
        "normalizer": normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
    },
    "Prepend alone": {"normalizer": normalizers.Prepend("▁")},
    "first": {"pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="first", split=False)},
    "always": {"pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="always", split=False)},
    "never": {"pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="never", split=False)},
    "in a sequence": {
        "pre_tokenizer": pre_tokenizers.Sequence(
            [pre_tokenizers.Punctuation(), pre_tokenizers.Metaspace(prepend_scheme="first", split=False)]
        )
    },
}


def made(kind: str) -> Any:
    """A vocabulary of characters, so that no merge crosses a border."""
    characters = [*NAMES, "<unk>", *"▁ tobernq.?"]
    library = tokenizers.Tokenizer(models.BPE({name: n for n, name in enumerate(characters)}, [], unk_token="<unk>"))
    for name, value in KINDS[kind].items():
        setattr(library, name, value)
    library.decoder = decoders.Metaspace()
    library.add_tokens([AddedToken(name, special=True, normalized=False) for name in NAMES])
    return library


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize(
    "parts",
    [
        ("<s>", "to be", "</s>", "or not"),
        ("to be", "</s>", "or", "</s>"),
        ("<s>", "to", " be", " or", "</s>", "not", " to"),
        ("to", "be"),
        ("<s>", "", "to"),
        (" to", " be"),
    ],
    ids=" ".join,
)
def test_parts_have_the_ids_of_the_whole(kind: str, parts: tuple[str, ...]) -> None:
    library = made(kind)
    tok = HfTokenizer(library.to_str())
    expected = library.encode("".join(parts), add_special_tokens=False).ids
    segments = [Control(part) if part in NAMES else part for part in parts]
    assert tok.encode_segments(segments).tolist() == expected
    pieces: list[Piece] = []
    for part in parts:
        pieces += [Piece(part, "control" if part in NAMES else "literal"), BORDER]
    assert encode_pieces(tok, pieces, "t")[0].tolist() == expected


def test_a_text_alone_is_a_beginning() -> None:
    for kind in KINDS:
        tok = HfTokenizer(made(kind).to_str())
        assert tok.encode("to").tolist() == made(kind).encode("to", add_special_tokens=False).ids
        assert tok.encode_segments(["to"]).tolist() == tok.encode("to").tolist()
        assert tok.encode_segments([]).tolist() == []


def test_older_files_say_it_by_a_flag() -> None:
    file = json.loads(made("always").to_str())
    for flag in (True, False):
        file["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": flag}
        assert has_prefix(file, "token") is flag
    file["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    assert not has_prefix(file, "nothing"), "as the native engine has it"
