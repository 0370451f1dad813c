"""Token shards: round trip, plain numpy files, and damage that must not pass."""

import base64
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt.data.shard_writing import write_shards
from stategpt.errors import (
    CorpusError,
    CorruptArtifact,
    DataError,
    ForeignArtifact,
    InvalidArgument,
    StategptError,
    StorageError,
    UnknownToken,
)
from stategpt.packing import TokenizedDocument
from stategpt.packing.shards import Shards
from stategpt.tokenizer.tokenizer import Tokenizer

TEXTS = ["the cat sat on the mat", "", "the <|endoftext|> cat é", "x" * 50]


@pytest.fixture(scope="module")
def tok() -> Tokenizer:
    return Tokenizer.train([*TEXTS, "the cat"], vocab_size=280, special_tokens=["<|endoftext|>", "<|pad|>"])


def test_documents_come_back_as_text(tok: Tokenizer, tmp_path: Path) -> None:
    ds = write_shards(TEXTS, tok, tmp_path / "data", source="here", license="CC0", parents=["b3:parent"])
    assert [tok.decode(ids) for ids in ds] == TEXTS
    assert all(tok.special_id("<|endoftext|>") not in ids for ids in ds)
    assert (len(ds), ds.num_tokens) == (4, sum(len(tok.encode(text)) for text in TEXTS))
    assert (ds.source, ds.license, ds.manifest.parents) == ("here", "CC0", ("b3:parent",))
    assert [ds.doc_id(i) for i in range(4)] == [0, 1, 2, 3]
    lengths = [len(tok.encode(text)) for text in TEXTS]
    assert ds.length_histogram.tolist() == [[n, lengths.count(n)] for n in sorted(set(lengths))]
    ds.verify()
    Shards.open(tmp_path / "data", tokenizer=tok).verify()


def test_the_files_are_plain_numpy_arrays(tok: Tokenizer, tmp_path: Path) -> None:
    documents = [
        TokenizedDocument(np.array([5, 6, 7]), mask=np.array([0, 1, 1, 1]), doc_id=2**64 - 2),
        TokenizedDocument(np.array([8]), doc_id=3),
    ]
    write_shards(documents, tok, tmp_path / "data")
    shard = tmp_path / "data" / "00000"
    assert sorted(os.listdir(shard)) == ["doc_id.npy", "mask.npy", "offsets.npy", "tokens.npy"]
    for name, dtype, values in [
        ("tokens", np.uint16, [5, 6, 7, 8]),
        ("offsets", np.uint64, [0, 3, 4]),
        ("mask", np.uint8, [0, 1, 1, 1, 1, 1]),
        ("doc_id", np.uint64, [2**64 - 2, 3]),
    ]:
        array = np.load(shard / f"{name}.npy")
        assert (array.dtype, array.tolist()) == (dtype, values)
        assert os.path.getsize(shard / f"{name}.npy") == 128 + array.nbytes
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert (manifest["kind"], manifest["fingerprints"]) == ("token_shards", {"tokenizer": tok.fingerprint})


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 20), max_size=20),
    max_tokens=st.integers(1, 60),
    masked=st.booleans(),
    data=st.data(),
)
def test_any_documents_come_back(
    tok: Tokenizer,
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    max_tokens: int,
    masked: bool,
    data: st.DataObject,
) -> None:
    ids = [data.draw(st.lists(st.integers(0, tok.vocab_size - 1), min_size=n, max_size=n)) for n in lengths]
    masks = [np.array([1] + [0, 1] * n)[: n + 1] if masked else None for n in lengths]
    documents = [TokenizedDocument(np.array(i, dtype=np.uint32), m) for i, m in zip(ids, masks, strict=True)]
    out = tmp_path_factory.mktemp("any") / "data"
    ds = write_shards(documents, tok, out, max_tokens=max_tokens, allow_empty=True)
    assert [found.tolist() for found in ds] == ids
    for number, mask in enumerate(masks):
        assert (ds.loss_mask(number) == (1 if mask is None else mask)).all()
    ds.verify()


def test_texts_and_ids_keep_their_order(tok: Tokenizer, tmp_path: Path) -> None:
    items = ["the cat", TokenizedDocument(np.array([9, 9])), b"the mat", "sat"]
    ds = write_shards(items, tok, tmp_path / "data")
    texts = [ds.document(number) for number in (0, 2, 3)]
    assert [tok.decode(ids) for ids in texts] == ["the cat", "the mat", "sat"]
    assert ds.document(1).tolist() == [9, 9]


