"""A batch as tensors: the types a model takes, the same numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from stategpt.data import write_shards
from stategpt.errors import MissingExtra
from stategpt.packing import Batch, TokenizedDocument, pack
from stategpt.tokenizer import Tokenizer


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    tok = Tokenizer.train(["abc"], vocab_size=258, special_tokens=["<|endoftext|>", "<|pad|>"])
    mask = np.array([0, 1, 1, 0])
    return pack(write_shards([TokenizedDocument(np.array([5, 6, 7]), mask)] * 5, tok, tmp_path / "data"), 10).batch(
        0, 2, 3
    )


def test_ids_are_int64_and_the_layout_is_one_that_models_take(batch: Batch) -> None:
    torch = pytest.importorskip("torch")
    from stategpt.ops import TensorLayout

    tensors = batch.torch("cpu")
    assert (tensors.tokens.dtype, tensors.targets.dtype, tensors.loss_mask.dtype) == (
        torch.int64, torch.int64, torch.bool,
    )  # fmt: skip
    for name in ("tokens", "targets", "loss_mask"):
        assert getattr(tensors, name).tolist() == getattr(batch, name).tolist()
    assert isinstance(tensors.layout, TensorLayout)
    assert tensors.layout.segment_start.tolist() == batch.layout.segment_start.tolist()
    assert tensors.target_count == batch.target_count == int(tensors.loss_mask.sum())
    assert len(repr(tensors)) < 200


def test_without_torch_the_error_says_what_to_install(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"Batch\.torch needs torch"):
        batch.torch()
