"""SFT trains responses and their end of text, every pair once an epoch, and nothing else."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

import shutil  # noqa: E402
from collections.abc import Iterable, Sequence  # noqa: E402
from dataclasses import replace  # noqa: E402
from typing import Any  # noqa: E402

from stategpt.config import OptimConfig  # noqa: E402
from stategpt.data import Segment  # noqa: E402
from stategpt.data.corpus import Corpus  # noqa: E402
from stategpt.data.records import Conversation  # noqa: E402
from stategpt.errors import ContextOverflow  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.model.token_batch import TokenBatch  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.stages.requirements import segments_of  # noqa: E402
from stategpt.stages.sft import SegmentBatches, sft  # noqa: E402
from stategpt.train.loop import LoopSettings, _accumulate  # noqa: E402
from stategpt.train.next_token import NextTokenTask  # noqa: E402
from stategpt.train.optimizers import build_optimizer  # noqa: E402


def _segments(inputs: StageContext, pairs: Sequence[Conversation]) -> list[Segment]:
    return segments_of(inputs.tok, pairs, inputs.run.model.context_tokens)


def _numbered(lengths: Sequence[int]) -> list[Segment]:
    """Segments of 6 prompt tokens and so many targets; every token of segment i is i, so that it is known again."""
    made = []
    for number, length in enumerate(lengths):
        tokens = np.full(5 + length, number, dtype=np.uint32)
        made.append(Segment(tokens, tokens, np.arange(tokens.size) >= 5))
    return made


def _of(inputs: StageContext, segments: Sequence[Segment], **settings: Any) -> SegmentBatches:
    run = replace(inputs.run, sft=replace(inputs.run.sft, **settings))
    return SegmentBatches(run, segments, inputs.control.pad, inputs.device)


def _steps(batches: SegmentBatches, steps: Iterable[int]) -> list[list[TokenBatch]]:
    """The micro-batches of each step's only update."""
    return [list(update) for step in steps for update in batches.updates(step)]


def _order(batches: SegmentBatches, steps: Iterable[int]) -> list[list[int]]:
    """Segments of each step, by the number that is each of their targets."""
    return [sorted({t for batch in step for t in batch.targets_M.tolist()}) for step in _steps(batches, steps)]


def test_every_token_weighs_the_same_whatever_the_length_of_its_response(inputs: StageContext) -> None:
    lengths = np.clip(np.exp(np.random.default_rng(0).normal(2.4, 0.6, 2000)).astype(int), 3, 51)
    batches = _of(inputs, _numbered(lengths.tolist()), batch_rows=32)
    task = NextTokenTask("sft", GPT(inputs.run.model), batches)
    weight = np.zeros(len(lengths))
    for step in _steps(batches, range(batches.steps_per_epoch)):
        of_step = sum(task.weight(batch) for batch in step)
        for batch in step:
            weight += np.bincount(batch.targets_M.numpy(), minlength=len(lengths)) / of_step
    exponent = np.polyfit(np.log(lengths), np.log(weight), 1)[0]
    assert exponent == pytest.approx(1.0, abs=0.05), "a response weighs by its length"
    per_token = np.repeat(weight / lengths, lengths)
    assert per_token.std() / per_token.mean() < 0.15
    quarter = np.quantile(lengths, 0.25), np.quantile(lengths, 0.75)
    short, long = ((weight / lengths)[chosen].mean() for chosen in (lengths <= quarter[0], lengths >= quarter[1]))
    assert short / long == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("pairs", "batch_rows"), [(35, 32), (100, 32), (33, 8), (5, 8), (64, 8)])
