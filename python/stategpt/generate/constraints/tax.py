"""The tax of a constraint: how much probability it takes away from what the model would write.

At each token the model gives some probability to what is allowed; the log of that mass, negated, is what the mask
removed, in nats. 0 is a constraint that only says what the model does anyway; 3 leaves one part in twenty. A high tax
means that the answer is not the model's (arXiv 2603.03305: a small model's accuracy halves under strict JSON).

Legend: T tokens, M rows, V vocabulary, W words of a mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.arguments import Ids
from stategpt.errors import InvalidArgument
from stategpt.generate.constraint import Constraint, Mask
from stategpt.model import GPT, autocast
from stategpt.model.token_batch import pad_sequences
from stategpt.ops import logit_rows
from stategpt.shown_fields import documented, short_repr

if TYPE_CHECKING:
    from stategpt.generate.engine import Engine


@documented
@dataclass(frozen=True)
class Tax:
    """What a constraint removed from one completion."""

    nats: NDArray[np.float32]
    """For each token, minus the log of the probability of all that was allowed there: float32[T]."""
    forced: NDArray[np.bool_]
    """Which tokens were the only ones allowed: bool[T]."""

    __repr__ = short_repr

    @property
    def total(self) -> float:
        """Nats of the whole completion: minus the log of the probability that the model keeps to it unasked."""
        return float(self.nats.sum(dtype=np.float64))

    @property
    def per_token(self) -> float:
        """Nats a token; 0 of none."""
        return self.total / len(self.nats) if len(self.nats) else 0.0

    @property
    def highest(self) -> int:
        """Place of the token where most was removed."""
        if len(self.nats) == 0:
            raise InvalidArgument("a completion without tokens has no highest tax")
        return int(self.nats.argmax())


def allowed_log_mass(logits_MV: Tensor, masks_MW: NDArray[np.uint32]) -> Tensor:
    """Returns the log of the probability that masks allow, at temperature 1. -> float32[M], at most 0."""
    V = logits_MV.shape[1]
    words_MW = torch.from_numpy(masks_MW.astype(np.int64)).to(logits_MV.device)
    ids_V = torch.arange(V, device=logits_MV.device)
    allowed_MV = (words_MW[:, ids_V // 32] >> (ids_V % 32)) & 1 == 1
    log_probs_MV = logits_MV.float().log_softmax(dim=-1)
    return log_probs_MV.masked_fill(~allowed_MV, -torch.inf).logsumexp(dim=-1).clamp(max=0.0)


def measure_tax(engine: Engine, prompt: Ids, ids: Ids, constraint: Constraint) -> Tax:
    """Measures what a constraint removed at each token of a completion, by one more pass over it.

    Args:
        engine: what sampled it.
        prompt: ids of the prompt.
        ids: the completion as it was sampled.
        constraint: in its first state, as `spec.compile` gives it; it is copied.

    Raises:
        ConstraintError: the completion does not satisfy the constraint so far.
    """
    state = constraint.fork()
    masks: list[Mask] = []
    for token in ids.tolist():
        masks.append(state.mask())
        state.advance(token)
    nats = np.zeros(len(ids), dtype=np.float32)
    if len(ids) == 0:
        return Tax(nats, np.zeros(0, dtype=np.bool_))
    with torch.inference_mode(), autocast(engine.precision, engine.model.device):
        hidden_TW = _hidden(engine.model, np.concatenate([prompt, ids[:-1]]), len(ids))
        at_a_time = logit_rows(engine.model.config.vocab_size)
        for first in range(0, len(ids), at_a_time):
            rows = slice(first, first + at_a_time)
            nats[rows] = -allowed_log_mass(engine.model.unembed(hidden_TW[rows]), np.stack(masks[rows])).cpu().numpy()
    return Tax(nats, np.array([_is_single(mask) for mask in masks]))


def _hidden(model: GPT, ids: Ids, last: int) -> Tensor:
    """Hidden states of the last tokens of a text."""
    padded = pad_sequences([ids.astype(np.int64)], 0)
    tokens_N, layout = padded.tensors(model.device)
    return model.hidden(tokens_N, layout)[len(ids) - last : len(ids)]


def _is_single(mask: Mask) -> bool:
    return int(np.unpackbits(np.ascontiguousarray(mask).view(np.uint8)).sum()) == 1
