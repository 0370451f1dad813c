"""A model as a policy: log-probabilities of the completion tokens it sampled, by the training forward pass.

Sampled ids are used as they are, never decoded and encoded again; the end of text a completion ended with is an action
like any other. The distribution is the one sampled from: same temperature, same ids left out (`undrawn_ids`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.data import AnyTokenizer, ControlTokens
from stategpt.errors import InvalidArgument
from stategpt.model import GPT, log_probs, undrawn_ids
from stategpt.ops import TensorLayout
from stategpt.shown_fields import documented, short_repr
from stategpt.train.batches import pad_sequences
from stategpt.train.losses import sum_by_sample

Ids = NDArray[np.uint32]


@documented
@dataclass(frozen=True)
class CompletionBatch:
    """S prompts with one completion each as padded rows, and where the M completion tokens are predicted."""

    tokens_N: Tensor
    """int64 ids of all rows as one stream."""
    layout: TensorLayout
    """What each token sees."""
    index_M: Tensor
    """Stream position whose logits predict each completion token: the token before it."""
    ids_M: Tensor
    """The sampled ids."""
    sample_M: Tensor
    """Which of the S samples a token belongs to."""
    samples: int
    """S."""

    __repr__ = short_repr

    @classmethod
    def of(cls, prompts: Sequence[Ids], completions: Sequence[Ids], pad: int, device: torch.device) -> CompletionBatch:
        """Lays out `prompts[i] + completions[i]`; a completion has at least one token."""
        for number, completion in enumerate(completions):
            if not len(completion):
                raise InvalidArgument(f"completion {number} has no token; a policy takes at least one action")
        padded = pad_sequences([np.concatenate([p, c]) for p, c in zip(prompts, completions, strict=True)], pad)
        lengths = np.array([len(completion) for completion in completions])
        first = padded.starts() + np.array([len(prompt) for prompt in prompts]) - 1
        within = np.concatenate([np.arange(length) for length in lengths])
        return cls(
            tokens_N=torch.from_numpy(padded.tokens).to(device),
            layout=TensorLayout.of(padded.layout, device),
            index_M=torch.from_numpy(np.repeat(first, lengths) + within).to(device),
            ids_M=torch.from_numpy(np.concatenate(completions).astype(np.int64)).to(device),
            sample_M=torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)).to(device),
            samples=len(lengths),
        )


def completion_log_probs(
    model: GPT, batch: CompletionBatch, temperature: float, forbidden: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Log-probability (M) of each sampled token, and the entropy (M, no gradient) of the distribution it came from."""
    hidden_ND = model.hidden(batch.tokens_N, batch.layout)
    all_MV = log_probs(model.unembed(hidden_ND[batch.index_M]), temperature, forbidden)
    with torch.no_grad():
        # exp(-inf) * -inf is NaN; a forbidden token adds nothing.
        entropy_M = -(all_MV.exp() * all_MV.clamp_min(-1e9)).sum(dim=-1)
    return all_MV.gather(1, batch.ids_M[:, None])[:, 0], entropy_M


@torch.inference_mode()
def log_ratios(
    policy: GPT,
    reference: GPT,
    prompts: Sequence[Ids],
    completions: Sequence[Ids],
    *,
    temperature: float,
    tok: AnyTokenizer,
    batch_rows: int = 128,
) -> NDArray[np.float64]:
    """log pi(y|x) - log pi_ref(y|x) in nats of each completion; its mean over the policy's samples is the KL (k1).

    Both are the distributions that `Engine` samples from with this tokenizer: `undrawn_ids` are left out.
    """
    device = next(policy.parameters()).device
    pad = ControlTokens.of(tok).pad
    ratios = []
    for first in range(0, len(prompts), batch_rows):
        part = slice(first, first + batch_rows)
        batch = CompletionBatch.of(prompts[part], completions[part], pad, device)
        ours, _ = completion_log_probs(policy, batch, temperature, undrawn_ids(policy, tok))
        theirs, _ = completion_log_probs(reference, batch, temperature, undrawn_ids(reference, tok))
        ratios.append(sum_by_sample((ours - theirs).double(), batch.sample_M, batch.samples).cpu().numpy())
    return np.concatenate(ratios)
