"""Drawing tokens on a CPU: what a step of 16 or 64 rows takes, by what the rows ask of the sampler.

    python benches/python/bench_sampling.py [--rounds 7] [--threads 1] [--only WORD] [--out RECORD.json]

First it checks that rows drawn together are drawn as each alone. Then every case is timed in turns with the others, so
that a load on the machine meets all of them; kept are medians of wall time and of processor time, in milliseconds for
all rows. Logits are those of a language model in shape: a few likely tokens above a long tail. `sort` is what the
simplest sampler does (sort, cumulative sum, top-p), for comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from stategpt.generate import SampledRow, Sampling, draw

SHAPES = [(64, 4096), (16, 49_152), (64, 49_152), (16, 151_936)]
SEEN = 512
"""Ids of prompt and completion that penalties read."""
KINDS: dict[str, list[dict[str, object]]] = {
    "plain": [{}],
    "greedy": [{"temperature": 0}],
    "temperature": [{"temperature": 0.8}],
    "top_k 50": [{"top_k": 50}],
    "top_p 0.9": [{"top_p": 0.9}],
    "top_k 50, top_p 0.9": [{"top_k": 50, "top_p": 0.9}],
    "min_p 0.05": [{"min_p": 0.05}],
    "typical 0.9": [{"typical_p": 0.9}],
    "penalties": [{"repetition_penalty": 1.1, "presence_penalty": 0.2, "frequency_penalty": 0.1}],
    "bias, bad words, forbidden": [
        {"logit_bias": {5: 1.0, 9: -2.0}, "bad_words": [[3, 4], [8]], "forbidden": tuple(range(16))}
    ],
    "5 top log-probs": [{"top_log_probs": 5}],
}


def different(row: int) -> dict[str, object]:
    """Settings that no other row has."""
    share = 0.5 + 0.4 * row / 64
    of_kind: list[dict[str, object]] = [
        {"top_k": 20 + row},
        {"top_p": share},
        {"min_p": 0.1 * share},
        {"temperature": share, "top_p": share, "top_k": 10 + row},
        {"repetition_penalty": 1 + 0.1 * share, "frequency_penalty": 0.1 * share},
        {"typical_p": share},
        {"logit_bias": {row: share}, "presence_penalty": share},
        {"temperature": share},
    ]
    return of_kind[row % len(of_kind)]


def rows_of(
    settings: list[dict[str, object]], count: int, vocabulary: int, is_masked: bool = False
) -> list[SampledRow]:
    """Rows with the settings in turn."""
    generator = np.random.default_rng(0)
    seen = generator.integers(0, vocabulary, (count, SEEN), dtype=np.uint32)
    mask = generator.integers(0, 2**32, -(-vocabulary // 32), dtype=np.uint32) if is_masked else None
    return [
        SampledRow(
            Sampling(**settings[row % len(settings)], seed=row),  # type: ignore[arg-type]
            row,
            0,
            SEEN // 2,
            seen[row, : SEEN // 2],
            seen[row, SEEN // 2 :],
            (0,),
            mask,
        )
        for row in range(count)
    ]


def by_sorting(logits: torch.Tensor) -> None:
    """Top-p the simple way."""
    probs, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
    before = probs.cumsum(dim=-1) - probs
    probs = probs.masked_fill(before >= 0.9, 0.0)
    order.gather(1, torch.multinomial(probs, 1))


def likely_logits(count: int, vocabulary: int) -> torch.Tensor:
    """A long tail with a few likely tokens."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, vocabulary, generator=generator)
    likely = torch.randint(0, vocabulary, (count, 40), generator=generator)
    return logits.scatter_(1, likely, 6 + 3 * torch.randn(count, 40, generator=generator))


def cases(count: int, vocabulary: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    logits = likely_logits(count, vocabulary)
    batches = {name: rows_of(settings, count, vocabulary) for name, settings in KINDS.items()}
    batches["constraint mask"] = rows_of([{}], count, vocabulary, is_masked=True)
    batches["all rows different"] = rows_of([different(row) for row in range(64)], count, vocabulary)
    for name in ("all rows different", "penalties"):
        check(logits, batches[name])
    timed: dict[str, Callable[[], object]] = {
        name: (lambda rows=rows: draw(logits, rows)) for name, rows in batches.items()
    }
    timed["plain with raw log-probs"] = lambda: draw(logits, batches["temperature"]).raw_log_probs_M
    timed["sort top_p 0.9"] = lambda: by_sorting(logits)
    return timed


def check(logits: torch.Tensor, rows: list[SampledRow]) -> None:
    """Rows drawn together are drawn as each alone, bit by bit."""
    together = draw(logits, rows)
    for number in range(0, len(rows), 5):
        alone = draw(logits[number : number + 1], rows[number : number + 1])
        assert alone.ids_M.item() == together.ids_M[number].item()
        assert alone.log_probs_M.item() == together.log_probs_M[number].item()


def measure(timed: dict[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Medians of `rounds` turns, in milliseconds."""
    wall: dict[str, list[float]] = {name: [] for name in timed}
    processor: dict[str, list[float]] = {name: [] for name in timed}
    for turn in range(rounds + 1):
        for name, call in timed.items():
            began, began_cpu = time.perf_counter(), time.process_time()
            call()
            if turn:  # the first one allocates
                wall[name].append(1e3 * (time.perf_counter() - began))
                processor[name].append(1e3 * (time.process_time() - began_cpu))
    return {
        name: {"wall_ms": statistics.median(wall[name]), "processor_ms": statistics.median(processor[name])}
        for name in timed
    }


def main() -> None:
    """Measures and prints; writes a record where one is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found: dict[str, dict[str, dict[str, float]]] = {}
    with torch.inference_mode():
        for count, vocabulary in SHAPES:
            timed = {name: call for name, call in cases(count, vocabulary).items() if options.only in name}
            found[f"{count} x {vocabulary}"] = measured = measure(timed, options.rounds)
            print(f"{count} rows x {vocabulary:,} ids; load {os.getloadavg()[0]:.1f}")
            for name, ms in measured.items():
                print(f"  {name:28} {ms['wall_ms']:8.2f} ms wall {ms['processor_ms']:8.2f} ms processor")
    if options.out:
        record = {
            "command": "bench_sampling.py",
            "threads": options.threads,
            "rounds": options.rounds,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "ms": found,
        }
        options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
