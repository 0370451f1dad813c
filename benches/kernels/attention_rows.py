"""Attention beside its peers: which inputs, the check that all agree, and the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from ceilings import PRODUCT, product_rounds
from ours import Ours
from peers import Library, Refused, reasons
from problems import Problem, causal, packed
from rows import OURS, Goal, Row
from timing import Call, Clock, in_turns
from torch import Tensor

FORWARD_GOALS = (Goal("sdpa-flash", 1.2), Goal("flex", 1.0), Goal("sdpa-cudnn", 0.75, 0.85))
BACKWARD_GOALS = (Goal("sdpa-flash", 1.0, 1.2), Goal("flex", 1.0))
PACKED_GOALS = (Goal("flex", 1.2, 1.4), Goal("varlen_attn", 1.2, 1.4))
WINDOW_GOALS = (Goal("flex", 1.1, 1.3),)
PACKINGS = 8
"""Different packings that the rounds go through."""
AGREEMENT = {torch.bfloat16: 1e-2, torch.float32: 1e-4}
"""Largest |theirs - ours| / |ours| in the 2-norm, of o, dq, dk and dv."""
Tensors = tuple[Tensor, Tensor, Tensor, Tensor]
Made = dict[str, Callable[[], Library]]


@dataclass(frozen=True)
class Measured:
    """One problem with what is asked of it."""

    kind: str
    input: str
    problem: Problem
    forward_goals: tuple[Goal, ...] = ()
    backward_goals: tuple[Goal, ...] = ()
    step_goals: tuple[Goal, ...] = ()
    """Of a whole step with documents nobody saw before: mask, forward and backward pass."""


@dataclass(frozen=True)
class Setting:
    """Where, and how often."""

    device: torch.device
    dtype: torch.dtype
    rounds: int
    peers: Made


def measured(rehearsal: bool) -> list[Measured]:
    """All problems, those first that must not fall to the end of the time."""
    if rehearsal:
        small = {"heads": 2, "kv_heads": 1, "head_dim": 16}
        return [
            Measured("causal d16 GQA", "2 x 20", causal(2, 20, **small), FORWARD_GOALS, BACKWARD_GOALS),
            Measured("documents", "1 x 32", packed(1, 32, 0, **small), step_goals=PACKED_GOALS),
            Measured("window 9", "1 x 24", Problem(((24,),), 24, **small, window=9), WINDOW_GOALS, WINDOW_GOALS),
        ]
    k = 1024
    by_length = {
        T: Measured("causal d128 GQA", f"{16 // T} x {T}k", causal(16 // T, T * k), FORWARD_GOALS, BACKWARD_GOALS)
        for T in (2, 4, 8, 16)
    }
    of_documents = {
        T: Measured("documents of 1k", f"{64 // T} x {T}k", packed(64 // T, T * k, 0), step_goals=PACKED_GOALS)
        for T in (16, 32, 64)
    }
    window = Measured("window 1024", "32k", Problem(((32 * k,),), 32 * k, window=1024), WINDOW_GOALS, WINDOW_GOALS)
    narrow = Measured("causal d64", "4 x 4k", causal(4, 4 * k, heads=32, kv_heads=8, head_dim=64))
    return [
        *(by_length[4], of_documents[16], window, by_length[16], of_documents[64]),
        *(by_length[2], by_length[8], of_documents[32], narrow),
    ]


def rows(setting: Setting, rehearsal: bool, clock: Clock, said: Callable[[str], None]) -> Iterator[Row]:
    """The rows of every problem for which there is time."""
    yield _ceiling(setting, 64 if rehearsal else PRODUCT)
    for item in measured(rehearsal):
        if clock.over:
            yield Row(item.kind, item.input, "", failed={OURS: f"not measured: {clock.seconds:.0f} s were over"})
            continue
        said(f"{item.kind}, {item.input}")
        yield from _rows_of(item, setting)
        if setting.device.type == "cuda":
            torch.cuda.empty_cache()


def _ceiling(setting: Setting, size: int) -> Row:
    row = Row("ceiling: a matrix product", f"{size} x {size} x {size}", "TFLOP/s")
    row.add({"torch": product_rounds(size, setting.device, setting.dtype, setting.rounds)}, 2 * size**3 / 1e9)
    return row


def _rows_of(item: Measured, setting: Setting) -> Iterator[Row]:
    inputs = item.problem.inputs(setting.device, setting.dtype)
    ready, failed = _ready(item.problem, inputs, setting)
    notes = {library.name: library.note for library, _ in ready if library.note}
    forward_flops, backward_flops = item.problem.flops()
    if item.step_goals:
        problems = [item.problem.packed_anew(seed) for seed in range(PACKINGS)]
        row = Row("mask, forward and backward, " + item.kind, item.input, "TFLOP/s", goals=item.step_goals)
        times = {library.name: _step(library, problems, inputs) for library, _ in ready}
        flops = sum(sum(problem.flops()) for problem in problems) / len(problems)
        row.add(in_turns(times, setting.device, setting.rounds, host=True), flops / 1e9)
        row.failed, row.notes = failed, notes
        yield row
        return
    for axis, call, flops, goals in (
        ("forward, ", _forward, forward_flops, item.forward_goals),
        ("backward, ", _backward, backward_flops, item.backward_goals),
    ):
        row = Row(axis + item.kind, item.input, "TFLOP/s", goals=goals, failed=failed, notes=notes)
        times = {library.name: call(library, mask, inputs) for library, mask in ready}
        row.add(in_turns(times, setting.device, setting.rounds), flops / 1e9)
        yield row


def _ready(problem: Problem, inputs: Tensors, setting: Setting) -> tuple[list[tuple[Library, Any]], dict[str, str]]:
    """Libraries that agree with ours, with their masks; and why the others are left out."""
    ours = Ours(setting.device)
    mask = ours.mask(problem)
    expected = outputs(ours, mask, inputs)
    ready: list[tuple[Library, Any]] = [(ours, mask)]
    failed = {}
    for name, make in setting.peers.items():
        try:
            ready.append(agreeing(make, problem, inputs, expected))
        except Refused as refused:
            failed[name] = str(refused)
    return ready, failed


def agreeing(
    make: Callable[[], Library], problem: Problem, inputs: Tensors, expected: list[Tensor]
) -> tuple[Library, Any]:
    """The library and its mask; one that refuses grouped heads gets keys and values repeated. Raises `Refused`."""
    library, limit = make(), AGREEMENT[inputs[0].dtype]
    refused: list[Refused] = []
    for library.repeats in (False, True)[: 1 + (problem.heads != problem.kv_heads)]:
        try:
            worst = _difference(library, problem, inputs, expected)
            if worst <= limit:
                return library, library.mask(problem)
            refused.append(Refused(f"differs from ours by {worst:.1e}, over {limit:.0e}"))
        except Refused as reason:
            refused.append(reason)
    raise refused[0]


def _difference(library: Library, problem: Problem, inputs: Tensors, expected: list[Tensor]) -> float:
    """The largest relative difference of o, dq, dk and dv."""
    with reasons():
        found = outputs(library, library.mask(problem), inputs)
    return max(relative(ours, theirs) for ours, theirs in zip(expected, found, strict=True))


def outputs(library: Library, mask: Any, inputs: Tensors) -> list[Tensor]:
    """o, dq, dk, dv."""
    q, k, v, do = inputs
    o = library.attend(q, k, v, mask)
    return [o.detach(), *torch.autograd.grad(o, (q, k, v), do)]


def relative(expected: Tensor, found: Tensor) -> float:
    """|found - expected| / |expected|; NaN stays."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def _forward(library: Library, mask: Any, inputs: Tensors) -> Call:
    q, k, v, _ = inputs
    return Call(lambda _: library.attend(q, k, v, mask))


def _backward(library: Library, mask: Any, inputs: Tensors) -> Call:
    q, k, v, do = inputs
    return Call(lambda o: torch.autograd.grad(o, (q, k, v), do), lambda i: library.attend(q, k, v, mask))


def _step(library: Library, problems: list[Problem], inputs: Tensors) -> Call:
    q, k, v, do = inputs

    def step(problem: Problem) -> None:
        torch.autograd.grad(library.attend(q, k, v, library.mask(problem)), (q, k, v), do)

    return Call(step, lambda i: problems[i % len(problems)])
