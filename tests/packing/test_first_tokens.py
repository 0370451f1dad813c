"""What documents begin with in rows: the model's beginning of text, or their own first token."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stategpt.data import write_shards
from stategpt.packing import Packed, TokenizedDocument, pack
from stategpt.packing.first_tokens import begun_with, without_begin
from stategpt.packing.packed import NO_DOCUMENT
from stategpt.tokenizer import Tokenizer

TOK = Tokenizer.train(["abc"], vocab_size=260, special_tokens=["<end>", "<begin>"])
LENGTHS = (3, 5, 1, 7, 2)


def rows(folder: Path, **settings: bool) -> Packed:
    documents = [TokenizedDocument(np.arange(10, 10 + length)) for length in LENGTHS]
    return pack(write_shards(documents, TOK, folder / "shards", end_of_text="<end>"), 10, **settings)


def test_documents_begin_with_the_given_token_and_end_as_before(tmp_path: Path) -> None:
    packed = rows(tmp_path)
    batch = packed.batch(0, packed.num_rows, packed.num_rows + 1)
    changed = begun_with(batch, 0, 1)
    first = batch.layout.position == 0
    real = batch.doc_ids != NO_DOCUMENT
    assert set(changed.tokens[first & real].tolist()) == {1}
    assert (changed.tokens[~(first & real)] == batch.tokens[~(first & real)]).all()
    assert (changed.targets == batch.targets).all()
    assert changed.tokens.dtype == batch.tokens.dtype


def test_documents_do_not_see_the_token_before_them(tmp_path: Path) -> None:
    packed = rows(tmp_path)
    batch = packed.batch(0, packed.num_rows, packed.num_rows + 1)
    changed = without_begin(batch)
    changed.layout.validate()
    assert (changed.tokens == batch.tokens).all()
    assert (changed.loss_mask == batch.loss_mask).all()
    read = []
    starts = changed.layout.segment_start
    for first in np.unique(starts[batch.doc_ids != NO_DOCUMENT]):
        where = np.flatnonzero(starts == first)
        assert changed.layout.position[where].tolist() == list(range(len(where)))
        read.append(batch.tokens[where].tolist())
    wanted = [list(range(10, 10 + length)) for length in LENGTHS] + [[0]] * len(LENGTHS)
    assert sorted(read) == sorted(wanted)
