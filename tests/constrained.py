"""Outputs of constraints with random logits, and the tokenizers they are tried with."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stategpt import Tokenizer
from stategpt.generate.constraints import MatchedConstraint, Spec

SPECIAL = ("<|endoftext|>", "<|user|>", "<|im_end|>", "<|end|>", "</think>", "<tool_call>", "</tool_call>")
PADDING = 29


@cache
def plain_tokenizer() -> Tokenizer:
    """Byte-level, with control tokens; large enough that tokens hold several characters of JSON."""
    texts = [Path(json.__file__).read_text(), 'Grüße 中文 {"name": "x", "id": 1} [true, null, "a", "b"], ' * 20]
    return Tokenizer.train(texts, vocab_size=700, special_tokens=list(SPECIAL))


def token_ids(mask: np.ndarray) -> list[int]:
    """The ids that a mask allows."""
    found: list[int] = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little")).tolist()
    return found


def start(spec: Spec, tok: Any = None, ends: Sequence[int] = ()) -> MatchedConstraint:
    """A constraint for a tokenizer whose model has more ids than it has tokens."""
    tok = plain_tokenizer() if tok is None else tok
    ends = ends or (tok.special_tokens["<|endoftext|>"], tok.special_tokens["<|im_end|>"])
    made = spec.compile(tok, tok.vocab_size + PADDING, ends)
    assert isinstance(made, MatchedConstraint)
    return made


Look = Callable[[MatchedConstraint, list[int]], None]


def random_output(
    constraint: MatchedConstraint, seed: int, most: int = 300, look: Look | None = None, hurry: int = 60
) -> bool:
    """Advances by random allowed tokens, as a model without knowledge would; true if it ended.

    After `hurry` tokens it prefers tokens that close something, so that outputs end.
    """
    chance = random.Random(seed)
    vocabulary = constraint.vocabulary
    ends = set(vocabulary.ends)
    for number in range(most):
        for token in constraint.forced().tolist():
            constraint.advance(token)
        allowed = token_ids(constraint.mask())
        if look is not None:
            look(constraint, allowed)
        closing = [token for token in allowed if token in ends]
        if closing and (number > hurry or chance.random() < 0.5):
            constraint.advance(closing[0])
            return True
        if number > hurry:
            short = [token for token in allowed if vocabulary.tokens[token][:1] in (b'"', b"]", b"}", b"0")]
            allowed = short or allowed
        token = chance.choice(allowed)
        constraint.advance(token)
        if token in ends:
            return True
    return False


def accepts(spec: Spec, text: str, tok: Any = None, ends: Sequence[int] = ()) -> bool:
    """Whether a text is a complete output: by forced tokens where there are some, else by the longest allowed."""
    constraint = start(spec, tok, ends)
    raw = text.encode()
    done = 0
    while done < len(raw):
        forced = constraint.forced().tolist()
        allowed = forced[:1] or token_ids(constraint.mask())
        fitting = [token for token in allowed if constraint.vocabulary.tokens[token]]
        fitting = [token for token in fitting if raw.startswith(constraint.vocabulary.tokens[token], done)]
        if not fitting:
            return False
        token = max(fitting, key=lambda held: len(constraint.vocabulary.tokens[held]))
        constraint.advance(token)
        done += len(constraint.vocabulary.tokens[token])
    return constraint.complete
