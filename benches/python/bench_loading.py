"""Loading a model of 1 GB beside reading its file: seconds, and the peak of memory.

    python -m pytest benches/python/bench_loading.py --benchmark-columns=median,min,rounds

Both are timed with the file in the page cache, and after its pages were given back (`posix_fadvise`; a disk that caches
itself may still answer at once). `times_read` is the ratio of the medians, `peak_of_weights` the growth of the
process's peak of memory in bytes over the bytes of the weights, measured in a process that does nothing else.
`STATEGPT_LOADING_LAYERS` makes the model smaller.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from stategpt.config import GPTConfig
from stategpt.model import GPT

LAYERS = int(os.environ.get("STATEGPT_LOADING_LAYERS", "26"))
CONFIG = GPTConfig(
    vocab_size=49152, depth=LAYERS, width=1024, heads=16, kv_heads=4, head_dim=64, mlp_width=4096, context_tokens=2048
)
ROUNDS = 5
CHUNK = 8 << 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model of 1 GB in bfloat16; every tensor holds one block of random numbers, as its values do not matter."""
    made = tmp_path_factory.mktemp("loading") / "model"
    with torch.device("meta"):
        model = GPT(CONFIG).bfloat16()
    model.to_empty(device="cpu")
    block = 0.02 * torch.randn(1 << 16).bfloat16()
    with torch.no_grad():
        for parameter in model.parameters():
            flat = parameter.view(-1)
            for piece in flat.split(block.numel()):
                piece.copy_(block[: piece.numel()])
    model.save_pretrained(made)
    del model
    yield made
    (made / "model.safetensors").unlink()


def read_file(path: Path) -> int:
    """Reads a file in pieces into one buffer; returns its bytes."""
    buffer, total = bytearray(CHUNK), 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            total += count
    return total


def forget(path: Path) -> None:
    """Writes a file's pages back and lets the page cache give them up."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


@pytest.mark.parametrize("cache", ["warm", "cold"])
def test_loading_beside_reading(benchmark: Any, folder: Path, cache: str) -> None:
    """Rounds of both are interleaved: the disk and the neighbors are the same for each."""
    path = folder / "model.safetensors"
    reading: list[float] = []

    def setup() -> None:
        if cache == "cold":
            forget(path)
        start = time.perf_counter()
        read_file(path)
        reading.append(time.perf_counter() - start)
        if cache == "cold":
            forget(path)

    benchmark.pedantic(GPT.from_pretrained, args=(folder,), setup=setup, rounds=ROUNDS, warmup_rounds=1)
    median = statistics.median(reading)
    benchmark.extra_info["read_s"] = round(median, 3)
    benchmark.extra_info["times_read"] = round(benchmark.stats.stats.median / median, 2)
    benchmark.extra_info["bytes"] = path.stat().st_size


def test_peak_of_memory(benchmark: Any, folder: Path) -> None:
    """Loads once in a separate process."""

    def load() -> float:
        done = subprocess.run(
            [sys.executable, __file__, str(folder)], capture_output=True, text=True, check=True, timeout=300
        )
        return float(json.loads(done.stdout))

    peak = benchmark.pedantic(load, rounds=1)
    benchmark.extra_info["peak_of_weights"] = round(peak, 3)


def main() -> None:
    """Prints the growth of the peak of memory while the model in a folder is loaded, over the bytes of its weights."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = GPT.from_pretrained(sys.argv[1])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    print(json.dumps(grown / weights))


if __name__ == "__main__":
    main()
