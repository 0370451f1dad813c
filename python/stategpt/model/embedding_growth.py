"""More rows for an embedding: ids that a model's vocabulary does not have yet.

A new row starts as the mean of all others, so that a token nobody has seen is read like an average one; so does its row
of a separate prediction matrix, which makes its logit the mean logit (Hewitt 2021, "Initializing new word embeddings
for pretrained language models").
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stategpt.errors import InvalidArgument

if TYPE_CHECKING:
    from .gpt import GPT


def grow_embedding(model: GPT, rows: int) -> None:
    """Gives `model` an embedding, and a prediction matrix, of `rows` rows; the rows that are there stay as they are.

    Raises:
        InvalidArgument: fewer rows than there are.
    """
    before = model.config.vocab_size
    if rows < before:
        raise InvalidArgument(f"rows is {rows}, and the embedding has {before}; it can only grow")
    if rows == before:
        return
    with torch.no_grad():
        model.embed_tokens.weight = _grown(model.embed_tokens.weight, rows)
        model.embed_tokens.num_embeddings = rows
        if model.lm_head is not None:
            model.lm_head.weight = _grown(model.lm_head.weight, rows)
            model.lm_head.out_features = rows
    model.config = replace(model.config, vocab_size=rows)


def _grown(weight: Tensor, rows: int) -> nn.Parameter:
    # In float64 and always in the same order: a resumed stage must begin with the same bits.
    mean = weight.double().mean(dim=0, keepdim=True).to(weight.dtype)
    more = mean.expand(rows - len(weight), -1)
    return nn.Parameter(torch.cat([weight.detach(), more]), requires_grad=weight.requires_grad)
