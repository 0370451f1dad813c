"""Token files of other programs become documents; what is cut off or of another type is an error."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stategpt.data import write_shards
from stategpt.data.sources import token_files, tokens
from stategpt.errors import CorpusError, InvalidArgument, UnknownToken
from stategpt.tokenizer import Tokenizer

END = 50256
DOCUMENTS = st.lists(st.lists(st.integers(0, 300), min_size=1, max_size=9), max_size=6)


def flat(documents: list[list[int]]) -> np.ndarray:
    return np.array([token for document in documents for token in (END, *document)], "<u2")


def llm_c(documents: list[list[int]]) -> bytes:
    ids = flat(documents)
    header = np.zeros(256, "<i4")
    header[:3] = (20240520, 1, len(ids))
    return header.tobytes() + ids.tobytes()


def megatron(path: Path, sequences: list[list[int]], documents: list[int], code: int = 8, kind: str = "<u2") -> None:
    lengths = np.array([len(sequence) for sequence in sequences], "<i4")
    data = np.array([token for sequence in sequences for token in sequence], kind)
    ends = np.cumsum(lengths, dtype="<i8") * data.itemsize
    pointers = np.concatenate([[0], ends[:-1]]).astype("<i8") if sequences else np.empty(0, "<i8")
    head = b"MMIDIDX\0\0" + np.array([1], "<u8").tobytes() + bytes([code])
    head += np.array([len(sequences), len(documents)], "<u8").tobytes()
    path.with_suffix(".bin").write_bytes(data.tobytes())
    path.with_suffix(".idx").write_bytes(
        head + lengths.tobytes() + pointers.tobytes() + np.array(documents, "<i8").tobytes()
    )


def ids(path: Path, **changes: object) -> list[list[int]]:
    return [document.ids.tolist() for document in tokens(path, **changes)]  # type: ignore[arg-type]


@given(DOCUMENTS, st.integers(1, 9))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_documents_are_those_between_ends_of_text(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], block: int
) -> None:
    folder = tmp_path_factory.mktemp("tokens")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_files, "_BLOCK_TOKENS", block)
        (folder / "a.bin").write_bytes(flat(documents).tobytes())
        (folder / "b.bin").write_bytes(llm_c(documents))
        assert ids(folder / "a.bin", end_of_text=END) == documents
        assert ids(folder / "b.bin", end_of_text=END) == documents
    starts = list(range(len(documents) + 1))
    megatron(folder / "c", documents, starts)
    assert ids(folder / "c.bin") == documents
    megatron(folder / "d", [[*document, END] for document in documents], starts, 4, "<i4")
    assert ids(folder / "d.bin", end_of_text=END) == documents


def test_sequences_of_one_document_are_joined(tmp_path: Path) -> None:
    megatron(tmp_path / "a", [[1, 2], [3], [4]], [0, 2, 3])
    assert ids(tmp_path / "a.bin") == [[1, 2, 3], [4]]


@pytest.mark.parametrize("cut", [0, 9, 30, 40, -1])
def test_an_index_that_is_cut_off_is_an_error(tmp_path: Path, cut: int) -> None:
    megatron(tmp_path / "a", [[1, 2], [3]], [0, 1, 2])
    index = tmp_path / "a.idx"
    index.write_bytes(index.read_bytes()[:cut])
    with pytest.raises(CorpusError, match=r"a\.idx"):
        ids(tmp_path / "a.bin")


def test_what_a_file_says_of_itself_must_hold(tmp_path: Path) -> None:
    megatron(tmp_path / "a", [[1, 2], [3]], [0, 1, 2])
    (tmp_path / "a.bin").write_bytes(b"\0\0")
    with pytest.raises(CorpusError, match=r"a\.bin has 2 bytes, and its index speaks of 6"):
        ids(tmp_path / "a.bin")
    megatron(tmp_path / "b", [[-1]], [0, 1], 4, "<i4")
    with pytest.raises(CorpusError, match="sequence 0 has an id that is negative"):
        ids(tmp_path / "b.bin")
    megatron(tmp_path / "c", [[1]], [0, 1], 6)
    with pytest.raises(CorpusError, match="has the code 6"):
        ids(tmp_path / "c.bin")
    megatron(tmp_path / "d", [[1]], [0, 2])
    with pytest.raises(CorpusError, match="not consecutive"):
        ids(tmp_path / "d.bin")
    (tmp_path / "e.bin").write_bytes(llm_c([[1, 2]])[:-2])
    with pytest.raises(CorpusError, match=r"e\.bin has 1,028 bytes, and 1,030 by its header"):
        ids(tmp_path / "e.bin", end_of_text=END)
    (tmp_path / "f.bin").write_bytes(b"\0\0\0")
    with pytest.raises(CorpusError, match="an odd number"):
        ids(tmp_path / "f.bin", end_of_text=END)
    with pytest.raises(CorpusError, match=r"absent\.bin cannot be read"):
        ids(tmp_path / "absent.bin", end_of_text=END)
    with pytest.raises(CorpusError, match=r"not the header of llm\.c"):
        ids(tmp_path / "f.bin", end_of_text=END, format="llm_c")


@pytest.mark.parametrize("name", ["", "/", "a" * 300 + ".bin"])
def test_a_path_that_no_file_has_is_a_typed_error(name: str) -> None:
    with pytest.raises(CorpusError, match="cannot be read"):
        ids(Path(name), end_of_text=END)


def test_the_id_that_ends_documents_must_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.bin").write_bytes(flat([[1, 2, 3]]).tobytes())
    with pytest.raises(InvalidArgument, match="only an id ends documents; give end_of_text"):
        tokens(tmp_path / "a.bin")
    monkeypatch.setattr(token_files, "MAX_DOCUMENT_TOKENS", 2)
    with pytest.raises(CorpusError, match="end_of_text is not the id that ends documents"):
        ids(tmp_path / "a.bin", end_of_text=7)


def test_they_become_shards_of_the_tokenizer_that_made_them(tmp_path: Path) -> None:
    tok = Tokenizer.train(["abc abc"], vocab_size=270, special_tokens=["<|endoftext|>", "<|pad|>"])
    written = [tok.encode(text).tolist() for text in ("abc", "cab")]
    (tmp_path / "a.bin").write_bytes(flat(written).tobytes())
    shards = write_shards(tokens(tmp_path / "a.bin", end_of_text=END), tok, tmp_path / "out")
    assert [tok.decode(document) for document in shards] == ["abc", "cab"]
    (tmp_path / "b.bin").write_bytes(flat([[60_000]]).tobytes())
    with pytest.raises(UnknownToken):
        write_shards(tokens(tmp_path / "b.bin", end_of_text=END), tok, tmp_path / "out")
