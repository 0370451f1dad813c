"""The tests' own cases on the device, and a backward pass that gives the same bits a hundred times."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as NotDone
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from attention_rows import outputs
from ours import Ours, case_output
from problems import packed
from timing import Clock

from stategpt.kernels.attention import cases as attention_cases
from stategpt.kernels.paged_attention import cases as paged_cases
from stategpt.ops import SharedPrefix, paged_attention

RUNS = 100
PROCESSES = 12
"""Most of the time is compiling: one kernel for each width and mask."""
REHEARSED = {"attention": ("one_segment", "shared_prefix"), "paged_attention": ("one_key", "prefix_late")}


@dataclass(frozen=True)
class Job:
    """One case on one device."""

    operation: str
    case: str
    device: str
    dtype: torch.dtype


@dataclass(frozen=True)
class Checked:
    """What came out: relative errors beside the largest that is accepted."""

    name: str
    errors: dict[str, tuple[float, float]]
    fault: str = ""

    @property
    def good(self) -> bool:
        """Is each error finite and small enough?"""
        return not self.fault and all(error <= limit for error, limit in self.errors.values())

    def as_json(self) -> dict[str, object]:
        """For the record."""
        errors = {name: [float(f"{error:.2g}"), limit] for name, (error, limit) in self.errors.items()}
        return {"case": self.name, "good": self.good, "errors": errors} | ({"fault": self.fault} if self.fault else {})


def jobs(device: torch.device, dtype: torch.dtype, rehearsal: bool) -> list[Job]:
    """Every case of both operations; a few in a rehearsal."""
    names = {
        "attention": [case.name for case in attention_cases.CASES],
        "paged_attention": [case.name for case in paged_cases.CASES],
    }
    return [
        Job(operation, name, str(device), dtype)
        for operation, of_operation in names.items()
        for name in of_operation
        if not rehearsal or name in REHEARSED[operation]
    ]


def check_all(device: torch.device, dtype: torch.dtype, rehearsal: bool, clock: Clock) -> Iterator[Checked]:
    """All cases, in several processes on a GPU; then the repetitions."""
    wanted = jobs(device, dtype, rehearsal)
    if rehearsal:
        yield from map(check, wanted)
    else:
        yield from _in_processes(wanted, clock)
    yield same_bits(device, dtype, 3 if rehearsal else RUNS)


def _in_processes(wanted: list[Job], clock: Clock) -> Iterator[Checked]:
    # One thread each: the references on the CPU would otherwise use every core from every process.
    context = get_context("spawn")
    workers = ProcessPoolExecutor(PROCESSES, mp_context=context, initializer=torch.set_num_threads, initargs=(1,))
    futures: list[tuple[Job, Future[Checked]]] = [(job, workers.submit(check, job)) for job in wanted]
    for job, future in futures:
        try:
            yield future.result(timeout=max(clock.left, 0.1))
        except NotDone:
            yield Checked(f"{job.operation} {job.case}", {}, f"not done within {clock.seconds:.0f} s")
        except Exception as error:  # a crashed process is a fault of the kernel, to be shown with the others
            yield Checked(f"{job.operation} {job.case}", {}, f"{type(error).__name__}: {error}"[:300])
    workers.shutdown(wait=False, cancel_futures=True)


def check(job: Job) -> Checked:
    """One case against its float64 truth."""
    name = f"{job.operation} {job.case}"
    try:
        return Checked(name, _attention(job) if job.operation == "attention" else _paged(job))
    except Exception as error:  # shown with the others
        return Checked(name, {}, f"{type(error).__name__}: {error}"[:300])


def _attention(job: Job) -> dict[str, tuple[float, float]]:
    case = next(case for case in attention_cases.CASES if case.name == job.case)
    tolerance = next(entry for entry in attention_cases.TOLERANCES if entry.dtype == job.dtype)
    inputs, do = case.inputs(job.dtype), case.direction(job.dtype)
    truth = case.truth(inputs, do)
    q, k, v = (x.detach().to(job.device).requires_grad_() for x in inputs)
    o = case_output(case, q, k, v)
    found = o.detach(), *torch.autograd.grad(o, (q, k, v), do.to(job.device))
    limits = tolerance.values, *(tolerance.gradients,) * 3
    return {
        name: (attention_cases.relative_error(ours, true, truth[-1]), limit)
        for name, ours, true, limit in zip(("o", "dq", "dk", "dv"), found, truth, limits, strict=True)
    }


def _paged(job: Job) -> dict[str, tuple[float, float]]:
    case = next(case for case in paged_cases.CASES if case.name == job.case)
    tolerance = next(entry for entry in paged_cases.TOLERANCES if entry.dtype == job.dtype)
    inputs = case.inputs(job.dtype)
    truth = case.truth(inputs)
    prefix = None if inputs.prefix is None else SharedPrefix(*(x.to(job.device) for x in inputs.prefix))
    o = paged_attention(
        *(x.to(job.device) for x in inputs.tensors()),
        prefix=prefix,
        window=case.window,
        softcap=case.softcap,
        scale=case.scale,
        backend="triton",
    )
    return {"o": (attention_cases.relative_error(o, truth), tolerance.values)}


def same_bits(device: torch.device, dtype: torch.dtype, runs: int) -> Checked:
    """Does the deterministic backward pass repeat itself bit for bit on packed documents with grouped heads?"""
    large = device.type == "cuda"
    problem = packed(2, 4096, 0) if large else packed(1, 24, 0, heads=2, kv_heads=1, head_dim=16)
    ours, inputs = Ours(device), problem.inputs(device, dtype)
    mask = ours.mask(problem)
    first = outputs(ours, mask, inputs)
    differ = sum(
        any(not torch.equal(a, b) for a, b in zip(first, outputs(ours, mask, inputs), strict=True))
        for _ in range(runs - 1)
    )
    return Checked(f"attention, {runs} runs give the same bits", {"runs that differ": (float(differ), 0.0)})
