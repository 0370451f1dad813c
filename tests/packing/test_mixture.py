"""Mixtures: shares in tokens, epochs, independence of the order of names, limits."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt.data.shard_writing import write_shards
from stategpt.errors import DataError, ForeignArtifact, InvalidArgument
from stategpt.packing import TokenizedDocument
from stategpt.packing.mixture import Mixture
from stategpt.packing.packed import NO_DOCUMENT, Packed, pack
from stategpt.tokenizer.tokenizer import Tokenizer

TOK = Tokenizer.train(["abc"], vocab_size=258, special_tokens=["<|endoftext|>", "<|pad|>"])
SHARES = {"short": 0.3, "long": 0.6, "odd": 0.1}


def packed_of(folder: Path, lengths: list[int], row_tokens: int = 16, tok: Tokenizer = TOK) -> Packed:
    documents = [TokenizedDocument(np.full(length, 7, dtype=np.uint32)) for length in lengths]
    return pack(write_shards(documents, tok, folder, allow_empty=True), row_tokens)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Packed]:
    """Rows of "long" are nearly full; those of "odd" hold one segment of 11 tokens and 5 of padding."""
    folder = tmp_path_factory.mktemp("sources")
    lengths = {"short": [3] * 150, "long": [64] * 20, "odd": [10] * 40}
    return {name: packed_of(folder / name, of) for name, of in lengths.items()}


def mixture_of(sources: dict[str, Packed], seed: int = 0, max_epochs: float | None = None) -> Mixture:
    return Mixture({name: (rows, SHARES[name]) for name, rows in sources.items()}, seed, max_epochs)


@settings(max_examples=20, deadline=None)
@given(shares=st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3), blocks=st.integers(1, 5))
def test_drawn_tokens_have_the_shares_asked_for(sources: dict[str, Packed], shares: list[float], blocks: int) -> None:
    mixture = Mixture(dict(zip(sources, zip(sources.values(), shares, strict=True), strict=True)))
    rows = blocks * mixture.block_rows
    report = mixture.report(rows)
    for name, share in zip(sources, shares, strict=True):
        drawn = report["drawn"][name]
        packed = mixture.sources[name]
        assert report["planned"][name] == pytest.approx(share / sum(shares))
        # At a block's end a source is at most one row off; in its unfinished epoch, rows may be fuller than the mean.
        used = np.array([(row.doc_ids != NO_DOCUMENT).sum() for row in packed])
        unevenness = np.abs(used - used.mean()).sum() / 2
        in_all = sum(d["tokens"] for d in report["drawn"].values())
        off = len(sources) * (packed.row_tokens + unevenness)
        assert abs(drawn["tokens"] - share / sum(shares) * in_all) <= off
        assert drawn["epochs"] == pytest.approx(drawn["rows"] / packed.num_rows)


def test_the_report_counts_what_the_rows_hold(sources: dict[str, Packed]) -> None:
    mixture = mixture_of(sources)
    counted = dict.fromkeys(SHARES, 0)
    for index in range(200):
        name, _ = mixture.source_of(index)
        counted[name] += int((mixture[index].doc_ids != NO_DOCUMENT).sum())
    report = mixture.report(200)
    assert {name: drawn["tokens"] for name, drawn in report["drawn"].items()} == counted
    assert sum(drawn["share"] for drawn in report["drawn"].values()) == pytest.approx(1)


def test_every_prefix_is_within_two_rows_of_its_share(sources: dict[str, Packed]) -> None:
    mixture = mixture_of(sources)
    # Shares of rows: shares of tokens over tokens per row.
    weights = {name: SHARES[name] * rows.num_rows / rows.num_tokens for name, rows in mixture.sources.items()}
    counts = dict.fromkeys(SHARES, 0)
    for index in range(3 * mixture.block_rows):
        counts[mixture.source_of(index)[0]] += 1
        allowed = 1 if (index + 1) % mixture.block_rows == 0 else 2
        for name, weight in weights.items():
            assert abs(counts[name] - (index + 1) * weight / sum(weights.values())) <= allowed + 1e-6


@settings(max_examples=15, deadline=None)
@given(shares=st.tuples(*[st.integers(1, 9)] * 3), seed=st.integers(0, 2**63 - 1))
def test_an_epoch_has_every_row_once_and_its_own_order(
    sources: dict[str, Packed], shares: tuple[int, int, int], seed: int
) -> None:
    mixture = Mixture({name: (sources[name], share) for name, share in zip(SHARES, shares, strict=True)}, seed)
    documents: dict[tuple[str, int], list[int]] = {}
    for index in range(1500):
        name, numbers = mixture.documents_of(index)
        assert name == mixture.source_of(index)[0]
        documents.setdefault(mixture.source_of(index), []).extend(numbers)
    for (name, epoch), numbers in documents.items():
        if name != "long":  # no document of the others is split
            whole = list(range(len(mixture.sources[name].shards)))
            is_whole = (name, epoch + 1) in documents
            assert sorted(numbers) == whole if is_whole else set(numbers) < set(whole) or sorted(numbers) == whole
            assert len(numbers) == len(set(numbers)), "no row comes twice in an epoch"
            assert not is_whole or numbers != documents[name, epoch + 1][: len(numbers)]


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(list(SHARES)), seed=st.integers(0, 2**62))
def test_the_order_of_names_does_not_matter_and_the_seed_does(
    sources: dict[str, Packed], order: list[str], seed: int
) -> None:
    one, turned = mixture_of(sources, seed), mixture_of({name: sources[name] for name in order}, seed)
    other = mixture_of(sources, seed + 1)
    assert one.fingerprint == turned.fingerprint != other.fingerprint
    drawn = [one.documents_of(index) for index in range(300)]
    assert [turned.documents_of(index) for index in range(300)] == drawn
    assert [other.documents_of(index) for index in range(300)] != drawn


def test_a_limit_on_epochs_ends_the_order(sources: dict[str, Packed]) -> None:
    mixture = mixture_of(sources, max_epochs=1.5)
    end = mixture.num_rows
    assert end is not None
    assert max(drawn["epochs"] for drawn in mixture.report(end)["drawn"].values()) <= 1.5
    mixture[end - 1]
    with pytest.raises(DataError, match=rf"row {end} falls in epoch 2 of source .*max_epochs = 1.5"):
        mixture[end]
    assert mixture_of(sources).num_rows is None
    assert mixture_of(sources).fingerprint == mixture.fingerprint


def test_far_rows_are_as_near_as_the_first(sources: dict[str, Packed]) -> None:
    assert len(mixture_of(sources)[10**15].tokens) == 16


def test_bad_mixtures_say_what_to_do(sources: dict[str, Packed], tmp_path: Path) -> None:
    rows = sources["short"]
    with pytest.raises(InvalidArgument, match="at least one source"):
        Mixture({})
    for share in (0.0, -1.0, float("nan"), 1e-9):
        with pytest.raises(InvalidArgument, match=r"source [\"']b[\"']"):
            Mixture({"a": (rows, 1.0), "b": (rows, share)})
    with pytest.raises(InvalidArgument, match=r"give \(packed rows, share\)"):
        Mixture({"a": rows})  # type: ignore[dict-item]
    with pytest.raises(InvalidArgument, match="pack them alike"):
        Mixture({"a": (rows, 1.0), "b": (packed_of(tmp_path / "b", [3], 8), 1.0)})
    with pytest.raises(DataError, match='source "b" has no rows'):
        Mixture({"a": (rows, 1.0), "b": (packed_of(tmp_path / "empty", []), 1.0)})
    with pytest.raises(InvalidArgument, match="max_epochs is 0"):
        Mixture({"a": (rows, 1.0)}, max_epochs=0)
    with pytest.raises(InvalidArgument, match="seed is -1"):
        Mixture({"a": (rows, 1.0)}, seed=-1)
    other = Tokenizer.train(["xyz"], vocab_size=259, special_tokens=["<|endoftext|>", "<|pad|>"])
    with pytest.raises(ForeignArtifact, match="tokenizer"):
        Mixture({"a": (rows, 1.0), "b": (packed_of(tmp_path / "other", [3], 16, other), 1.0)})


def test_tiny_and_huge_shares_are_shares_or_typed(sources: dict[str, Packed]) -> None:
    one, other = sources["short"], sources["long"]
    for share in (5e-324, 1e-323, 1e-300, 1.0, 1e308):
        mixture = Mixture({"a": (one, share), "b": (one, share)})
        assert mixture.report(4)["planned"] == {"a": 0.5, "b": 0.5}
        assert [mixture.source_of(row)[0] for row in range(4)].count("a") == 2
    for share in (5e-324, 1e-300):
        with pytest.raises(InvalidArgument, match="fewer than one row in 2\\^20") as raised:
            Mixture({"a": (one, 1.0), "b": (other, share)})
        assert len(str(raised.value)) < 200
    for share in (float("nan"), float("inf"), None, "0.5", True, 10**400):
        with pytest.raises(InvalidArgument, match="share of source 'b' is"):
            Mixture({"a": (one, 1.0), "b": (other, share)})  # type: ignore[dict-item]
        if share is not None:
            with pytest.raises(InvalidArgument, match="max_epochs is"):
                Mixture({"a": (one, 1.0)}, max_epochs=share)  # type: ignore[arg-type]


def test_sources_of_another_shape_are_refused(sources: dict[str, Packed]) -> None:
    for wrong in ([sources["short"]], sources["short"], "short", None):
        with pytest.raises(InvalidArgument, match=r"Give \{name: \(packed rows, share\)\}"):
            Mixture(wrong)  # type: ignore[arg-type]
    for name in ("\ud800", 3):
        with pytest.raises(InvalidArgument, match="a source's name is"):
            Mixture({name: (sources["short"], 1.0)})  # type: ignore[dict-item]


def test_epochs_that_allow_no_row_are_refused_and_not_silent(sources: dict[str, Packed]) -> None:
    with pytest.raises(InvalidArgument, match=r"max_epochs is 0\.01: it allows not even the first row"):
        mixture_of(sources, max_epochs=0.01)


def test_a_source_of_which_all_was_rejected_says_so(tmp_path: Path) -> None:
    long = write_shards([TokenizedDocument(np.full(99, 7))] * 3, TOK, tmp_path / "long")
    rejected = pack(long, 16, too_long="reject")
    with pytest.raises(DataError, match="all its 3 documents are longer than a row and were rejected"):
        Mixture({"long": (rejected, 1.0)})