@settings(max_examples=20, deadline=None)
@given(
    texts=st.lists(st.text(max_size=40), min_size=1, max_size=60),
    copies=st.integers(1, 8),
    threads=st.integers(2, 4),
    max_tokens=st.integers(1, 700),
)
def test_the_bytes_do_not_depend_on_threads(
    tok: Tokenizer,
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    copies: int,
    threads: int,
    max_tokens: int,
) -> None:
    texts, folder = texts * copies, tmp_path_factory.mktemp("threads")
    one = write_shards(texts, tok, folder / "one", max_tokens=max_tokens, threads=1)
    others = write_shards(iter(texts), tok, folder / "others", max_tokens=max_tokens, threads=threads)
    assert one.fingerprint == others.fingerprint
    assert [tok.decode(ids) for ids in others] == texts


@settings(max_examples=40, deadline=None)
@given(
    ids=st.lists(st.integers(0, 279), max_size=9),
    place=st.integers(0, 9),
    wrong=st.integers(280, 2**32 - 1) | st.sampled_from([2**16, 2**16 + 5, 2**31]),
)
def test_an_id_that_the_tokenizer_lacks_is_never_stored(
    tok: Tokenizer, tmp_path_factory: pytest.TempPathFactory, ids: list[int], place: int, wrong: int
) -> None:
    # 2^16 + 5 would be 5 where two bytes hold an id.
    out = tmp_path_factory.mktemp("unknown") / "data"
    ids.insert(place, wrong)
    with pytest.raises(UnknownToken):
        write_shards([TokenizedDocument(np.array(ids, dtype=np.uint32))], tok, out)
    assert not out.exists()


