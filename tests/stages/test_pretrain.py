"""Pretraining: packed rows cost what their documents cost alone, and the model can learn them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from dataclasses import replace  # noqa: E402

from stategpt.artifacts import RunFolder  # noqa: E402
from stategpt.config import OptimConfig, RunConfig  # noqa: E402
from stategpt.data import write_shards  # noqa: E402
from stategpt.data.corpus import Corpus  # noqa: E402
from stategpt.errors import DataError, ForeignArtifact  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing import Layout, Mixture, Shards, pack  # noqa: E402
from stategpt.stages import pretrain as stage  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.stages.prepare import prepare  # noqa: E402
from stategpt.stages.pretrain import _sample, open_mixture, pretrain, sample_prompts, seen_pieces  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402
from stategpt.train.batches import RowBatches  # noqa: E402
from stategpt.train.loop import LoopSettings  # noqa: E402
from stategpt.train.losses import next_token_loss  # noqa: E402
from stategpt.train.next_token import NextTokenTask  # noqa: E402
from stategpt.train.optimizers import build_optimizer  # noqa: E402

TEXTS = ["Return the name.", "def f(x):\n    return x\n", "# a comment", "", "Read it all, then close the file."]


@pytest.fixture
def rows(tok: Tokenizer, tmp_path: Path) -> Mixture:
    shards = write_shards(TEXTS, tok, tmp_path / "shards")
    return Mixture({"texts": (pack(shards, row_tokens=24), 1.0)}, seed=0)


def _task(model: GPT, rows: Mixture, batch_rows: int) -> NextTokenTask:
    batches = RowBatches(rows, 1, batch_rows, batch_rows, torch.device("cpu"))
    return NextTokenTask("pretrain", model, batches)


def test_a_packed_batch_costs_what_its_documents_cost_alone(
    recipe: RunConfig, model: GPT, rows: Mixture, tok: Tokenizer
) -> None:
    epoch = rows.sources["texts"].num_rows
    task = _task(model, rows, epoch)
    ((batch,),) = list(task.updates(0))
    alone = 0.0
    end = tok.special_tokens["<|endoftext|>"]
    for text in TEXTS:
        document = tok.encode(text).astype(np.int64)
        stream = np.concatenate([[end], document, [end]])
        # A document longer than a row goes on in a segment of its own: none here is.
        assert len(stream) - 1 <= 24
        tokens, targets = torch.from_numpy(stream[:-1]), torch.from_numpy(stream[1:])
        layout = TensorLayout.of(Layout.padded([len(tokens)], len(tokens)))
        alone += next_token_loss(model(tokens, layout), targets).item()
    assert task.loss(batch).total.item() == pytest.approx(alone, rel=1e-5)
    assert batch.target_count == sum(len(tok.encode(text)) + 1 for text in TEXTS)


def test_it_overfits_one_batch(recipe: RunConfig, model: GPT, rows: Mixture) -> None:
    task = _task(model, rows, 2)
    ((batch,),) = list(task.updates(0))
    optimizer = build_optimizer(model, OptimConfig(learning_rate=1e-2, weight_decay=0.0))
    for _ in range(200):
        optimizer.zero_grad()
        loss = task.loss(batch).total / task.weight(batch)
        loss.backward()
        optimizer.step()
    # Every document begins after the same end of text, so its first token cannot be known.
    assert loss.item() < 0.35


def test_stages_out_of_order_say_what_is_missing(recipe: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tokenizer.json does not exist; run the stages in order"):
        pretrain(recipe, RunFolder(tmp_path / "run"))


def test_the_n_gram_sees_the_bytes_the_model_saw(recipe: RunConfig, tmp_path: Path, corpus: Corpus) -> None:
    folder = RunFolder(tmp_path / "run")
    prepare(recipe, folder)
    inputs = StageContext.of(recipe, folder)
    rows = open_mixture(inputs)
    seen = seen_pieces(inputs, rows)
    everything = [text.encode() for split in corpus.sources.values() for text in split.texts("train")]
    assert all(any(piece in text for text in everything) for piece in seen[:50])
    assert len(seen) == len(set(seen)) > 20
    read = sum(rows.batch(row, 1).target_count for row in range(recipe.pretrain_steps * recipe.pretrain.batch_rows))
    assert sum(len(inputs.tok.encode_bytes(piece)) for piece in seen) <= read


def test_a_kill_between_two_samples_of_a_step_loses_none(inputs: StageContext, model: GPT) -> None:
    run = replace(inputs.run, pretrain=replace(inputs.run.pretrain, sample_prompts=("Return", "def ")))
    inputs = replace(inputs, run=run)
    path = inputs.folder.stage("base") / "samples.jsonl"
    for _ in range(2):
        _sample(inputs, model, 3, sample_prompts(inputs))
    whole = path.read_text()
    lines = [json.loads(line) for line in whole.splitlines()]
    assert [(line["prompt"], line["draw"]) for line in lines] == [
        *(("Return", 0), ("def ", 0)),
        *(("Return", 1), ("Return", 2), ("Return", 3)),
        *(("def ", 1), ("def ", 2), ("def ", 3)),
    ]
    path.write_text("".join(f"{line}\n" for line in whole.splitlines()[:3]) + '{"step": 3, "pro')
    _sample(inputs, model, 3, sample_prompts(inputs))
    assert path.read_text() == whole


def test_the_validation_loss_is_measured_once_a_step_and_changes_no_random_number(
    published: StageContext, model: GPT
) -> None:
    documents = stage.validation_documents(published)
    before = torch.random.get_rng_state()
    for step in (0, 4, 4):
        stage._validate(published, model, step, documents)
    assert torch.equal(torch.random.get_rng_state(), before)
    path = published.folder.stage("base") / "validation.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 4]
    assert lines[0]["nats_per_token"] == pytest.approx(math.log(published.run.model.vocab_size), rel=0.1)


def test_prepared_data_of_other_settings_is_refused(recipe: RunConfig, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    prepare(recipe, folder)
    prepare(recipe, folder)
    with pytest.raises(ForeignArtifact, match="made with other settings"):
        prepare(replace(recipe, corpus=replace(recipe.corpus, split_seed=5)), folder)


def test_shards_of_another_tokenizer_are_refused(tok: Tokenizer, tmp_path: Path) -> None:
    write_shards(TEXTS, tok, tmp_path / "shards")
    other = Tokenizer.train(["something else entirely"], vocab_size=300, special_tokens=["<|endoftext|>", "<|pad|>"])
    with pytest.raises(ForeignArtifact):
        Shards.open(tmp_path / "shards", tokenizer=other)


def test_pretraining_hands_the_loop_its_own_settings(
    published: StageContext, rows: Mixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[LoopSettings] = []
    monkeypatch.setattr(stage, "fit", lambda task, model, settings, hook: handed.append(settings))
    config = replace(published.run.pretrain, precision="bfloat16", log_every_steps=3, checkpoint_every_steps=5)
    run = replace(published.run, seed=4, pretrain=config)
    model = stage._train(replace(published, run=run), rows, "b3:base")
    torch.manual_seed(4)
    assert torch.equal(model.embed_tokens.weight, GPT(run.model).embed_tokens.weight)
    (settings,) = handed
    assert (settings.optim, settings.precision) == (config.optim, "bfloat16")
    assert (settings.fingerprint, settings.folder) == ("b3:base", published.folder.stage("base"))
    assert (settings.log_every_steps, settings.checkpoint_every_steps) == (3, 5)
    assert set(settings.logs) == {"samples.jsonl", "validation.jsonl"}


def test_samples_are_taken_at_the_steps_asked_for(recipe: RunConfig) -> None:
    run = replace(recipe, pretrain=replace(recipe.pretrain, sample_at=(0, 4, 50, "end")))
    assert stage._sampled_steps(run, 10) == {0, 4, 10}
