"""A training step of a model of SmolLM2-135M's shape with random weights: adapters against all weights.

    python -m pytest benches/python/bench_lora.py --benchmark-columns=median,iqr,rounds

Each runs in a process of its own; its extra info has `trained_share`, `peak_mib` (resident memory at its highest, torch
included), `checkpoint_mib` and `tokens_per_s`. ROWS x ROW_TOKENS tokens a step, float32.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

import pytest

ROWS, ROW_TOKENS, STEPS = 2, 128, 3
KINDS = ("full", "last_2_layers", "lora", "dora", "lora on bfloat16", "lora on int8", "lora on nf4")

STEP = """
import json, resource, sys, time
from pathlib import Path
import numpy as np, torch
import stategpt as sg
from stategpt.config import GPTConfig, OptimConfig
from stategpt.model.quantize import quantize
from stategpt.model.trained_parts import train_only
from stategpt.ops import TensorLayout, logit_rows, next_token_loss_by_chunks
from stategpt.packing import Layout
from stategpt.train.checkpoint import LoopState, save_checkpoint
from stategpt.train.optimizers import build_optimizer, clip_gradients

kind, rows, tokens, steps, folder = sys.argv[1], *map(int, sys.argv[2:5]), Path(sys.argv[5])
torch.manual_seed(0)
shape = GPTConfig(vocab_size=49152, width=576, depth=30, heads=9, kv_heads=3, head_dim=64, mlp_width=1536,
                  context_tokens=2048, qk_norm=False)
model = sg.GPT(shape)
parameters = model.parameter_count
if kind == "full" or kind.endswith("layers"):
    train_only(model, "all" if kind == "full" else kind)
else:
    base = kind.rpartition(" ")[2]
    if base == "bfloat16":
        model.to(torch.bfloat16)
    elif base in ("int8", "nf4"):
        quantize(model, base)
    sg.lora(model, rank=8, dora=kind == "dora")
trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
optimizer = build_optimizer(model, OptimConfig(learning_rate=1e-4))
ids = torch.from_numpy(np.random.default_rng(0).integers(0, shape.vocab_size, (2, rows * tokens)))
layout = TensorLayout.of(Layout.packed([[tokens]] * rows, tokens))
seconds = []
for _ in range(steps):
    began = time.perf_counter()
    hidden = model.hidden(ids[0], layout)
    loss = next_token_loss_by_chunks(model.unembed, hidden, ids[1], logit_rows(shape.vocab_size))
    (loss / (rows * tokens)).backward()
    clip_gradients(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    seconds.append(time.perf_counter() - began)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
path = save_checkpoint(folder, model, optimizer, LoopState(steps), "")
held = sum(each.stat().st_size for each in path.iterdir()) / 2**20
print(json.dumps({"seconds": min(seconds[1:] or seconds), "peak_mib": round(peak), "checkpoint_mib": round(held, 1),
                  "trained_share": trained / parameters}))
"""


def measured(kind: str) -> dict[str, float]:
    """Step of one kind, in another process."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = map(str, (ROWS, ROW_TOKENS, STEPS))
        done = subprocess.run(
            [sys.executable, "-c", STEP, kind, *sizes, folder], capture_output=True, text=True, check=True
        )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_training_step_of_135_million_weights(benchmark, kind):
    found = benchmark.pedantic(measured, args=(kind,), rounds=1)
    benchmark.extra_info.update(found, tokens_per_s=round(ROWS * ROW_TOKENS / found["seconds"], 1))
