"""SFT trains responses and their end of text, every pair once an epoch, and nothing else."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from dataclasses import replace  # noqa: E402

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from stategpt.config import OptimConfig  # noqa: E402
from stategpt.data import PythonLibrary, Segment  # noqa: E402
from stategpt.errors import ContextOverflow  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.stages.inputs import Inputs  # noqa: E402
from stategpt.stages.sft import SegmentBatches, batches_by_length, segments_of  # noqa: E402
from stategpt.train.next_token import NextTokenTask  # noqa: E402
from stategpt.train.optim import adamw  # noqa: E402


@given(st.lists(st.integers(1, 99), min_size=1, max_size=300), st.integers(1, 40), st.integers(0, 5))
def test_every_pair_is_in_exactly_one_batch_of_an_epoch(lengths: list[int], batch_rows: int, epoch: int) -> None:
    batches = batches_by_length(np.array(lengths), batch_rows, seed=1, epoch=epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert max(len(batch) for batch in batches) <= batch_rows


def test_the_order_changes_with_the_epoch_and_not_with_the_call() -> None:
    lengths = np.arange(100) % 13
    first = [batch.tolist() for batch in batches_by_length(lengths, 8, 0, 0)]
    assert first == [batch.tolist() for batch in batches_by_length(lengths, 8, 0, 0)]
    assert first != [batch.tolist() for batch in batches_by_length(lengths, 8, 0, 1)]


def _batches(inputs: Inputs, library: PythonLibrary) -> SegmentBatches:
    return SegmentBatches(inputs.run, segments_of(inputs, library.pairs_train), inputs.control.pad, inputs.device)


def test_trained_end_of_text_targets_equal_the_responses(inputs: Inputs, library: PythonLibrary) -> None:
    epoch = _batches(inputs, library)
    batches = [batch for step in range(epoch.steps_per_epoch) for update in epoch.updates(step) for batch in update]
    ends = sum(int((batch.targets_M == inputs.control.end_of_text).sum()) for batch in batches)
    assert ends == len(library.pairs_train) > 50
    responses = sum(len(inputs.tok.encode(pair.response)) for pair in library.pairs_train)
    assert sum(batch.target_count for batch in batches) == responses + ends


def test_exactly_the_response_and_its_end_are_targets(inputs: Inputs, library: PythonLibrary) -> None:
    pair = library.pairs_train[0]
    batch = _batches(inputs, library).batch(segments_of(inputs, [pair]))
    assert batch.targets_M.tolist() == [*inputs.tok.encode(pair.response).tolist(), inputs.control.end_of_text]
    # The first of them is predicted at the assistant token: the last token of the prompt.
    assert int(batch.tokens_N[batch.target_index_M[0]]) == inputs.control.assistant


def test_padding_changes_no_loss(inputs: Inputs, model: GPT, library: PythonLibrary) -> None:
    batches = _batches(inputs, library)
    task = NextTokenTask("sft", model, batches)
    segments = sorted(segments_of(inputs, library.pairs_train), key=len)
    short, long = segments[0], segments[-1]

    def loss(*batch_of: Segment) -> float:
        return task.loss(batches.batch(batch_of)).total.item()

    assert loss(short, long) == pytest.approx(loss(short) + loss(long), rel=1e-5)


def test_a_pair_that_does_not_fit_is_named_not_cut(inputs: Inputs, library: PythonLibrary) -> None:
    pair = replace(library.pairs_train[0], response="word " * 400)
    with pytest.raises(ContextOverflow, match=f"pair 1 .{pair.name}"):
        segments_of(inputs, [library.pairs_train[1], pair])


def test_it_overfits_one_batch(inputs: Inputs, model: GPT, library: PythonLibrary) -> None:
    batches = _batches(inputs, library)
    task, batch = NextTokenTask("sft", model, batches), batches.batch(segments_of(inputs, library.pairs_train[:6]))
    optimizer = adamw(model, OptimConfig(learning_rate=1e-2, weight_decay=0.0))
    for _ in range(150):
        optimizer.zero_grad()
        loss = task.loss(batch).total / task.weight(batch)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
