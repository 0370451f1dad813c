"""Settings of sampling that callers give by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from stategpt.arguments import nearest_hint
from stategpt.errors import InvalidArgument


class SamplingSettings(TypedDict, total=False):
    """Fields of `Sampling` beside temperature, top_k, top_p, seed and forbidden: their meaning is documented there."""

    min_p: float | None
    typical_p: float | None
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: Mapping[int, float]
    bad_words: Sequence[Sequence[int]]
    allowed: Sequence[int] | None
    min_tokens: int
    top_log_probs: int


def checked_settings(settings: Mapping[str, Any]) -> SamplingSettings:
    """Returns the settings. Raises `InvalidArgument` for a name that is none."""
    known = SamplingSettings.__annotations__
    if unknown := [name for name in settings if name not in known]:
        hint = nearest_hint(unknown[0], known, f"the settings are {', '.join(known)}")
        raise InvalidArgument(f"no setting of sampling is named {unknown[0]!r}; {hint}")
    return SamplingSettings(**settings)  # type: ignore[typeddict-item, no-any-return]
