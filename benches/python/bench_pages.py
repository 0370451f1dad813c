"""Attention over pages on a CPU, beside torch's attention over a cache: in one process and in turns.

    python benches/python/bench_pages.py [--rounds 30] [--threads 1] [--only decode,prefill,one] [--out RECORD.json]

Each problem is first checked: both libraries agree. Each round calls every candidate once: a load on the machine then
meets all of them. Seconds of processor time are kept beside those of the clock, since another process's load changes
them less. Torch gets keys and values as `cached_attention` takes them, copied for each branch beforehand.

Legend: R rows, T new tokens a row, H query heads, G key-value heads, D head width, L keys before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stategpt.ops import PagePlan, attend_pages, cached_attention, write_pages

PAGE = 16


@dataclass(frozen=True)
class Problem:
    """R rows of T new tokens over L keys, of which the first `shared` are in common."""

    rows: int
    tokens: int
    seen: int
    shared: int
    heads: int = 9
    groups: int = 3
    width: int = 64


PROBLEMS = {
    "64 samples of a prompt of 512, 32 tokens in": Problem(64, 1, 544, 512),
    "64 samples of a prompt of 1024, 128 tokens in": Problem(64, 1, 1152, 1024),
    "16 streams that share nothing": Problem(16, 1, 512, 0),
    "one stream at 512": Problem(1, 1, 511, 0),
    "one stream at 2048": Problem(1, 1, 2047, 0),
    "one stream at 2048, no groups": Problem(1, 1, 2047, 0, heads=8, groups=8),
    "prompt of 512": Problem(1, 512, 0, 0),
    "chunk of 256 after 1792": Problem(1, 256, 1792, 0),
}


def candidates(problem: Problem, dtype: torch.dtype, threads: int) -> dict[str, Callable[[], Tensor]]:
    """Ours, planned and written beforehand; the plan; the writing; torch's."""
    R, T, L = problem.rows, problem.tokens, problem.seen
    H, G, D = problem.heads, problem.groups, problem.width
    total, shared = L + T, problem.shared // PAGE
    random = torch.Generator().manual_seed(0)
    q_NHD = torch.randn(R * T, H, D, generator=random).to(dtype)
    k_RLGD, v_RLGD = (torch.randn(R, total, G, D, generator=random).to(dtype) for _ in range(2))
    for x_RLGD in (k_RLGD, v_RLGD):
        x_RLGD[:, : problem.shared] = x_RLGD[:1, : problem.shared]
    own = -(-total // PAGE) - shared
    tables = [list(range(shared)) + [shared + row * own + page for page in range(own)] for row in range(R)]
    pool = [torch.zeros(shared + R * own, G, *last, dtype=dtype) for last in ((D, PAGE), (PAGE, D))]
    for row, table in enumerate(tables):
        write_pages(PagePlan([0, total], [0], [table]), k_RLGD[row], v_RLGD[row], *pool)
    first = [row * T for row in range(R + 1)]
    plan = PagePlan(first, [L] * R, tables)
    new = [x_RLGD[:, L:].reshape(R * T, G, D) for x_RLGD in (k_RLGD, v_RLGD)]
    k_RGLD, v_RGLD = (x_RLGD.transpose(1, 2).contiguous() for x_RLGD in (k_RLGD, v_RLGD))
    q_RTHD = q_NHD.view(R, T, H, D)

    def planned() -> Tensor:
        PagePlan(first, [L] * R, tables)
        return q_NHD

    def written() -> Tensor:
        write_pages(plan, *new, *pool)
        return q_NHD

    return {
        "attend_pages": lambda: attend_pages(plan, q_NHD, *pool, threads=threads),
        "cached_attention": lambda: cached_attention(q_RTHD, k_RGLD, v_RGLD, None).reshape(R * T, H, D),
        "write_pages": written,
        "PagePlan": planned,
    }


def measured(calls: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds of a call: median and least, by the clock and of processor time."""
    wall: dict[str, list[float]] = {name: [] for name in calls}
    processor: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for _ in range(rounds + 2):
            for name, call in calls.items():
                begin, used = time.perf_counter(), time.process_time()
                call()
                processor[name].append(1e6 * (time.process_time() - used))
                wall[name].append(1e6 * (time.perf_counter() - begin))
    return {
        name: {
            "median_us": statistics.median(wall[name][2:]),
            "least_us": min(wall[name][2:]),
            "processor_median_us": statistics.median(processor[name][2:]),
            "processor_least_us": min(processor[name][2:]),
        }
        for name in calls
    }


def main() -> None:
    """Runs checks and measurements, and prints the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows: list[dict[str, object]] = []
    for name, problem in PROBLEMS.items():
        if not any(word in name for word in arguments.only.split(",")):
            continue
        for dtype in (torch.float32, torch.bfloat16):
            calls = candidates(problem, dtype, arguments.threads)
            ours, theirs = calls["attend_pages"](), calls["cached_attention"]()
            torch.testing.assert_close(ours, theirs, rtol=0.02 if dtype == torch.bfloat16 else 1e-4, atol=0.01)
            times = measured(calls, arguments.rounds)
            pairs = problem.rows * problem.heads * sum(problem.seen + t + 1 for t in range(problem.tokens))
            least = times["attend_pages"]["processor_least_us"]
            row = {
                "problem": name,
                "dtype": str(dtype),
                "times": times,
                "gflops": 4e-3 * pairs * problem.width / least,
                "cached_over_ours": times["cached_attention"]["processor_least_us"] / least,
            }
            rows.append(row)
            print(
                f"{name:46} {str(dtype)[6:]:9} {row['gflops']:6.1f} GFLOP/s, {row['cached_over_ours']:5.2f} x, ", end=""
            )
            print(", ".join(f"{call} {times[call]['processor_least_us']:.0f} us" for call in calls))
    record = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "versions": {"torch": torch.__version__},
        "threads": arguments.threads,
        "load": os.getloadavg(),
        "rows": rows,
    }
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
