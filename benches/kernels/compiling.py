"""Compiles candidates in several processes, which leave the results in Triton's cache, and says which are refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures import TimeoutError as NotDone
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from ours import Kernels, compiled, shipped_launches
from problems import Problem, packed
from timing import Clock

from stategpt.kernels._shared.configs import Launch
from stategpt.kernels._shared.gate import MAX_SHARED
from stategpt.kernels.attention.launch import architecture_of

PROCESSES = 14


@dataclass(frozen=True)
class Candidate:
    """What decides how a kernel is compiled."""

    head_dim: int
    prefix: bool
    kernel: str
    launch: Launch


def refusals(
    candidates: set[Candidate], device: torch.device, dtype: torch.dtype, clock: Clock, said: Callable[[str], None]
) -> dict[Candidate, str]:
    """Why each candidate is refused, or "": it does not compile, spills, or takes too much shared memory."""
    said(f"compiling {len(candidates)} candidates")
    found = dict.fromkeys(candidates, "not compiled in time")
    workers = ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn"))
    futures = {workers.submit(_compile, candidate, str(device), dtype): candidate for candidate in candidates}
    try:
        for future in as_completed(futures, timeout=max(clock.left * 0.6, 0.1)):
            found[futures[future]] = f"{error}"[:200] if (error := future.exception()) else future.result()
    except NotDone:
        said("not all candidates were compiled in time")
    workers.shutdown(wait=False, cancel_futures=True)
    return found


def _compile(candidate: Candidate, device: str, dtype: torch.dtype) -> str:
    """Runs a launch on a few tokens, which compiles it. -> why it is refused, or nothing."""
    where, width = torch.device(device), candidate.head_dim
    if candidate.prefix:
        problem = Problem(((64, 64),), 192, head_dim=width, prefix=64)
    else:
        problem = packed(1, 192, 0, head_dim=width)
    shipped = shipped_launches(problem, "prefix" if candidate.prefix else "causal", where, dtype)
    try:
        Kernels(problem, where, dtype).run(candidate.kernel, candidate.launch, shipped)
    except Exception as error:  # what a launch cannot do is found by trying: a failed pass, too much shared memory
        return f"{type(error).__name__}: {error}"[:200]
    made = compiled(candidate.kernel, where)
    if made.n_spills:
        return f"spills {made.n_spills * 4} bytes a thread"
    most = MAX_SHARED[architecture_of(where)]
    return f"takes {made.metadata.shared} bytes of shared memory" if made.metadata.shared > most else ""
