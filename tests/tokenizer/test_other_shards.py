"""Token shards of the `tokenizers` engine: those of ours where both read the file; ends and padding by name."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stategpt as sg
from stategpt import _native
from stategpt.data import read_documents
from stategpt.errors import CorpusError, InvalidArgument, UnknownToken
from stategpt.packing import Loader, TokenizedDocument
from stategpt.tokenizer import HfTokenizer
from stategpt.tokenizer.sentencepiece_vocabulary import tokenizer_json
from tokenizer.hf_files import trained
from tokenizer.tokenizer_oracles import library_texts

pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")

TEXTS = [*library_texts(60_000), "", "<|endoftext|> <|user|>", "é🚀"]
OURS = sg.Tokenizer.train(TEXTS, 600, special_tokens=["<|endoftext|>", "<|pad|>", "<|user|>"])
THEIRS = HfTokenizer(OURS._to_json())
GOLDEN = json.loads((Path(__file__).parent / "golden" / "vocabularies.json").read_text())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.npy")}


def described(folder: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads((folder / "manifest.json").read_text())["extra"]
    return fields


@pytest.mark.parametrize("special", ["text", "unflagged"])
def test_both_engines_write_the_same_files(tmp_path: Path, special: Any) -> None:
    ids = TokenizedDocument(np.array([5, 6], np.uint32), np.array([0, 1, 1], np.uint8))
    documents = [*TEXTS[:9], ids, *TEXTS[9:], b"bytes"]
    made = [
        sg.write_shards(documents, tok, tmp_path / str(place), 4000, source="s", license="l", special=special)
        for place, tok in enumerate((OURS, THEIRS))
    ]
    assert files(tmp_path / "0") == files(tmp_path / "1")
    assert len(files(tmp_path / "0")) >= 6
    first, second = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in "01")
    differing = [key for key in first if first[key] != second[key]]
    assert sorted(differing) == ["fingerprint", "fingerprints"], "only whose tokenizer it is"
    rows = [sg.pack(shards, 128, seed=3) for shards in made]
    assert all(np.array_equal(rows[0][i].tokens, rows[1][i].tokens) for i in range(len(rows[0])))


def test_texts_of_files_take_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(TEXTS))
    for place, tok in enumerate((OURS, THEIRS)):
        sg.write_shards(read_documents(tmp_path / "a.txt"), tok, tmp_path / str(place))
    assert files(tmp_path / "0") == files(tmp_path / "1")


def test_batches_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sg.write_shards(TEXTS, THEIRS, tmp_path / "0")
    monkeypatch.setattr("stategpt.data.encoded_shards._CHARACTERS", 10)
    sg.write_shards(TEXTS, THEIRS, tmp_path / "1")
    assert files(tmp_path / "0") == files(tmp_path / "1")


@pytest.mark.parametrize("kind", ["WordPiece", "Unigram", "WordLevel"])
def test_other_kinds_are_written_packed_and_read(kind: str, tmp_path: Path) -> None:
    tok = HfTokenizer(json.dumps(trained(kind)))
    end, pad = ("</s>", "<pad>") if kind == "Unigram" else ("[SEP]", "[PAD]")
    shards = sg.write_shards(["to be or not", "the end"], tok, tmp_path / "out")
    assert [shards.document(i).tolist() for i in range(2)] == [
        tok.encode(text).tolist() for text in ("to be or not", "the end")
    ]
    held = described(tmp_path / "out")
    assert (held["end_of_text"], held["padding"]) == (tok.special_id(end), tok.special_id(pad))
    batch = next(iter(Loader(sg.pack(shards, 16), batch_rows=1)))
    assert int(batch.tokens[0]) == tok.special_id(end)
    assert sg.Shards.open(tmp_path / "out", tok).num_documents == 2


def test_ends_and_padding_can_be_chosen(tmp_path: Path) -> None:
    for tok in (OURS, THEIRS):
        sg.write_shards(["a"], tok, tmp_path / "out", end_of_text="<|user|>", pad="<|endoftext|>")
        held = described(tmp_path / "out")
        assert (held["end_of_text"], held["padding"]) == (2, 0)
        with pytest.raises(InvalidArgument, match=r"<x>. is not a special token here"):
            sg.write_shards(["a"], tok, tmp_path / "out", end_of_text="<x>")
        with pytest.raises(InvalidArgument, match=r"<x>. is not a special token here"):
            sg.write_shards(["a"], tok, tmp_path / "out", pad="<x>")


def test_a_sentencepiece_model_streams_into_shards(tmp_path: Path) -> None:
    tok = HfTokenizer(tokenizer_json(base64.b64decode(GOLDEN["models"]["bpe"]["model"])))
    texts = [text.replace("\u2581", "") for text in GOLDEN["texts"]]  # which spells a space
    shards = sg.write_shards(texts, tok, tmp_path / "out")
    assert [tok.decode(ids) for ids in shards] == texts
    decoder = tok.decoder()
    ids = shards.document(3)
    assert "".join([*(decoder.push(int(token)) for token in ids), decoder.finish()]) == texts[3]


def test_what_the_compiled_writer_refuses_is_refused_alike(tmp_path: Path) -> None:
    for tok in (OURS, THEIRS):
        with pytest.raises(CorpusError, match="document 1, byte 1: not UTF-8"):
            sg.write_shards(["a", b"a\xff"], tok, tmp_path / "out")
        with pytest.raises(CorpusError, match="document 1 is not Unicode text"):
            sg.write_shards(["a", "\ud800"], tok, tmp_path / "out")
        with pytest.raises(UnknownToken, match="600"):
            sg.write_shards([TokenizedDocument(np.array([600], np.uint32))], tok, tmp_path / "out")
        assert not (tmp_path / "out").exists()
    with pytest.raises(InvalidArgument, match="tok is int; give a Tokenizer"):
        sg.write_shards(["a"], 7, tmp_path / "out")  # type: ignore[arg-type]


def test_text_cannot_end_a_document(tmp_path: Path) -> None:
    fields = json.loads(OURS._to_json())
    fields["added_tokens"][0]["special"] = False
    text = json.dumps(fields)
    for tok in (sg.Tokenizer(_native.Tokenizer._from_json(text.encode())), HfTokenizer(text)):
        with pytest.raises(
            InvalidArgument, match=r"special=\"unflagged\": the added token .<\|endoftext\|>. is not flagged"
        ):
            sg.write_shards(["a"], tok, tmp_path / "out", special="unflagged")


def test_unflagged_tokens_are_stored_alike(tmp_path: Path) -> None:
    fields = json.loads(OURS._to_json())
    fields["added_tokens"][2]["special"] = False
    text = json.dumps(fields)
    for place, tok in enumerate((sg.Tokenizer(_native.Tokenizer._from_json(text.encode())), HfTokenizer(text))):
        shards = sg.write_shards(["a <|user|>"], tok, tmp_path / str(place), special="unflagged")
        assert shards.document(0)[-1] == 2
    assert files(tmp_path / "0") == files(tmp_path / "1")


def test_ids_in_a_gap_of_the_vocabulary_are_refused(tmp_path: Path) -> None:
    fields = json.loads(OURS._to_json())
    fields["model"]["vocab"]["gap"] = 700
    tok = HfTokenizer(json.dumps(fields))
    with pytest.raises(UnknownToken, match="650"):
        sg.write_shards([TokenizedDocument(np.array([650], np.uint32))], tok, tmp_path / "out")


def test_encoded_documents_must_cover_their_ids(tmp_path: Path) -> None:
    known = np.arange(10, dtype=np.uint32)
    for offsets in ([0, 2], [1, 3], [0, 3, 2, 3], []):
        writer = _native.ShardWriter.of_ids(tmp_path / "out", "f", known, 0, 0, 10)
        with pytest.raises(InvalidArgument, match="offsets of documents must ascend from 0 to 3"):
            writer.push_encoded(np.array([1, 2, 3], np.uint32), np.array(offsets, np.uint64))
    writer = _native.ShardWriter.of_ids(tmp_path / "out", "f", known, 0, 0, 10)
    with pytest.raises(InvalidArgument, match="hold the ids of another tokenizer"):
        writer.push_texts(["a"])
