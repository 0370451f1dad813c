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

from stategpt.data import ChatTemplate
from stategpt.errors import InvalidArgument
from stategpt.model import GPT, log_probs, undrawn_ids
from stategpt.model.kept_sets import KeptSet, log_probs_within
from stategpt.model.prompt_rows import PromptRows, share_prompts
from stategpt.ops import TensorLayout, by_row_chunks, logit_rows
from stategpt.shown_fields import documented, short_repr
from stategpt.tokenizer import AnyTokenizer

Ids = NDArray[np.uint32]


@documented
@dataclass(frozen=True)
class CompletionBatch:
    """S prompts with one completion each as rows of tokens, and where the M completion tokens are predicted."""

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
    def of(
        cls,
        prompts: Sequence[Ids],
        completions: Sequence[Ids],
        pad: int,
        device: torch.device,
        width: int | None = None,
        *,
        flat: bool = False,
    ) -> CompletionBatch:
        """Lays out `prompts[i] + completions[i]`, all but the last token; a completion has at least one token.

        With the model's `width`, neighbors of equal prompt share a row where that is less work (`share_prompts`). With
        `flat` all is one row without padding, for a model that is exact.
        """
        for number, completion in enumerate(completions):
            if not len(completion):
                raise InvalidArgument(f"completion {number} has no token; a policy takes at least one action")
        lengths = np.array([len(completion) for completion in completions])
        # The last token predicts nothing.
        read = [completion[:-1] for completion in completions]
        if flat:
            laid_out = PromptRows.flat(prompts, read)
        elif width is None:
            laid_out = PromptRows.of(prompts, read, [range(s, s + 1) for s in range(len(prompts))], pad)
        else:
            (rows,) = share_prompts(prompts, (lengths - 1).tolist(), width)
            laid_out = PromptRows.of(prompts, read, rows, pad)
        within = np.concatenate([np.arange(length) for length in lengths])
        index = np.repeat(laid_out.first, lengths) + within - 1
        index[within == 0] = laid_out.prompt_last
        tokens_N, layout = laid_out.tensors(device)
        return cls(
            tokens_N=tokens_N,
            layout=layout,
            index_M=torch.from_numpy(index).to(device),
            ids_M=torch.from_numpy(np.concatenate(completions).astype(np.int64)).to(device),
            sample_M=torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)).to(device),
            samples=len(lengths),
        )


def completion_log_probs(
    model: GPT,
    batch: CompletionBatch,
    temperature: float,
    forbidden: Sequence[int],
    max_rows: int | None = None,
    kept: Sequence[KeptSet] | None = None,
) -> tuple[Tensor, Tensor]:
    """Computes each sampled token's log-probability, and the entropy of its distribution (no gradient). -> [M] twice.

    `kept` are the ids that each token was drawn among, where the samples are of a truncated distribution: it is the
    model's over these ids, whatever the model itself would keep. Without it `forbidden` ids are left out.
    Logits of at most `max_rows` tokens exist at a time (`ops.logit_rows` by default), also in the backward pass, which
    computes them again where there are more.
    """
    hidden_MW = model.hidden(batch.tokens_N, batch.layout)[batch.index_M]

    def of_rows(hidden_KW: Tensor, ids_K: Tensor, row_K: Tensor) -> tuple[Tensor, Tensor]:
        logits_KV = model.unembed(hidden_KW)
        if kept is None:
            all_KV = log_probs(logits_KV, temperature, forbidden)
        else:
            all_KV = log_probs_within(logits_KV, [kept[row] for row in row_K.tolist()], temperature)
        chosen_K = all_KV.gather(1, ids_K[:, None])[:, 0]
        with torch.no_grad():
            # exp(-inf) * -inf is NaN; a forbidden token adds nothing.
            entropy_K = -(all_KV.exp() * all_KV.clamp_min(-1e9)).sum(dim=-1)
        return chosen_K, entropy_K

    row_M = torch.arange(len(batch.ids_M))
    return by_row_chunks(of_rows, (hidden_MW, batch.ids_M, row_M), max_rows or logit_rows(model.config.vocab_size))


@torch.inference_mode()
def log_ratios(
    policy: GPT,
    reference: GPT,
    prompts: Sequence[Ids],
    completions: Sequence[Ids],
    *,
    temperature: float,
    tok: AnyTokenizer,
    chat: ChatTemplate | None = None,
    batch_rows: int = 128,
) -> NDArray[np.float64]:
    """Computes log pi(y|x) - log pi_ref(y|x) in nats of each completion; the mean over samples of pi is the KL (k1).

    Both are the distributions that `Engine` samples from with this tokenizer and chat format: `undrawn_ids` are left
    out.
    """
    device = next(policy.parameters()).device
    chat = chat or ChatTemplate.own(tok)
    pad = chat.control.pad
    ratios = []
    for first in range(0, len(prompts), batch_rows):
        part = slice(first, first + batch_rows)
        flat = policy.exact and reference.exact
        batch = CompletionBatch.of(prompts[part], completions[part], pad, device, policy.config.width, flat=flat)
        ours, _ = completion_log_probs(policy, batch, temperature, undrawn_ids(policy, tok, chat))
        theirs, _ = completion_log_probs(reference, batch, temperature, undrawn_ids(reference, tok, chat))
        ratios.append(sum_by_sample((ours - theirs).double(), batch.sample_M, batch.samples).cpu().numpy())
    return np.concatenate(ratios)


def sum_by_sample(values_N: Tensor, sample_N: Tensor, samples: int) -> Tensor:
    """Adds the token values of each sample: N tokens with the index of their sample -> S sums."""
    return torch.zeros(samples, dtype=values_N.dtype, device=values_N.device).index_add(0, sample_N, values_N)
