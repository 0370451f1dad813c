"""SFT trains responses and their end of text, every conversation once an epoch, and nothing else."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

import shutil  # noqa: E402
from collections import Counter  # noqa: E402
from dataclasses import replace  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from stategpt.config import OptimConfig  # noqa: E402
from stategpt.data import encode_conversation, write_shards  # noqa: E402
from stategpt.data.corpus import CONVERSATIONS, Corpus  # noqa: E402
from stategpt.data.records import Conversation  # noqa: E402
from stategpt.errors import ContextOverflow  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.model.token_batch import TokenBatch  # noqa: E402
from stategpt.packing import Mixture, TokenizedDocument, pack  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.stages.requirements import segments_of  # noqa: E402
from stategpt.stages.sft import open_batches, sft  # noqa: E402
from stategpt.train.batches import RowBatches  # noqa: E402
from stategpt.train.loop import LoopSettings, _accumulate  # noqa: E402
from stategpt.train.next_token import NextTokenTask  # noqa: E402
from stategpt.train.optimizers import build_optimizer  # noqa: E402


@pytest.fixture
def prepared(inputs: StageContext, corpus: Corpus) -> StageContext:
    """A run folder with the shards of the training conversations."""
    write_shards(corpus.conversations["train"], inputs.tok, inputs.folder.shards(CONVERSATIONS, "train"))
    return inputs


def _with(inputs: StageContext, **settings: Any) -> StageContext:
    return replace(inputs, run=replace(inputs.run, sft=replace(inputs.run.sft, **settings)))


def _steps(batches: RowBatches, steps: range) -> list[list[TokenBatch]]:
    """The micro-batches of each step's only update."""
    return [list(update) for step in steps for update in batches.updates(step)]


def _answers(steps: list[list[TokenBatch]], end: int) -> Counter[tuple[int, ...]]:
    """Every trained answer, by its target ids."""
    targets = [t for step in steps for batch in step for t in batch.targets_M.tolist()]
    found: Counter[tuple[int, ...]] = Counter()
    answer: list[int] = []
    for target in targets:
        answer.append(target)
        if target == end:
            found[tuple(answer)] += 1
            answer = []
    assert not answer
    return found


def _expected(inputs: StageContext, corpus: Corpus) -> Counter[tuple[int, ...]]:
    end = inputs.control.end_of_text
    return Counter(
        (*inputs.tok.encode(one.messages[-1].content).tolist(), end) for one in corpus.conversations["train"]
    )


def test_an_epoch_trains_every_answer_with_its_end_once_and_no_other_token(
    prepared: StageContext, corpus: Corpus
) -> None:
    one_row = _with(prepared, batch_rows=1, micro_batch_rows=1, epochs=1.0)
    batches = open_batches(one_row)
    found = _answers(_steps(batches, range(batches.steps)), prepared.control.end_of_text)
    assert found == _expected(prepared, corpus)
    assert sum(found.values()) == len(corpus.conversations["train"]) > 50


def test_epochs_decide_the_steps_and_each_has_its_rows_in_another_order(prepared: StageContext) -> None:
    once = open_batches(_with(prepared, batch_rows=1, micro_batch_rows=1, epochs=1.0))
    twice = open_batches(_with(prepared, batch_rows=1, micro_batch_rows=1, epochs=2.0))
    assert twice.steps == 2 * once.steps
    rows = [step[0].tokens_N.tolist() for step in _steps(twice, range(twice.steps))]
    first, second = rows[: once.steps], rows[once.steps :]
    assert sorted(first) == sorted(second)
    assert first != second
    other = replace(prepared, run=replace(prepared.run, seed=prepared.run.seed + 1))
    different = open_batches(_with(other, batch_rows=1, micro_batch_rows=1))
    assert [step[0].tokens_N.tolist() for step in _steps(different, range(once.steps))] != first


def test_every_token_weighs_the_same_whatever_the_length_of_its_answer(inputs: StageContext, tmp_path: Path) -> None:
    """An answer weighs by its targets: each step is divided by its own, and rows are drawn without regard to them."""
    targets = np.clip(np.exp(np.random.default_rng(0).normal(2.4, 0.6, 1500)).astype(int), 3, 51)
    documents = [
        TokenizedDocument(np.full(5 + n, 20), np.arange(6 + n) > 5, doc_id=number) for number, n in enumerate(targets)
    ]
    packed = pack(write_shards(documents, inputs.tok, tmp_path / "data"), 128)
    rows, weight = Mixture({"all": (packed, 1.0)}), np.zeros(len(targets))
    for step in range(packed.num_rows):  # eight epochs
        batch = rows.batch(8 * step, 8)
        of_document = batch.doc_ids[batch.loss_mask].astype(np.int64)
        weight += np.bincount(of_document, minlength=len(targets)) / batch.target_count
    assert np.polyfit(np.log(targets), np.log(weight), 1)[0] == pytest.approx(1.0, abs=0.05)
    per_token = np.repeat(weight / targets, targets)
    assert per_token.std() / per_token.mean() < 0.1


