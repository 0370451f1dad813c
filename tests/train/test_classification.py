"""Batches of classification: every text once an epoch, and the same gradient however a step is divided."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.config import ClassifyConfig, GPTConfig  # noqa: E402
from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.model import GPT, Classifier  # noqa: E402
from stategpt.train.classification import ClassifyTask  # noqa: E402
from stategpt.train.loop import _accumulate  # noqa: E402

SHAPE = GPTConfig(vocab_size=300, depth=1, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=48, context_tokens=64)
SEQUENCES = [np.arange(20, 23 + number, dtype=np.uint32) for number in range(10)]
LABELS = [0, 1] * 5


def _task(seed: int = 0, **settings: Any) -> ClassifyTask:
    torch.manual_seed(0)
    given = {"batch_texts": 4, "micro_batch_texts": 4, "min_steps": 0, "epochs": 2.0, **settings}
    return ClassifyTask(ClassifyConfig(**given), Classifier(GPT(SHAPE), ("a", "b")), SEQUENCES, LABELS, seed=seed)


def _read(task: ClassifyTask, steps: range) -> list[list[tuple[int, int]]]:
    """Length and label of the texts of each step, in order."""
    found = []
    for step in steps:
        (update,) = task.updates(step)
        texts = []
        for batch in update:
            position = batch.texts.layout.position[batch.texts.last_S]
            texts += list(zip((position + 1).tolist(), batch.labels_S.tolist(), strict=True))
        found.append(texts)
    return found


def test_an_epoch_reads_every_text_once_in_an_order_of_its_seed() -> None:
    task = _task()
    assert (task.steps_per_epoch, task.steps) == (3, 6)
    expected = sorted(zip(map(len, SEQUENCES), LABELS, strict=True))
    epochs = [[each for step in _read(task, range(first, first + 3)) for each in step] for first in (0, 3)]
    assert [sorted(epoch) for epoch in epochs] == [expected, expected]
    assert epochs[0] != epochs[1]
    assert _read(_task(seed=1), range(3)) != _read(task, range(3))
    assert _read(_task(), range(6)) == _read(task, range(6))


def test_a_small_set_has_at_least_the_steps_of_the_settings() -> None:
    assert [ClassifyConfig(min_steps=60, batch_texts=16, epochs=4.0).steps(count) for count in (10, 100, 1000)] == [
        60,
        60,
        252,
    ]


def test_micro_batches_give_the_gradient_of_the_whole_step() -> None:
    gradients = []
    for micro in (4, 3, 1):
        task = _task(micro_batch_texts=micro)
        (update,) = task.updates(0)
        assert len(update) == -(-4 // micro)
        _accumulate(task, task.model, update, "float32")
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in task.model.parameters()]))
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-4, atol=1e-6)


def test_each_text_has_one_label() -> None:
    with pytest.raises(InvalidArgument, match="1 texts and 0 labels"):
        ClassifyTask(ClassifyConfig(), Classifier(GPT(SHAPE), ("a", "b")), SEQUENCES[:1], [])
