"""What a token is drawn by: the settings of a request, and what one row has at one position.

What happens to the logits of a row, in this order:

1. `logit_bias` is added;
2. repetition, frequency and presence penalties (of the ids seen so far);
3. ids are removed: not in `allowed`, in `forbidden`, the last id of a bad word, an end before `min_tokens`, not in the
   mask of a constraint;
4. division by the temperature; 0 takes the most likely of what is left;
5. truncation, each of what the one before left: top-k, top-p, min-p, typical;
6. the rest is renormalized, and the token is drawn by the uniform number of (seed, stream, sample, position).

Steps 1 to 3 are those of vLLM, step 5 has the order of `transformers` (vLLM has min-p before top-p).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stategpt.arguments import Ids, real, seed_number, several, whole
from stategpt.errors import InvalidArgument
from stategpt.randomness import bits
from stategpt.shown_fields import documented, short_repr


class BadWord(NamedTuple):
    """A sequence of ids of which the last one must not complete it."""

    before: tuple[int, ...]
    last: int


@documented
@dataclass(frozen=True)
class Sampling:
    """Settings by which the tokens of a completion are drawn; the order of the steps is in the module's docstring.

    Raises:
        InvalidArgument: a value of the wrong type or out of its range.
    """

    temperature: float = 1.0
    """Divides the logits; 0 takes the most likely token."""
    top_k: int | None = None
    """Draw from the k most likely tokens only; of equally likely ones the smaller ids."""
    top_p: float | None = None
    """Draw from the fewest most likely tokens that hold this probability (Holtzman et al. 2020, arXiv 1904.09751)."""
    min_p: float | None = None
    """Leave out tokens less likely than this share of the most likely one (Nguyen et al. 2024, arXiv 2407.01082)."""
    typical_p: float | None = None
    """Draw from the fewest tokens that hold this probability, those first whose surprise is nearest to the entropy
    (Meister et al. 2023, arXiv 2202.00666). Not applied at temperature 0, whose token it might leave out."""
    repetition_penalty: float = 1.0
    """Divides positive logits of ids in the prompt and the completion, and multiplies negative ones (Keskar et al.
    2019, arXiv 1909.05858); 1 changes nothing."""
    presence_penalty: float = 0.0
    """Subtracted once from the logit of every id in the completion."""
    frequency_penalty: float = 0.0
    """Subtracted from the logit of an id for each time it is in the completion."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of these ids."""
    bad_words: Sequence[Sequence[int]] = ()
    """Sequences of ids that never occur: where all ids but the last are the newest ones, prompt included, the last is
    not drawn."""
    allowed: Sequence[int] | None = None
    """The only ids that may be drawn; None = all."""
    forbidden: Sequence[int] = ()
    """Ids that are never drawn."""
    min_tokens: int = 0
    """Number of tokens before which no end id is drawn."""
    seed: int = 0
    """First counter of every random number."""
    top_log_probs: int = 0
    """Number of most likely tokens that are reported with each token."""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        _set(self, temperature=real("temperature", self.temperature), seed=seed_number(self.seed))
        if self.temperature < 0:
            raise InvalidArgument(f"temperature is {self.temperature}; give 0 (the most likely token) or more")
        if self.top_k is not None:
            _set(self, top_k=whole("top_k", self.top_k))
            if self.top_k < 1:
                raise InvalidArgument(f"top_k is {self.top_k}; give at least 1, or None for all tokens")
        for name, is_least_given in (("top_p", False), ("min_p", True), ("typical_p", False)):
            self._check_share(name, is_least_given)
        for name in ("repetition_penalty", "presence_penalty", "frequency_penalty"):
            _set(self, **{name: real(name, getattr(self, name))})
        if self.repetition_penalty <= 0:
            raise InvalidArgument(
                f"repetition_penalty is {self.repetition_penalty}; give a number above 0 (1 changes nothing)"
            )
        _set(
            self,
            logit_bias=_bias(self.logit_bias),
            bad_words=_bad_words(self.bad_words),
            allowed=None if self.allowed is None else _ids("allowed", self.allowed),
            forbidden=_ids("forbidden", self.forbidden),
            min_tokens=whole("min_tokens", self.min_tokens),
            top_log_probs=whole("top_log_probs", self.top_log_probs),
        )
        if self.allowed is not None and not self.allowed:
            raise InvalidArgument("allowed is empty, so no token can be drawn; give ids, or None for all")

    def _check_share(self, name: str, may_be_zero: bool) -> None:
        value = getattr(self, name)
        if value is None:
            return
        share = real(name, value)
        if share < 0 or share > 1 or (share == 0 and not may_be_zero):
            least = "of at least 0" if may_be_zero else "above 0"
            raise InvalidArgument(f"{name} is {share}; give a share {least} and at most 1, or None")
        _set(self, **{name: share})

    @property
    def truncates(self) -> bool:
        """Whether a token may be left out for its probability."""
        return (
            self.top_k is not None
            or (self.top_p is not None and self.top_p < 1)
            or bool(self.min_p)
            or (self.typical_p is not None and self.typical_p < 1 and self.temperature > 0)
        )

    @property
    def penalizes_completion(self) -> bool:
        """Whether the presence or the frequency penalty does anything."""
        return self.presence_penalty != 0 or self.frequency_penalty != 0

    @cached_property
    def is_direct(self) -> bool:
        """Whether a token is drawn by the model's distribution, but for a temperature and ids that are never drawn."""
        removes_here = self.allowed is not None or self.bad_words_after or self.min_tokens
        return not (self.truncates or self.changes_logits or removes_here)

    @property
    def changes_logits(self) -> bool:
        """Whether a bias or a penalty does anything."""
        return bool(self.logit_bias) or self.repetition_penalty != 1 or self.penalizes_completion

    @cached_property
    def bias_ids(self) -> NDArray[np.int64]:
        """Ids of `logit_bias`."""
        return np.fromiter(self.logit_bias.keys(), dtype=np.int64, count=len(self.logit_bias))

    @cached_property
    def bias_values(self) -> NDArray[np.float32]:
        """Values of `logit_bias`, in the order of `bias_ids`."""
        return np.fromiter(self.logit_bias.values(), dtype=np.float32, count=len(self.logit_bias))

    @cached_property
    def removed_ids(self) -> NDArray[np.int64]:
        """Ids that are never drawn whatever came before: `forbidden`, and bad words of one id.

        Settings with equal ids share the vector: rows are put together by it.
        """
        single = tuple(word[0] for word in self.bad_words if len(word) == 1)
        return _vector((*self.forbidden, *single) if single else self.forbidden)

    @cached_property
    def allowed_ids(self) -> NDArray[np.int64] | None:
        """`allowed` as a vector without repetitions."""
        return None if self.allowed is None else _vector(self.allowed)

    @cached_property
    def bad_words_after(self) -> Mapping[int, tuple[BadWord, ...]]:
        """Bad words of several ids, by the id before their last one."""
        found: dict[int, list[BadWord]] = {}
        for word in self.bad_words:
            if len(word) > 1:
                found.setdefault(word[-2], []).append(BadWord(tuple(word[:-1]), word[-1]))
        return {token: tuple(words) for token, words in found.items()}

    @cached_property
    def largest_id(self) -> int:
        """The largest id in any setting, -1 without one: it must be below the size of the vocabulary."""
        words = (token for word in self.bad_words for token in word)
        return max((*self.logit_bias, *words, *(self.allowed or ()), *self.forbidden), default=-1)


