"""Samples of many prompts through the scheduler: requests enter as others leave, so no sample waits for a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from stategpt.generate import Engine, Event, Handle, Request


@dataclass(frozen=True)
class Wanted:
    """Samples of one prompt that are wanted: `count` from `first` on."""

    request: Request
    """Of the prompt, with any number of samples."""
    first: int
    count: int
    label: Any
    """What the caller knows the prompt by."""


@dataclass(frozen=True)
class Sampled:
    """A finished sample, or why the samples of a request that are not finished failed."""

    label: Any
    sample: int
    event: Event
    unfinished: tuple[int, ...] = ()
    """Samples that the error ended."""


def sampled(engine: Engine, wanted: Iterator[Wanted]) -> Iterator[Sampled]:
    """Runs requests; yields samples as they finish. `wanted` is read as there is room, twice as many as run at a time.

    However it ends, nothing is left in the scheduler.
    """
    scheduler = engine.scheduler
    running: dict[int, tuple[Handle, Wanted, set[int]]] = {}
    try:
        while True:
            while len(running) < 2 * engine.batch_rows and scheduler.accepts:
                following = next(wanted, None)
                if following is None:
                    break
                entered = replace(following.request, n=following.count, first_sample=following.first, incremental=False)
                handle = scheduler.submit(entered)
                samples = set(range(following.first, following.first + following.count))
                running[handle.number] = (handle, following, samples)
            if not running:
                return
            for event in scheduler.step():
                _, entry, left = running[event.handle.number]
                sample = entry.first + event.sample
                if event.error is not None:
                    yield Sampled(entry.label, -1, event, tuple(sorted(left)))
                    continue
                left.discard(sample)
                yield Sampled(entry.label, sample, event)
            running = {number: entry for number, entry in running.items() if not entry[0].done}
    finally:
        for handle, _, _ in running.values():
            scheduler.cancel(handle)


def missing_runs(there: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Runs of samples that are not there, each as (first, count).

    >>> list(missing_runs([False, True, False, False]))
    [(0, 1), (2, 2)]
    """
    first = 0
    for is_there, run in groupby(there):
        count = len(list(run))
        if not is_there:
            yield first, count
        first += count


def result_of(event: Event, *, tokens: bool) -> Mapping[str, Any]:
    """Text, reason, number of tokens and log-probability of a finished sample; with `tokens` those of each token."""
    log_probs = np.nan_to_num(event.raw_log_probs.astype(np.float64), nan=0.0)  # forced by a constraint
    found: dict[str, Any] = {
        "text": event.text,
        "stop_reason": event.finished,
        "tokens": len(event.ids),
        "log_prob": float(log_probs.sum()),
    }
    if tokens:
        found |= {"token_ids": event.ids.tolist(), "token_log_probs": log_probs.tolist()}
    return found
