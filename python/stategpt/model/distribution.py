"""The distribution of the next token: one definition for sampling, training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stategpt.data.chats.template import ChatTemplate
from stategpt.errors import InvalidArgument

if TYPE_CHECKING:
    from stategpt.tokenizer.tokenizer import AnyTokenizer

    from .gpt import GPT


def undrawn_ids(model: GPT, tok: AnyTokenizer, chat: ChatTemplate | None = None) -> tuple[int, ...]:
    """Returns the ids that a completion never contains: sampling, training and evaluation all mask them.

    What the format `chat` (None: this package's) forbids, but for what ends a text (by the format, or in the model's
    folder), and what the model's vocabulary has beyond the tokenizer's. Raises `InvalidArgument` without a format for a
    tokenizer without this package's control tokens.
    """
    control = (chat or ChatTemplate.own(tok)).control
    ends = {*control.ends, *model.special_ids.eos}
    return (*(token for token in control.forbidden if token not in ends), *padding_ids(model, tok))


def padding_ids(model: GPT, tok: AnyTokenizer) -> range:
    """Returns the ids that the model has beyond the tokenizer's: rows of a rounded-up vocabulary, without text."""
    return range(tok.vocab_size, model.config.vocab_size)


def log_probs(logits_MV: Tensor, temperature: float, forbidden: Sequence[int] | Tensor = ()) -> Tensor:
    """log softmax(logits / temperature) with the `forbidden` ids at minus infinity. -> float32[M, V], differentiable.

    The division comes after the cast to float32. A temperature of 0 is no distribution: the sampler takes the largest
    logit without coming here.
    """
    if not temperature > 0:
        raise InvalidArgument(
            f"temperature {temperature} is no distribution to take the logarithm of; give one above 0"
        )
    scaled_MV = logits_MV.float() / temperature  # a copy, also at temperature 1
    if len(forbidden):
        scaled_MV[:, torch.as_tensor(forbidden, device=scaled_MV.device)] = float("-inf")
    return scaled_MV.log_softmax(dim=-1)
