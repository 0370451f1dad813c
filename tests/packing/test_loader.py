"""Loaders: resume equals the tail, world size changes nothing, foreign states are refused."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt.data.shard_writing import write_shards
from stategpt.errors import ForeignArtifact, InvalidArgument
from stategpt.packing import TokenizedDocument
from stategpt.packing.layout import Layout
from stategpt.packing.loader import Loader
from stategpt.packing.mixture import Mixture
from stategpt.packing.packed import Batch, Packed, pack
from stategpt.tokenizer.tokenizer import Tokenizer

TOK = Tokenizer.train(["abc"], vocab_size=258, special_tokens=["<|endoftext|>", "<|pad|>"])
VECTORS = ("tokens", "targets", "loss_mask", "doc_ids")
LAYOUT = ("segment_start", "prefix_end", "branch_start", "position")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    rng = np.random.default_rng(0)
    documents = [TokenizedDocument(rng.integers(2, 258, length)) for length in rng.integers(0, 40, 60)]
    return pack(write_shards(documents, TOK, tmp_path_factory.mktemp("loader") / "data"), 16)


@pytest.fixture(scope="module")
def mixture(packed: Packed) -> Mixture:
    return Mixture({"a": (packed, 0.7), "b": (packed, 0.3)}, seed=3)


def assert_equal(one: Batch, other: Batch) -> None:
    assert (one.rows, one.target_count) == (other.rows, other.target_count)
    for name in VECTORS:
        assert np.array_equal(getattr(one, name), getattr(other, name))
    for name in LAYOUT:
        assert np.array_equal(getattr(one.layout, name), getattr(other.layout, name))


def test_batches_hold_the_rows_in_order(packed: Packed) -> None:
    loader = Loader(packed, batch_rows=4)
    seen = []
    for batch in loader:
        assert batch.layout.num_rows == 4
        assert batch.target_count == int(batch.loss_mask.sum())
        batch.layout.validate()
        seen.extend(batch.rows)
        for slot, row in enumerate(batch.rows):
            assert batch.tokens[16 * slot : 16 * slot + 16].tolist() == packed[row].tokens.tolist()
    assert seen == list(range(len(packed)))
    assert loader.state()["row"] == len(packed)


@settings(max_examples=40, deadline=None)
@given(batch_rows=st.integers(1, 9), taken=st.integers(0, 30), start=st.integers(0, 20))
def test_resuming_gives_the_tail(mixture: Mixture, batch_rows: int, taken: int, start: int) -> None:
    loader = Loader(mixture, batch_rows, start=start)
    list(islice(loader, taken))
    state = json.loads(json.dumps(loader.state()))
    assert state["row"] == start + taken * batch_rows
    for one, other in islice(zip(loader, Loader.resume(mixture, state, batch_rows), strict=False), 4):
        assert_equal(one, other)


@settings(max_examples=40, deadline=None)
@given(world=st.integers(1, 6), parts=st.integers(1, 3), start=st.integers(0, 40))
def test_ranks_together_make_the_global_batch(packed: Packed, world: int, parts: int, start: int) -> None:
    whole = list(Loader(packed, world * parts, start=start))
    ranks = [list(Loader(packed, world * parts, rank, world, start)) for rank in range(world)]
    assert {len(batches) for batches in ranks} == {len(whole)}
    for together, *apart in zip(whole, *ranks, strict=True):
        for name in VECTORS:
            assert np.array_equal(getattr(together, name), np.concatenate([getattr(part, name) for part in apart]))
        joined = Layout.concatenate([part.layout for part in apart])
        assert np.array_equal(together.layout.segment_start, joined.segment_start)
        assert together.target_count == sum(part.target_count for part in apart)
        assert list(together.rows) == [row for part in apart for row in part.rows]


def test_a_run_goes_on_with_another_world_size(mixture: Mixture) -> None:
    loaders = [Loader(mixture, 6, rank, 3) for rank in range(3)]
    for loader in loaders:
        next(loader), next(loader)
    states = [loader.state() for loader in loaders]
    assert states == [states[0]] * 3
    now = [next(Loader.resume(mixture, states[0], 6, rank, 2)) for rank in range(2)]
    assert [row for batch in now for row in batch.rows] == list(range(12, 18))


def test_the_last_batch_is_filled_up_with_padding(packed: Packed) -> None:
    batches = list(Loader(packed, batch_rows=len(packed) - 1, world=1))
    assert [len(batch.rows) for batch in batches] == [len(packed) - 1, 1]
    assert len(batches[1].tokens) == len(batches[0].tokens)
    assert not batches[1].loss_mask[16:].any()
    total = sum(batch.target_count for batch in batches)
    assert total == packed.num_tokens


def test_stop_ends_earlier_and_an_endless_order_goes_on(mixture: Mixture) -> None:
    assert [batch.rows for batch in Loader(mixture, 4, start=2, stop=7)] == [range(2, 6), range(6, 7)]
    assert list(Loader(mixture, 4, start=9, stop=7)) == []
    assert len(list(islice(Loader(mixture, 50), 20))) == 20


def test_a_state_of_another_order_is_refused(packed: Packed, mixture: Mixture) -> None:
    state = Loader(mixture, 4).state()
    other = Mixture({"a": (packed, 0.6), "b": (packed, 0.4)}, seed=3)
    with pytest.raises(ForeignArtifact, match=other.fingerprint):
        Loader.resume(other, state, 4)
    with pytest.raises(ForeignArtifact, match=r"lacks \['fingerprint'\]"):
        Loader.resume(mixture, {"row": 3}, 4)


def test_a_state_beyond_the_end_is_refused_and_one_at_the_end_is_not(packed: Packed) -> None:
    state = Loader(packed, 4).state()
    with pytest.raises(InvalidArgument, match=f"start at row {len(packed) + 1}, but there are {len(packed)} rows"):
        Loader.resume(packed, {**state, "row": len(packed) + 1}, 4)
    assert list(Loader.resume(packed, {**state, "row": len(packed)}, 4)) == []
    for row in (-1, 1.5, None, 2**63):
        with pytest.raises(InvalidArgument, match="start is"):
            Loader.resume(packed, {**state, "row": row}, 4)
    with pytest.raises(InvalidArgument, match=r"state is of type list.* Pass what Loader.state"):
        Loader.resume(packed, [1], 4)  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(batch_rows=st.integers(1, 9), start=st.integers(0, 20), stop=st.integers(0, 20))
def test_the_length_is_the_batches_still_to_come(packed: Packed, batch_rows: int, start: int, stop: int) -> None:
    loader = Loader(packed, batch_rows, start=start, stop=stop)
    lengths = [len(loader)]
    for _ in loader:
        lengths.append(len(loader))
    assert lengths == list(range(len(lengths) - 1, -1, -1))
    assert loader


def test_an_endless_loader_has_no_length(mixture: Mixture) -> None:
    loader = Loader(mixture, 4)
    with pytest.raises(TypeError, match="Pass stop"):
        len(loader)
    assert loader


def test_bad_settings_say_what_to_do(packed: Packed) -> None:
    with pytest.raises(InvalidArgument, match="batch_rows is 4, not a multiple of world = 3"):
        Loader(packed, 4, world=3)
    with pytest.raises(InvalidArgument, match="rank is 2; with world = 2"):
        Loader(packed, 4, rank=2, world=2)
    with pytest.raises(InvalidArgument, match="batch_rows is 0"):
        Loader(packed, 0)
    with pytest.raises(InvalidArgument, match="start is -1"):
        Loader(packed, 4, start=-1)
    for wrong in ("folder", [packed], None):
        with pytest.raises(InvalidArgument, match=r"rows is of type .* Pass what `sg.pack`"):
            Loader(wrong, 4)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=f"there are {len(packed)} rows"):
        Loader(packed, 4, stop=len(packed) + 1)


def test_a_batch_that_failed_is_asked_for_again(tmp_path: Path) -> None:
    ds = write_shards([TokenizedDocument(np.arange(2, 30))], TOK, tmp_path / "data")
    loader = Loader(pack(ds, 8, strategy="concat"), 2)
    tokens = tmp_path / "data" / "00000" / "tokens.npy"
    tokens.rename(tmp_path / "aside")
    with pytest.raises(Exception, match="missing"):
        next(loader)
    (tmp_path / "aside").rename(tokens)
    assert next(loader).rows == range(2)