def test_writing_again_replaces_and_no_documents_are_an_empty_set_where_allowed(tok: Tokenizer, tmp_path: Path) -> None:
    before = write_shards(TEXTS, tok, tmp_path / "data").fingerprint
    with pytest.raises(CorpusError, match="there are no documents to write"):
        write_shards([], tok, tmp_path / "data")
    assert Shards.open(tmp_path / "data").fingerprint == before
    ds = write_shards([], tok, tmp_path / "data", allow_empty=True)
    assert (len(ds), ds.num_tokens, list(ds)) == (0, 0, [])
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.parametrize(
    ("documents", "error", "message"),
    [
        (["ok", b"caf\xe9"], CorpusError, "document 1, byte 3: not UTF-8"),
        (
            [TokenizedDocument(np.array([1])), "ok", "a\ud800"],
            CorpusError,
            "document 2 is not Unicode text .*position 1",
        ),
        ((text for text in ["ok"] * 20_000 + ["\ud800"]), CorpusError, "document 20000 is not Unicode"),
        ({"a": "text"}, InvalidArgument, "give a list|Give a list"),
        (
            [TokenizedDocument(np.array([1])), TokenizedDocument(np.array([4000]))],
            UnknownToken,
            r"document 1, token 0: id 4000",
        ),
        ([TokenizedDocument(np.array([5]), np.array([0, 0]))], DataError, "document 0: its mask trains no target"),
        ([TokenizedDocument(np.array([5]), doc_id=1), "text"], DataError, "some documents have a doc_id"),
        ("one text", InvalidArgument, "give a list"),
        (["ok", 3], InvalidArgument, "document 1 is int"),
    ],
)
def test_bad_documents_are_refused_and_nothing_is_written(
    tok: Tokenizer, tmp_path: Path, documents: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        write_shards(documents, tok, tmp_path / "data")  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


def test_what_is_not_unicode_can_be_replaced(tok: Tokenizer, tmp_path: Path) -> None:
    ds = write_shards(["the \ud800cat", b"caf\xe9", "mat"], tok, tmp_path / "data", errors="replace")
    assert [tok.decode(ids) for ids in ds] == ["the \ufffdcat", "caf\ufffd", "mat"]
    with pytest.raises(InvalidArgument, match="errors is 'ignore'"):
        write_shards(["a"], tok, tmp_path / "data", errors="ignore")  # type: ignore[arg-type]


def test_half_characters_in_names_are_typed(tok: Tokenizer, tmp_path: Path) -> None:
    for name in ("source", "license", "end_of_text"):
        with pytest.raises(InvalidArgument, match=f"{name} is .*lone surrogate"):
            write_shards(TEXTS, tok, tmp_path / "data", **{name: "\ud800"})  # type: ignore[arg-type]
    for parents in (["\ud800"], "b3:one", [3]):
        with pytest.raises(InvalidArgument, match="parent"):
            write_shards(TEXTS, tok, tmp_path / "data", parents=parents)  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


def test_an_id_in_a_gap_of_the_vocabulary_is_unknown(tmp_path: Path) -> None:
    ranks = b"".join(b"%s %d\n" % (base64.b64encode(bytes([byte])), byte) for byte in range(256))
    (tmp_path / "ranks.tiktoken").write_bytes(ranks)
    tok = Tokenizer.from_tiktoken(tmp_path / "ranks.tiktoken", special_tokens={"<|endoftext|>": 300}, pattern="gpt2")
    write_shards([TokenizedDocument(np.array([255, 300]))], tok, tmp_path / "data")
    for gap in (256, 299, 301):
        with pytest.raises(UnknownToken, match=f"document 0, token 1: id {gap} is"):
            write_shards([TokenizedDocument(np.array([255, gap]))], tok, tmp_path / "data")


def test_a_fifo_in_place_of_a_file_is_refused_without_waiting(tok: Tokenizer, tmp_path: Path) -> None:
    write_shards(TEXTS, tok, tmp_path / "data")
    for name in ("00000/tokens.npy", "manifest.json"):
        (tmp_path / "data" / name).unlink()
        os.mkfifo(tmp_path / "data" / name)
        for verify in (True, False):
            with pytest.raises(StategptError):
                Shards.open(tmp_path / "data", verify=verify)


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_every_flipped_byte_of_every_file_is_found_at_opening(tok: Tokenizer, tmp_path: Path, at: int) -> None:
    documents = [
        TokenizedDocument(np.array([5, 6, 7]), np.array([0, 1, 1, 1]), 4),
        TokenizedDocument(np.array([8]), doc_id=3),
    ]
    write_shards(documents, tok, tmp_path / "data")
    for path in sorted((tmp_path / "data").rglob("*.*")):
        whole = path.read_bytes()
        for place in range(at, len(whole), 16 if path.suffix == ".npy" else 64):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
            with pytest.raises((CorruptArtifact, ForeignArtifact)):
                Shards.open(tmp_path / "data")
        path.write_bytes(whole)
    Shards.open(tmp_path / "data")


def test_an_interrupted_source_leaves_what_was_there(tok: Tokenizer, tmp_path: Path) -> None:
    before = write_shards(TEXTS, tok, tmp_path / "data").fingerprint

    def interrupted() -> object:
        yield "the cat"
        yield TokenizedDocument(np.array([3]))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(interrupted(), tok, tmp_path / "data")  # type: ignore[arg-type]
    assert Shards.open(tmp_path / "data").fingerprint == before
    assert os.listdir(tmp_path) == ["data"]


def test_settings_out_of_range_are_refused(tok: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="max_tokens is 0"):
        write_shards(TEXTS, tok, tmp_path / "data", max_tokens=0)
    with pytest.raises(InvalidArgument, match=r"threads is 1\.5"):
        write_shards(TEXTS, tok, tmp_path / "data", threads=1.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="end_of_turn"):
        write_shards(TEXTS, tok, tmp_path / "data", end_of_text="<|end_of_turn|>")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_shards(TEXTS, tok, tmp_path / "file" / "data")


def test_a_document_past_the_end_does_not_exist(tok: Tokenizer, tmp_path: Path) -> None:
    ds = write_shards(TEXTS, tok, tmp_path / "data")
    for read in (ds.document, ds.loss_mask, ds.doc_id):
        with pytest.raises(InvalidArgument, match="document 4 does not exist: there are 4"):
            read(4)
        with pytest.raises(InvalidArgument, match="document is -1"):
            read(-1)


def test_damage_is_named_with_file_and_byte(tok: Tokenizer, tmp_path: Path) -> None:
    write_shards(TEXTS, tok, tmp_path / "data")
    tokens = tmp_path / "data" / "00000" / "tokens.npy"
    whole = tokens.read_bytes()

    tokens.write_bytes(whole[:-1])
    with pytest.raises(CorruptArtifact, match=rf"00000/tokens\.npy, byte {len(whole) - 1}"):
        Shards.open(tmp_path / "data")
    tokens.write_bytes(whole[:20] + b"X" + whole[21:])
    with pytest.raises(CorruptArtifact, match=r"00000/tokens\.npy, byte 20: the header"):
        Shards.open(tmp_path / "data")
    tokens.write_bytes(whole[:130] + bytes([whole[130] ^ 1]) + whole[131:])
    with pytest.raises(CorruptArtifact, match=r"00000/tokens\.npy is altered"):
        Shards.open(tmp_path / "data")
    with pytest.raises(CorruptArtifact, match=r"00000/tokens\.npy is altered"):
        Shards.open(tmp_path / "data", verify=False).verify()
    tokens.write_bytes(whole[:128] + b"\xff" * (len(whole) - 128))
    with pytest.raises(CorruptArtifact, match=r"byte 128: token id 65535 is outside the vocabulary"):
        Shards.open(tmp_path / "data", verify=False).document(0)
    tokens.unlink()
    with pytest.raises(CorruptArtifact, match="missing"):
        Shards.open(tmp_path / "data")
    (tmp_path / "data" / "manifest.json").unlink()
    with pytest.raises(CorruptArtifact, match="no manifest"):
        Shards.open(tmp_path / "data")


def test_shards_of_another_tokenizer_are_foreign(tok: Tokenizer, tmp_path: Path) -> None:
    write_shards(TEXTS, tok, tmp_path / "data")
    other = Tokenizer.train(["another corpus"], vocab_size=260, special_tokens=["<|endoftext|>"])
    with pytest.raises(ForeignArtifact, match=other.fingerprint):
        Shards.open(tmp_path / "data", tokenizer=other)
