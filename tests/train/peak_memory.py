"""Measures the peak memory of training steps in a process of this file, beyond what its imports took.

python tests/train/peak_memory.py '{"model": {...}, "rows": 8, "row_tokens": 128, ...}'     prints bytes
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def peak_bytes(case: dict[str, Any]) -> int:
    """Runs the steps of `case` in a process and returns the growth of its resident memory at its highest."""
    command = [sys.executable, __file__, json.dumps(case)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise LookupError(name)


def _measure(case: dict[str, Any]) -> int:
    import torch

    from stategpt.config import GPTConfig

    torch.set_num_threads(1)
    # Code and buffers of the libraries come with their first use: some steps of a small model first.
    small = GPTConfig(vocab_size=600, depth=1, width=64, heads=2, kv_heads=1, head_dim=32, mlp_width=96)
    _train(_prepared(small, case), {**case, "rows": 2, "row_tokens": 64, "trained": ""})
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM begins again
    before = _status("VmRSS")
    model = _prepared(GPTConfig(**case["model"]), case)
    if case.get("lora"):  # of the steps, not of the float32 weights that are quantized
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    _train(model, case)
    return _status("VmHWM") - before


def _prepared(config: Any, case: dict[str, Any]) -> Any:
    """A model, with the adapters of the case on weights in their format."""
    import torch

    from stategpt.model.lora import lora
    from stategpt.model.quantize import quantize

    model, given = GPT_of(config), case.get("lora")
    if not given:
        return model
    if given["base"] == "bfloat16":
        model.to(torch.bfloat16)
    elif given["base"] != "float32":
        quantize(model, given["base"])
    return lora(model, given["rank"], targets=given["targets"])


def GPT_of(config: Any) -> Any:  # noqa: N802
    """A model, whose class needs torch."""
    from stategpt.model import GPT

    return GPT(config)


def _train(model: Any, case: dict[str, Any]) -> None:
    """Two steps of the loop: the optimizer's state is there in the second."""
    import torch

    from stategpt.config import OptimConfig
    from stategpt.model import TokenBatch
    from stategpt.ops import TensorLayout
    from stategpt.packing import Layout
    from stategpt.train import LoopSettings, LoopState, NextTokenTask, build_optimizer
    from stategpt.train.loop import _step

    rows, row_tokens = case["rows"], case["row_tokens"]
    lengths = [row_tokens - 3] * rows if case["packed"] else [row_tokens] * rows

    class Batches:
        """Random tokens, all of them targets."""

        steps = 2

        def updates(self, step: int) -> Iterable[Sequence[TokenBatch]]:
            """One update."""
            batches = []
            for _ in range(case.get("micro_batches", 1)):
                tokens = torch.randint(model.config.vocab_size, (rows * row_tokens,))
                layout = TensorLayout.of(Layout.padded(lengths, row_tokens))
                batches.append(TokenBatch(tokens, layout, torch.arange(len(tokens)), tokens))
            yield batches

    if case.get("trained") == "last":
        model.requires_grad_(False)
        model.layers[-1].requires_grad_(True)
    optim = OptimConfig(learning_rate=1e-3, optimizer=case.get("optimizer", "adamw"))
    weights = case.get("weights", "float32")
    optimizer = build_optimizer(model, optim, weights)
    model.recomputes_blocks = case.get("gradient_checkpointing", False)
    settings = LoopSettings(optim, Path(), "", precision=case.get("precision", "float32"), weights=weights)
    task, state = NextTokenTask("peak", model, Batches()), LoopState()
    for _ in range(2):
        _step(task, model, optimizer, settings, state)
        state.step += 1


if __name__ == "__main__":
    print(_measure(json.loads(sys.argv[1])))
