"""What sampling returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stategpt.arguments import Ids
from stategpt.model.kept_sets import KeptSet
from stategpt.shown_fields import documented, short_repr

from .constraint import ThoughtsUsed
from .request import NO_LOG_PROBS, Reason, Top


class Usage(NamedTuple):
    """Tokens of one completion."""

    prompt_tokens: int = 0
    """Tokens of its prompt."""
    cached_tokens: int = 0
    """Tokens of the prompt whose keys and values were known before the call."""
    completion_tokens: int = 0
    """Tokens of the completion."""


@documented
@dataclass(frozen=True)
class Completion:
    """One sample of one prompt."""

    prompt_index: int
    """Which of the prompts it continues."""
    sample_index: int
    """Which of that prompt's samples it is, from 0."""
    ids: Ids
    """The tokens as they were sampled, with the final end of text if there is one: what training must use."""
    log_probs: NDArray[np.float32]
    """Log-probability of each token under the distribution it was drawn from: temperature, forbidden ids, top-k and
    top-p applied (at temperature 0, that of temperature 1). 0 for a token that a constraint forced."""
    ended: bool
    """The model ended it: by end of text, or by another end id of its folder (`GPT.special_ids`)."""
    reason: Reason
    """"end": an end id; "stop": a stop string or stop id; "length": max_tokens, or the context was full; "constraint":
    nothing may follow."""
    text: str
    """The tokens as text, without the end id and cut before the stop string."""
    raw_log_probs: NDArray[np.float32] = field(default_factory=lambda: NO_LOG_PROBS)
    """With `raw_log_probs`: of each token at temperature 1 with nothing removed; nan for one that a constraint
    forced."""
    top: tuple[Top, ...] = ()
    """With `top_log_probs`: for each token the ids of the most likely ones and their log-probabilities."""
    kept: tuple[KeptSet, ...] = ()
    """With `kept_sets`: the ids that each token was drawn among, for `model.kept_sets.log_probs_within`."""
    prompt_log_probs: NDArray[np.float32] | None = None
    """With `prompt_log_probs`: of each token of the prompt given those before it, nan for the first."""
    usage: Usage = field(default_factory=Usage)
    """Numbers of tokens."""
    complete: bool | None = None
    """With a constraint: whether the text is a whole output; False where it was cut. None without a constraint."""
    thoughts: ThoughtsUsed | None = None
    """With thoughts before the output (`constraints.think_then`): their tokens, and what ended them."""

    __repr__ = short_repr


@documented
@dataclass(frozen=True)
class Piece:
    """What one step added to one sample."""

    prompt_index: int
    """Which of the prompts it continues."""
    sample_index: int
    """Which of that prompt's samples it is, from 0."""
    text: str
    """Text that is now certain; the pieces of a sample join to its completion's text."""
    ids: Ids
    """Tokens that were added."""
    log_probs: NDArray[np.float32]
    """Of each token under the distribution it was drawn from."""
    raw_log_probs: NDArray[np.float32]
    """With `raw_log_probs`: of each token at temperature 1 with nothing removed."""
    top: tuple[Top, ...] = ()
    """The most likely tokens at each position, with `top_log_probs`."""
    reason: Reason | None = None
    """Why the sample ended, in its last piece."""
    complete: bool | None = None
    """In the last piece, with a constraint: whether the text is a whole output."""
    thoughts: ThoughtsUsed | None = None
    """In the last piece, with thoughts before the output: their tokens, and what ended them."""

    __repr__ = short_repr
