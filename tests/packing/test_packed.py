"""Packed rows against a slow reference packer: conservation, borders, masks, padding, order."""

import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt import _native
from stategpt.data.shard_writing import write_shards
from stategpt.errors import CorruptArtifact, InvalidArgument
from stategpt.packing import TokenizedDocument
from stategpt.packing.layout import Layout
from stategpt.packing.packed import NO_DOCUMENT, Packed, Row, pack
from stategpt.packing.shards import Shards
from stategpt.tokenizer.tokenizer import Tokenizer

TOK = Tokenizer.train(["abc"], vocab_size=258, special_tokens=["<|endoftext|>", "<|pad|>"])
EOS, PAD = 0, 1

Triple = tuple[int, int, bool]


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Data sets of one test module go into one folder that pytest cleans."""
    tempfile.tempdir = str(tmp_path_factory.mktemp("packing"))
    yield
    tempfile.tempdir = None


def shards_of(lengths: list[int], masked: bool = False, max_tokens: int = 97) -> Shards:
    """Documents of the given lengths; every third is half masked if `masked`."""
    rng = np.random.default_rng(len(lengths))
    documents = []
    for number, length in enumerate(lengths):
        mask = (np.arange(length + 1) >= length // 2) if masked and number % 3 == 0 else None
        documents.append(TokenizedDocument(rng.integers(2, 258, length), mask))
    return write_shards(documents, TOK, Path(tempfile.mkdtemp()) / "data", max_tokens=max_tokens, allow_empty=True)


def segment(shards: Shards, number: int) -> list[Triple]:
    """(input, target, trained) of EOS d1 ... dn -> d1 ... dn EOS, as the design has it."""
    ids = shards.document(number).tolist()
    return list(zip([EOS, *ids], [*ids, EOS], shards.loss_mask(number).tolist(), strict=True))


def reference_pieces(shards: Shards, row_tokens: int) -> list[list[Triple]]:
    """Segments cut where they exceed a row."""
    whole = [segment(shards, number) for number in range(len(shards))]
    return [triples[at : at + row_tokens] for triples in whole for at in range(0, len(triples), row_tokens)]


def reference_best_fit(lengths: list[int], row_tokens: int) -> list[int]:
    """Tokens used in each row by best-fit decreasing, piece by piece."""
    rows: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [row for row in range(len(rows)) if rows[row] + length <= row_tokens]
        if fitting:
            rows[max(fitting, key=lambda row: rows[row])] += length
        else:
            rows.append(length)
    return sorted(rows)


def reference_concat(shards: Shards, row_tokens: int) -> Counter[tuple[Triple, ...]]:
    """All segments end to end, cut every `row_tokens`."""
    stream = [triple for number in range(len(shards)) for triple in segment(shards, number)]
    return Counter(tuple(stream[at : at + row_tokens]) for at in range(0, len(stream), row_tokens))


def used(row: Row) -> int:
    return int((row.doc_ids != NO_DOCUMENT).sum())


def triples(row: Row) -> list[Triple]:
    kept = slice(used(row))
    return list(zip(row.tokens[kept].tolist(), row.targets[kept].tolist(), row.loss_mask[kept].tolist(), strict=True))


def segments_of(row: Row) -> Iterator[slice]:
    starts = [*np.unique(row.layout.segment_start[: used(row)]).tolist(), used(row)]
    return (slice(a, b) for a, b in itertools.pairwise(starts))


corpora = st.lists(st.integers(0, 40), min_size=1, max_size=25)
row_lengths = st.integers(2, 50)


@settings(max_examples=40, deadline=None)
@given(corpora, row_lengths, st.booleans())
def test_best_fit_holds_every_piece_once_and_fills_rows_like_the_reference(
    lengths: list[int], row_tokens: int, masked: bool
) -> None:
    shards = shards_of(lengths, masked)
    packed = pack(shards, row_tokens)
    rows = list(packed)
    found = Counter(tuple(triples(row)[piece]) for row in rows for piece in segments_of(row))
    pieces = reference_pieces(shards, row_tokens)
    assert found == Counter(tuple(piece) for piece in pieces)
    assert sorted(used(row) for row in rows) == reference_best_fit([len(piece) for piece in pieces], row_tokens)
    assert packed.num_tokens == sum(len(piece) for piece in pieces) == shards.num_tokens + len(shards)


def fewest_rows(lengths: list[int], row_tokens: int) -> int:
    """The optimum: each piece is tried in every row, and in one new row, longest first."""
    best = len(lengths)

    def place(left: list[int], rooms: list[int]) -> None:
        nonlocal best
        if len(rooms) >= best:
            return
        if not left:
            best = len(rooms)
            return
        for row in {room: number for number, room in enumerate(rooms) if room >= left[0]}.values():
            place(left[1:], [room - left[0] * (number == row) for number, room in enumerate(rooms)])
        place(left[1:], [*rooms, row_tokens - left[0]])

    place(sorted(lengths, reverse=True), [])
    return best


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=7), st.integers(2, 24))
def test_rows_are_near_the_fewest_that_hold_the_pieces(lengths: list[int], row_tokens: int) -> None:
    shards = shards_of(lengths)
    pieces = [len(piece) for piece in reference_pieces(shards, row_tokens)]
    # Best-fit decreasing needs at most 11/9 of the fewest rows, and one.
    rows, fewest = len(pack(shards, row_tokens)), fewest_rows(pieces, row_tokens)
    assert -(-sum(pieces) // row_tokens) <= fewest <= rows <= 11 / 9 * fewest + 1


@settings(max_examples=40, deadline=None)
@given(corpora, row_lengths, st.booleans())
def test_concat_is_the_reference_stream_cut_into_rows(lengths: list[int], row_tokens: int, masked: bool) -> None:
    shards = shards_of(lengths, masked)
    packed = pack(shards, row_tokens, strategy="concat", isolate_documents=False)
    assert Counter(tuple(triples(row)) for row in packed) == reference_concat(shards, row_tokens)


@settings(max_examples=40, deadline=None)
@given(corpora, row_lengths, st.sampled_from(["best_fit", "concat"]), st.booleans())
def test_layouts_are_valid_and_padding_ends_the_row(
    lengths: list[int], row_tokens: int, strategy: str, isolate: bool
) -> None:
    packed = pack(shards_of(lengths), row_tokens, strategy, isolate)  # type: ignore[arg-type]
    for row in packed:
        assert len(row.tokens) == row_tokens
        row.layout.validate()
        parts = [piece.stop - piece.start for piece in segments_of(row)]
        assert isolate or len(parts) == 1
        expected = Layout.packed([parts], row_tokens)
        for field in ("segment_start", "prefix_end", "branch_start", "position"):
            assert np.array_equal(getattr(row.layout, field), getattr(expected, field))
        padding = slice(used(row), None)
        assert (row.tokens[padding] == PAD).all()
        assert not row.loss_mask[padding].any()


@settings(max_examples=30, deadline=None)
@given(corpora, row_lengths)
def test_no_target_crosses_a_document(lengths: list[int], row_tokens: int) -> None:
    shards = shards_of(lengths)
    for row in pack(shards, row_tokens, strategy="concat"):
        for piece in segments_of(row):
            document = int(row.doc_ids[piece.start])
            assert (row.doc_ids[piece] == document).all()
            whole = segment(shards, document)
            run = triples(row)[piece]
            assert run in [whole[at : at + len(run)] for at in range(len(whole))]


@settings(max_examples=30, deadline=None)
@given(corpora, row_lengths)
def test_rejected_documents_are_counted_and_the_rest_is_whole(lengths: list[int], row_tokens: int) -> None:
    shards = shards_of(lengths)
    packed = pack(shards, row_tokens, too_long="reject")
    kept = [number for number, length in enumerate(lengths) if length + 1 <= row_tokens]
    found = Counter(tuple(triples(row)[piece]) for row in packed for piece in segments_of(row))
    assert found == Counter(tuple(segment(shards, number)) for number in kept)
    assert packed.rejected.documents == len(lengths) - len(kept)
    assert packed.rejected.tokens == sum(lengths) - sum(lengths[number] for number in kept)
    assert f"row of {row_tokens}" in packed.rejected.reason


@settings(max_examples=30, deadline=None)
@given(corpora, row_lengths, st.sampled_from(["best_fit", "concat"]))
def test_a_batch_is_its_rows_end_to_end(lengths: list[int], row_tokens: int, strategy: str) -> None:
    packed = pack(shards_of(lengths), row_tokens, strategy)  # type: ignore[arg-type]
    batch = packed.batch(0, len(packed), len(packed) + 1)
    rows = list(packed)
    assert batch.rows == range(len(packed))
    assert batch.tokens.tolist() == np.concatenate([row.tokens for row in rows]).tolist() + [PAD] * row_tokens
    together = Layout.concatenate([row.layout for row in rows] + [Layout.packed([[]], row_tokens)])
    assert np.array_equal(batch.layout.segment_start, together.segment_start)
    assert np.array_equal(batch.layout.position, together.position)
    assert batch.target_count == int(batch.loss_mask.sum()) == sum(int(row.loss_mask.sum()) for row in rows)
    for index in range(len(packed)):
        assert packed.documents_of(index) == list(dict.fromkeys(packed.documents_of(index)))
        assert set(packed.documents_of(index)) == set(rows[index].doc_ids.tolist()) - {NO_DOCUMENT}


@pytest.mark.parametrize(("tokens", "rows"), [(0, 1), (6, 1), (7, 1), (8, 2), (9, 2), (15, 2), (16, 3)])
def test_lengths_around_a_row_of_eight(tokens: int, rows: int) -> None:
    # A segment is one token longer than its document: 7 tokens just fit in a row of 8.
    shards = shards_of([tokens])
    assert len(pack(shards, 8)) == len(pack(shards, 8, strategy="concat")) == rows


def test_a_split_document_goes_on_without_a_new_end_of_text() -> None:
    shards = shards_of([10])
    pieces = sorted((triples(row) for row in pack(shards, 4)), key=len, reverse=True)
    assert sum(token == EOS for piece in pieces for token, _, _ in piece) == 1
    assert sum(target == EOS for piece in pieces for _, target, _ in piece) == 1
    assert [len(piece) for piece in pieces] == [4, 4, 3]


def rows_in_order(packed: Packed) -> list[list[int]]:
    return [row.tokens.tolist() for row in packed]


def test_the_seed_orders_rows_and_nothing_else_does() -> None:
    shards = shards_of([5, 9, 14, 3, 8, 8, 8, 30, 2, 2] * 5)
    same = rows_in_order(pack(shards, 16, seed=1))
    assert rows_in_order(pack(Shards.open(shards.path), 16, seed=1)) == same
    assert pack(shards, 16, seed=1).fingerprint == pack(shards, 16, seed=1).fingerprint
    other = pack(shards, 16, seed=2)
    assert rows_in_order(other) != same
    assert len(other) == len(same)
    assert other.fingerprint != pack(shards, 16, seed=1).fingerprint


def test_best_fit_wastes_little() -> None:
    lengths = np.random.default_rng(0).lognormal(3.5, 1.0, 3000).astype(int).tolist()
    packed = pack(shards_of(lengths, max_tokens=2**20), 128)
    assert packed.fill > 0.999


def test_rows_planned_from_lengths_alone_are_those_of_shards() -> None:
    lengths = [0, 1, 7, 8, 9, 40, 5000, 3, 3]
    for row_tokens in (8, 50):
        packed = pack(shards_of(lengths), row_tokens)
        assert _native.best_fit_rows(np.array(lengths, np.uint32), row_tokens) == len(packed)
    with pytest.raises(InvalidArgument, match="row_tokens is 1; a row holds 2"):
        _native.best_fit_rows(np.array(lengths, np.uint32), 1)


def test_without_documents_there_are_no_rows() -> None:
    packed = pack(shards_of([]), 8)
    assert (len(packed), list(packed), packed.fill) == (0, [], 0.0)


def test_bad_settings_and_rows_say_what_to_do() -> None:
    shards = shards_of([3])
    for row_tokens in (1, -1, 2**31, 2.5):
        with pytest.raises(InvalidArgument, match="row_tokens is"):
            pack(shards, row_tokens)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="strategy is 'greedy'; choose one of best_fit, concat"):
        pack(shards, 8, strategy="greedy")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="too_long is 'drop'"):
        pack(shards, 8, too_long="drop")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="concat cuts documents"):
        pack(shards, 8, strategy="concat", too_long="reject")
    packed = pack(shards, 8)
    with pytest.raises(InvalidArgument, match="row 1 does not exist: there are 1"):
        packed[1]
    with pytest.raises(InvalidArgument, match="row is -1"):
        packed[-1]
    with pytest.raises(InvalidArgument, match="2 rows do not fit"):
        packed.batch(0, 2, 1)
    with pytest.raises(InvalidArgument, match="use smaller batches"):
        packed.batch(0, 0, 2**40)


def test_offsets_that_do_not_match_the_manifest_are_found_when_planning() -> None:
    shards = shards_of([3, 5])
    path = shards.path / "00000" / "offsets.npy"
    data = bytearray(path.read_bytes())
    data[128 + 8] = 4  # documents of 4 and 4 tokens, where the manifest has 3 and 5
    path.write_bytes(data)
    with pytest.raises(CorruptArtifact, match="histogram"):
        pack(Shards.open(shards.path, verify=False), 8)
    packed = pack(Shards.open(shards.path, verify=False), 8, strategy="concat")
    assert len(packed) == 2


def test_offsets_that_change_after_planning_are_found_and_read_nothing_wrong() -> None:
    shards = shards_of([3, 5, 9])
    packed = pack(shards, 8)
    path = shards.path / "00000" / "offsets.npy"
    data = bytearray(path.read_bytes())
    data[128 + 8] = 2
    path.write_bytes(data)
    with pytest.raises(CorruptArtifact, match="tokens when rows were planned"):
        packed.batch(0, len(packed))


def test_what_is_not_opened_shards_is_refused_with_what_to_do() -> None:
    for wrong in ("folder", Path("folder"), None, [1]):
        with pytest.raises(InvalidArgument, match=r"shards is of type .* Open the folder with `sg.Shards.open"):
            pack(wrong, 8)  # type: ignore[arg-type]
    shards = shards_of([3])
    with pytest.raises(InvalidArgument, match="isolate_documents is of type str"):
        pack(shards, 8, isolate_documents="no")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="strategy is 3"):
        pack(shards, 8, strategy=3)  # type: ignore[arg-type]


def test_the_files_may_vanish_and_the_error_is_typed() -> None:
    shards = shards_of([3, 5])
    packed = pack(shards, 8, strategy="concat")
    (shards.path / "00000" / "tokens.npy").unlink()
    with pytest.raises(CorruptArtifact, match=r"tokens\.npy.*missing"):
        packed[0]
