"""Scores of texts under a classifier, batched by length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stategpt.model import Classifier
from stategpt.model.text_batch import TextBatch, by_length, filler

_BATCH_TOKENS = 4096


@torch.inference_mode()
def classifier_scores(model: Classifier, sequences: Sequence[NDArray[np.uint32]]) -> NDArray[np.float32]:
    """Score of each label for each text, in the order given. -> float32[N, C]."""
    model.eval()
    found = np.empty((len(sequences), len(model.labels)), dtype=np.float32)
    for chosen in by_length(sequences, _BATCH_TOKENS):
        batch = TextBatch.of([sequences[number] for number in chosen], filler(model.gpt.special_ids), model.device)
        found[chosen] = model.scores(batch.tokens_N, batch.layout, batch.last_S).cpu().numpy()
    return found