def test_the_first_target_of_an_answer_is_predicted_at_the_assistant_token(prepared: StageContext) -> None:
    batches = open_batches(prepared)
    (batch,) = _steps(_alone(prepared, batches), range(1))[0]
    ends = np.flatnonzero(batch.targets_M.numpy() == prepared.control.end_of_text)
    firsts = [0, *(ends[:-1] + 1).tolist()]
    read = batch.tokens_N[batch.target_index_M]
    assert {int(read[i]) for i in firsts} == {prepared.control.assistant}


def _alone(inputs: StageContext, batches: RowBatches) -> RowBatches:
    """The same rows, one a step."""
    return RowBatches(batches.rows, batches.steps, 1, 1, inputs.device)


def test_conversations_that_share_a_row_do_not_see_each_other(
    prepared: StageContext, model: GPT, corpus: Corpus
) -> None:
    """The loss of a row is the sum of its conversations' losses alone."""
    batches = open_batches(prepared)
    task = NextTokenTask("sft", model, batches)
    (batch,) = _steps(_alone(prepared, batches), range(1))[0]
    inside = [
        tuple(part) for part in np.split(batch.tokens_N.numpy(), np.unique(batch.layout.segment_start.numpy())[1:])
    ]
    assert sum(prepared.control.assistant in part for part in inside) > 1
    alone = 0.0
    for conversation in corpus.conversations["train"]:
        segment = encode_conversation(prepared.tok, conversation)
        if tuple(segment.tokens.tolist()) in inside:
            shards = write_shards([conversation], prepared.tok, prepared.folder.root / "alone")
            one = _single(prepared, shards)
            alone += task.loss(one).total.item() * inside.count(tuple(segment.tokens.tolist()))
    assert task.loss(batch).total.item() == pytest.approx(alone, rel=1e-4)


def _single(inputs: StageContext, shards: Any) -> TokenBatch:
    (batch,) = _steps(RowBatches(pack(shards, 128), 1, 1, 1, inputs.device), range(1))[0]
    return batch


def test_micro_batches_give_the_gradient_of_the_whole_step(prepared: StageContext, model: GPT) -> None:
    gradients = []
    for rows in (4, 1):
        batches = open_batches(_with(prepared, batch_rows=4, micro_batch_rows=rows))
        (update,) = _steps(batches, range(1, 2))
        assert len(update) == 4 // rows
        model.zero_grad()
        values = _accumulate(NextTokenTask("sft", model, batches), model, update, "float32")
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        assert values["loss_nats_per_token"] > 1
    for name, whole in gradients[0].items():
        assert torch.allclose(whole, gradients[1][name], rtol=1e-4, atol=1e-6), name


def test_little_padding_is_read(prepared: StageContext) -> None:
    batches = open_batches(_with(prepared, batch_rows=1, micro_batch_rows=1))
    read = [batch.tokens_N for step in _steps(batches, range(batches.steps)) for batch in step]
    pads = sum(int((tokens == prepared.control.pad).sum()) for tokens in read)
    assert pads < 0.15 * sum(tokens.numel() for tokens in read)


def test_a_conversation_that_does_not_fit_is_named_not_cut(inputs: StageContext, corpus: Corpus) -> None:
    long = Conversation.of("why?", "word " * 400, meta={"subject": "a.name"})
    with pytest.raises(ContextOverflow, match=r"conversation 1 \(a\.name\): the conversation is 7 \+ "):
        segments_of(inputs.chat, [corpus.conversations["train"][1], long], inputs.run.sft_row_tokens)
    write_shards([long], inputs.tok, inputs.folder.shards(CONVERSATIONS, "train"))
    with pytest.raises(ContextOverflow, match=r"1 training conversations exceed sft\.row_tokens = 256"):
        open_batches(inputs)


def test_it_overfits_one_batch(prepared: StageContext, model: GPT) -> None:
    batches = _alone(prepared, open_batches(prepared))
    task = NextTokenTask("sft", model, batches)
    (batch,) = _steps(batches, range(1))[0]
    optimizer = build_optimizer(model, OptimConfig(learning_rate=1e-2, weight_decay=0.0))
    for _ in range(150):
        optimizer.zero_grad()
        loss = task.loss(batch).total / task.weight(batch)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


def test_the_stage_trains_the_base_model_on_all_training_conversations(
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
    write_shards(corpus.conversations["train"], published.tok, published.folder.shards(CONVERSATIONS, "train"))
    sft(published.run, published.folder)
    ((task, started),) = seen
    base = published.load_model("base").state_dict()
    assert all(torch.equal(weight, base[name]) for name, weight in started.items())
    assert not published.load_model("sft").norm.weight.any(), "the trained weights are published"
    every_row = RowBatches(task.batches.rows, 1, 1, 1, published.device)  # type: ignore[attr-defined]
    rows = round(task.steps * published.run.sft.batch_rows / published.run.sft.epochs)
    found = _answers(_steps(every_row, range(rows)), published.control.end_of_text)
    assert sum(found.values()) >= 0.9 * len(corpus.conversations["train"])
    assert set(found) <= set(_expected(published, corpus))
