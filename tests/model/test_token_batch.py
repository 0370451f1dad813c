"""Rows of token ids on a device: vectors laid end to end, and padded sequences."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")


from stategpt.data import write_shards  # noqa: E402
from stategpt.model.token_batch import TokenBatch, lay_out_rows, pad_sequences  # noqa: E402
from stategpt.packing import TokenizedDocument, pack  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402

PAD = 1


def test_vectors_are_laid_end_to_end_and_the_rest_of_a_row_is_filled() -> None:
    rows = [[np.array([3, 4], dtype=np.uint32), np.array([5], dtype=np.uint16)], [], [np.array([6])]]
    found = lay_out_rows(rows, 4, PAD)
    assert found.dtype == np.int64
    assert found.tolist() == [[3, 4, 5, PAD], [PAD] * 4, [6, PAD, PAD, PAD]]


def test_padded_sequences_on_a_device_are_the_stream_and_its_layout() -> None:
    padded = pad_sequences([np.array([3, 4, 5], dtype=np.uint32), np.array([6])], PAD)
    tokens_N, layout = padded.tensors(torch.device("cpu"))
    assert tokens_N.tolist() == [3, 4, 5, *[PAD] * 5, 6, *[PAD] * 7]
    assert tokens_N.dtype == torch.int64
    assert layout.segment_start.tolist() == padded.layout.segment_start.tolist()
    assert padded.starts().tolist() == [0, 8]


def test_a_batch_of_the_loader_becomes_what_a_model_takes(tmp_path: Path) -> None:
    tok = Tokenizer.train(["abc"], vocab_size=258, special_tokens=["<|endoftext|>", "<|pad|>"])
    documents = [TokenizedDocument(np.array([5, 6, 7]), np.array([0, 1, 1, 0]))] * 5
    batch = pack(write_shards(documents, tok, tmp_path / "data"), 10).batch(0, 2, 3)
    made = TokenBatch.of(batch, "cpu")
    assert made.tokens_N.dtype == made.targets_M.dtype == made.target_index_M.dtype == torch.int64
    assert made.tokens_N.tolist() == batch.tokens.tolist()
    assert made.target_index_M.tolist() == np.flatnonzero(batch.loss_mask).tolist()
    assert made.targets_M.tolist() == batch.targets[batch.loss_mask].tolist() == [6, 7] * 3
    assert made.layout.segment_start.tolist() == batch.layout.segment_start.tolist()
    assert made.target_count == batch.target_count == 6