def test_steps_of_an_epoch_differ_by_one_pair_at_most(inputs: StageContext, pairs: int, batch_rows: int) -> None:
    batches = _of(inputs, _numbered([3] * pairs), batch_rows=batch_rows)
    steps = _order(batches, range(batches.steps_per_epoch))
    sizes = [len(step) for step in steps]
    assert max(sizes) <= batch_rows
    assert max(sizes) - min(sizes) <= 1
    assert len(steps) == -(-pairs // batch_rows)
    assert sorted(number for step in steps for number in step) == list(range(pairs))


def test_epochs_decide_the_steps_and_each_has_every_pair_in_an_order_of_its_own(inputs: StageContext) -> None:
    batches = _of(inputs, _numbered([3, 5] * 20), batch_rows=8, epochs=2.5)
    assert batches.steps == round(2.5 * 5)
    first, second = _order(batches, range(5)), _order(batches, range(5, 10))
    for epoch in (first, second):
        assert sorted(number for step in epoch for number in step) == list(range(40))
    assert first != second
    assert first == _order(batches, range(5)), "a function of the step, not of the call"
    other = replace(inputs.run, seed=inputs.run.seed + 1, sft=replace(inputs.run.sft, batch_rows=8))
    assert first != _order(SegmentBatches(other, batches.segments, 1, inputs.device), range(5))


def test_little_padding_is_read(inputs: StageContext) -> None:
    lengths = np.clip(np.exp(np.random.default_rng(1).normal(2.4, 0.6, 600)).astype(int), 3, 51)
    batches = _of(inputs, _numbered(lengths.tolist()), batch_rows=32, micro_batch_rows=32)
    read = sum(batch.tokens_N.numel() for step in _steps(batches, range(batches.steps_per_epoch)) for batch in step)
    assert read < 1.12 * (lengths + 5).sum()


@pytest.mark.parametrize("micro_batch_rows", [1, 3, 100])
def test_micro_batches_give_the_gradient_of_the_whole_step(
    inputs: StageContext, model: GPT, corpus: Corpus, micro_batch_rows: int
) -> None:
    segments = _segments(inputs, corpus.conversations["train"])
    gradients = []
    for rows in (8, micro_batch_rows):
        batches = _of(inputs, segments, batch_rows=8, micro_batch_rows=rows)
        (update,) = _steps(batches, [1])
        assert len(update) == -(-8 // rows)
        model.zero_grad()
        values = _accumulate(NextTokenTask("sft", model, batches), model, update, "float32")
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        assert values["loss_nats_per_token"] > 1
    for name, whole in gradients[0].items():
        assert torch.allclose(whole, gradients[1][name], rtol=1e-4, atol=1e-6), name


def _batches(inputs: StageContext, corpus: Corpus) -> SegmentBatches:
    return SegmentBatches(
        inputs.run, _segments(inputs, corpus.conversations["train"]), inputs.control.pad, inputs.device
    )


def test_trained_end_of_text_targets_equal_the_responses(inputs: StageContext, corpus: Corpus) -> None:
    epoch = _batches(inputs, corpus)
    batches = [batch for step in range(epoch.steps_per_epoch) for update in epoch.updates(step) for batch in update]
    ends = sum(int((batch.targets_M == inputs.control.end_of_text).sum()) for batch in batches)
    assert ends == len(corpus.conversations["train"]) > 50
    responses = sum(len(inputs.tok.encode(pair.messages[-1].content)) for pair in corpus.conversations["train"])
    assert sum(batch.target_count for batch in batches) == responses + ends


def test_exactly_the_response_and_its_end_are_targets(inputs: StageContext, corpus: Corpus) -> None:
    pair = corpus.conversations["train"][0]
    batch = _batches(inputs, corpus).batch(_segments(inputs, [pair]))
    assert batch.targets_M.tolist() == [
        *inputs.tok.encode(pair.messages[-1].content).tolist(),
        inputs.control.end_of_text,
    ]
    # The first of them is predicted at the assistant token: the last token of the prompt.
    assert int(batch.tokens_N[batch.target_index_M[0]]) == inputs.control.assistant


def test_padding_changes_no_loss(inputs: StageContext, model: GPT, corpus: Corpus) -> None:
    batches = _batches(inputs, corpus)
    task = NextTokenTask("sft", model, batches)
    segments = sorted(_segments(inputs, corpus.conversations["train"]), key=len)
    short, long = segments[0], segments[-1]

    def loss(*batch_of: Segment) -> float:
        return task.loss(batches.batch(batch_of)).total.item()

    assert loss(short, long) == pytest.approx(loss(short) + loss(long), rel=1e-5)


def test_a_pair_that_does_not_fit_is_named_not_cut(inputs: StageContext, corpus: Corpus) -> None:
    pair = Conversation.of("why?", "word " * 400, meta={"subject": "a.name"})
    with pytest.raises(ContextOverflow, match=r"conversation 1 \(a\.name\): the conversation is 7 \+ "):
        _segments(inputs, [corpus.conversations["train"][1], pair])


def test_it_overfits_one_batch(inputs: StageContext, model: GPT, corpus: Corpus) -> None:
    batches = _batches(inputs, corpus)
    task, batch = (
        NextTokenTask("sft", model, batches),
        batches.batch(_segments(inputs, corpus.conversations["train"][:6])),
    )
    optimizer = build_optimizer(model, OptimConfig(learning_rate=1e-2, weight_decay=0.0))
    for _ in range(150):
        optimizer.zero_grad()
        loss = task.loss(batch).total / task.weight(batch)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


def test_the_stage_trains_the_base_model_on_all_training_pairs(
    published: StageContext, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[NextTokenTask, dict[str, torch.Tensor]]] = []

    def fit(task: NextTokenTask, model: GPT, settings: LoopSettings) -> None:
        assert settings.optim == published.run.sft.optim
        seen.append((task, {name: weight.clone() for name, weight in model.state_dict().items()}))
        torch.nn.init.zeros_(model.norm.weight)

    monkeypatch.setattr("stategpt.stages.sft.fit", fit)
    shutil.rmtree(published.folder.model("sft"))
    monkeypatch.setattr("stategpt.stages.sft.evaluate_answers", lambda *_: {})
    sft(published.run, published.folder)
    ((task, started),) = seen
    base = published.load_model("base").state_dict()
    assert all(torch.equal(weight, base[name]) for name, weight in started.items())
    assert not published.load_model("sft").norm.weight.any(), "the trained weights are published"
    ends = [segment.tokens.tolist() for segment in task.batches.segments]  # type: ignore[attr-defined]
    assert ends == [segment.tokens.tolist() for segment in _segments(published, corpus.conversations["train"])]