NO_IDS: Ids = np.empty(0, dtype=np.uint32)
"""A prompt or completion without tokens."""


@documented
@dataclass
class SampledRow:
    """One sequence at the position of its next token."""

    sampling: Sampling
    """Its settings."""
    stream: int = 0
    """Number of its random stream: counter of the uniform number, after the seed."""
    sample: int = 0
    """Which sample of its prompt: the next counter."""
    position: int = 0
    """Number of tokens of the completion before this one: the last counter."""
    prompt: Ids = field(default_factory=lambda: NO_IDS)
    """Ids of the prompt: read by the repetition penalty and bad words."""
    generated: Sequence[int] | Ids = ()
    """Ids of the completion so far: read by penalties, bad words and `min_tokens`. An array is fastest."""
    ends: tuple[int, ...] = ()
    """Ids that end the completion: forbidden before `min_tokens`."""
    mask: NDArray[np.uint32] | None = None
    """The ids that a constraint allows, bit i % 32 of word i // 32 for id i; ids without a bit are not allowed."""

    @cached_property
    def counted(self) -> int:
        """State of the counters before `position`, which never change for a row."""
        return int(bits(self.sampling.seed, self.stream, self.sample))


def _set(target: Sampling, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(target, name, value)


def _ids(name: str, ids: Iterable[Any]) -> Sequence[int]:
    several(name, ids, f"Put it into a list: {name}=[...].")
    if isinstance(ids, range) and (not ids or min(ids[0], ids[-1]) >= 0):
        return ids
    return tuple(whole(f"an id in {name}", token) for token in ids)


@lru_cache(maxsize=256)
def _vector(ids: Sequence[int]) -> NDArray[np.int64]:
    return np.unique(np.array(ids, dtype=np.int64))


def _bad_words(words: Iterable[Any]) -> tuple[tuple[int, ...], ...]:
    several("bad_words", words, "Give a list of sequences of ids.")
    found = []
    for word in words:
        several("a sequence in bad_words", word, "Give a list of sequences of ids: bad_words=[[17, 4], [9]].")
        found.append(tuple(whole("an id in bad_words", token) for token in word))
        if not found[-1]:
            raise InvalidArgument("bad_words holds an empty sequence; give at least one id in each")
    return tuple(found)


def _bias(biases: Any) -> Mapping[int, float]:
    if not isinstance(biases, Mapping):
        raise InvalidArgument(f"logit_bias is of type {type(biases).__name__}; give a mapping from ids to numbers")
    found = {
        whole("an id in logit_bias", token): real("a value of logit_bias", value) for token, value in biases.items()
    }
    if too_large := [value for value in found.values() if abs(value) > _LARGEST_BIAS]:
        raise InvalidArgument(
            f"logit_bias holds {too_large[0]}; values lie within +-{_LARGEST_BIAS:g}. To remove an id use `forbidden`."
        )
    return found


_LARGEST_BIAS = 1e6
"""Far more than any logit, and far from the largest float32."""
