"""Chooses the implementation of attention, and logs each choice once."""

from __future__ import annotations

import logging
from functools import cache
from typing import Literal, get_args

from stategpt.errors import InvalidArgument

from .backend import MAX_HEAD_DIM, constant_when_traced, triton_obstacle

Backend = Literal["auto", "triton", "sdpa", "blockwise", "reference"]

_log = logging.getLogger(__name__)


@constant_when_traced
def choose(backend: str, device: str, dtype: str, head_dim: int, softcap: bool, sdpa_is_small: bool) -> str:
    """The implementation's name; a compiled graph keeps the choice made while it was traced.

    `sdpa_is_small`: torch's attention would take little memory for pairs of tokens.
    Raises `InvalidArgument` for a backend that is unknown or cannot do what is asked.
    """
    chosen, reason = _decide(backend, device, dtype, head_dim, softcap, sdpa_is_small)
    _log_once(f"attention: {chosen} on {device} for {dtype} ({reason})")
    return chosen


def _decide(
    backend: str, device: str, dtype: str, head_dim: int, softcap: bool, sdpa_is_small: bool
) -> tuple[str, str]:
    """The implementation and the reason."""
    if backend not in get_args(Backend):
        known = ", ".join(get_args(Backend))
        raise InvalidArgument(f"attention backend {backend!r} is not one of {known}; leave it at 'auto'")
    if backend != "auto":
        obstacle = _obstacle(backend, device, dtype, head_dim, softcap)
        if obstacle is not None:
            raise InvalidArgument(f"attention backend {backend!r} cannot run: {obstacle}; leave it at 'auto'")
        return backend, "requested"
    why_not: str | None = "no NVIDIA GPU"  # elsewhere only Triton's interpreter runs, for tests
    if device.startswith("cuda"):
        why_not = _obstacle("triton", device, dtype, head_dim, softcap)
    if why_not is None:
        return "triton", "fastest on this device"
    if softcap:
        return "blockwise", f"triton: {why_not}; sdpa: no softcap"
    if not sdpa_is_small:
        return "blockwise", f"triton: {why_not}; sdpa: too much memory for all pairs of tokens"
    return "sdpa", f"triton: {why_not}"


def _obstacle(backend: str, device: str, dtype: str, head_dim: int, softcap: bool) -> str | None:
    """Why an implementation cannot do what is asked; None where it can."""
    if backend == "sdpa" and softcap:
        return "torch's attention has no softcap"
    if backend != "triton":
        return None
    if head_dim % 8 or not 8 <= head_dim <= MAX_HEAD_DIM:
        return f"its head widths are the multiples of 8 up to {MAX_HEAD_DIM}, not {head_dim}"
    return triton_obstacle(device, dtype)


@cache
def _log_once(message: str) -> None:
    """Cached, so that each choice is logged once."""
    _log.info(message)
