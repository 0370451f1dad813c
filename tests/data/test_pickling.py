"""Shards and rows go to other processes: pickled, copied, in spawned workers, the rows are the same."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stategpt.data.rankings import Rankings
from stategpt.data.shard_writing import write_shards
from stategpt.errors import CorruptArtifact, ForeignArtifact
from stategpt.packing import TokenizedDocument
from stategpt.packing.loader import Loader
from stategpt.packing.mixture import Mixture
from stategpt.packing.packed import Batch, Packed, pack
from stategpt.packing.shards import Shards
from stategpt.tokenizer.tokenizer import Tokenizer

TOK = Tokenizer.train(["abc"], vocab_size=258, special_tokens=["<|endoftext|>", "<|pad|>"])


def written(folder: Path, seed: int = 0) -> Shards:
    rng = np.random.default_rng(seed)
    return write_shards(
        [TokenizedDocument(rng.integers(2, 258, length)) for length in rng.integers(0, 40, 60)], TOK, folder
    )


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return pack(written(tmp_path_factory.mktemp("pickling") / "data"), 16, seed=3)


@pytest.fixture(scope="module")
def mixture(packed: Packed) -> Mixture:
    concat = pack(packed.shards, 16, strategy="concat", isolate_documents=False)
    return Mixture({"a": (packed, 0.7), "b": (concat, 0.3)}, seed=3, max_epochs=1.5)


def copies(value: Any) -> list[Any]:
    return [pickle.loads(pickle.dumps(value, protocol)) for protocol in (2, 5)] + [copy.deepcopy(value)]


def assert_equal(one: Batch, other: Batch) -> None:
    assert one.rows == other.rows
    assert np.array_equal(one.tokens, other.tokens)
    assert np.array_equal(one.layout.segment_start, other.layout.segment_start)


def test_copies_have_the_same_identity_and_rows(packed: Packed, mixture: Mixture) -> None:
    for shards in copies(packed.shards):
        assert shards.fingerprint == packed.shards.fingerprint
        assert np.array_equal(shards.document(7), packed.shards.document(7))
    for rows in (packed, mixture, pack(packed.shards, 12, too_long="reject")):
        for other in copies(rows):
            assert (other.fingerprint, other.num_rows) == (rows.fingerprint, rows.num_rows)
            assert_equal(other.batch(1, 3), rows.batch(1, 3))


def test_a_loader_goes_on_where_it_was_pickled(mixture: Mixture) -> None:
    loader = Loader(mixture, 4, rank=1, world=2, start=2, stop=21)
    next(loader)
    others = copies(loader)
    rest = list(loader)
    for other in others:
        again = list(other)
        assert len(again) == len(rest) > 2
        for one, two in zip(again, rest, strict=True):
            assert_equal(one, two)
    assert list(copies(loader)[0]) == []


def test_data_classes_are_pickled(packed: Packed) -> None:
    completions = [{"text": "yes", "rank": 1}, {"text": "no", "rank": 2}]
    rankings = Rankings.read([{"id": "1", "prompt": "Is it?", "completions": completions}])
    assert copies(rankings)[0].groups[0].pairs.tolist() == [[0, 1]]
    assert copies(packed[0])[1].tokens.tolist() == packed[0].tokens.tolist()
    assert copies(TokenizedDocument(np.array([1]), doc_id=3))[0].doc_id == 3


def test_another_data_set_at_the_path_is_refused(tmp_path: Path) -> None:
    pickled = pickle.dumps(pack(written(tmp_path / "data"), 16))
    written(tmp_path / "data", seed=1)
    with pytest.raises(ForeignArtifact, match="the one that was pickled"):
        pickle.loads(pickled)
    (tmp_path / "data" / "manifest.json").unlink()
    with pytest.raises(CorruptArtifact, match="no manifest"):
        pickle.loads(pickled)


def sums(rows: Packed | Mixture) -> list[int]:
    return [int(rows[row].tokens.sum()) for row in range(5)]


def test_a_spawned_worker_reads_the_same_rows(packed: Packed, mixture: Mixture) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(sums, [packed, mixture]) == [sums(packed), sums(mixture)]
