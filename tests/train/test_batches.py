"""Batches of a stage are the loader's rows, a pure function of the step."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")


from stategpt.data import write_shards  # noqa: E402
from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.packing import Mixture, TokenizedDocument, pack  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402
from stategpt.train.batches import RowBatches  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    """Thirty documents of one id each, in rows of 8 tokens."""
    tok = Tokenizer.train(["abc"], vocab_size=300, special_tokens=["<|endoftext|>", "<|pad|>"])
    documents = [TokenizedDocument(np.full(3 + n % 4, 20 + n)) for n in range(30)]
    shards = write_shards(documents, tok, tmp_path_factory.mktemp("rows") / "data")
    return Mixture({"all": (pack(shards, 8), 1.0)}, seed=3)


def _tokens(batches: RowBatches, step: int) -> list[list[int]]:
    (update,) = batches.updates(step)
    return [batch.tokens_N.tolist() for batch in update]


def test_a_step_reads_its_rows_in_micro_batches(rows: Mixture) -> None:
    batches = RowBatches(rows, 5, batch_rows=4, micro_batch_rows=2, device=CPU)
    for step in range(5):
        parts = _tokens(batches, step)
        assert [len(part) for part in parts] == [16, 16]
        assert [token for part in parts for token in part] == rows.batch(4 * step, 4).tokens.tolist()


def test_steps_in_any_order_are_the_same_steps(rows: Mixture) -> None:
    """A run that resumes at step 3 reads what the uninterrupted one read there."""
    batches = RowBatches(rows, 5, batch_rows=4, micro_batch_rows=1, device=CPU)
    in_order = [_tokens(batches, step) for step in range(5)]
    assert [_tokens(batches, step) for step in (3, 4, 0, 0, 2)] == [in_order[step] for step in (3, 4, 0, 0, 2)]
    assert len({str(tokens) for tokens in in_order}) == 5
    resumed = RowBatches(rows, 5, batch_rows=4, micro_batch_rows=1, device=CPU)
    assert _tokens(resumed, 3) == in_order[3]


def test_micro_batches_divide_the_batch(rows: Mixture) -> None:
    with pytest.raises(InvalidArgument, match="micro_batch_rows is 3, not a divisor of batch_rows = 4"):
        RowBatches(rows, 5, batch_rows=4, micro_batch_rows=3, device=CPU)
