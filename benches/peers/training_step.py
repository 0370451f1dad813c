"""Seconds of a training step beside plain PyTorch models and `transformers`, on one thread, taking turns.

    python benches/peers/training_step.py --rounds 9 --write benches/records/NAME.json

A step is forward and backward pass, clipping to a norm of 1 and fused AdamW. Ours is the loop's own `_step`, which lays
out its batch and checks it; the others get their tensors ready-made. In every round each runs some steps, forth and
back; what counts is the ratio within a round, of the thread's CPU time, for a machine that others use too.
The plain Qwen3 and that of `transformers` have our weights: their first losses must be ours.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import torch
from plain_models import PlainGPT2, PlainQwen3
from torch import Tensor, nn

from stategpt.config import GPTConfig, OptimConfig
from stategpt.model import GPT, TokenBatch, autocast
from stategpt.ops import TensorLayout
from stategpt.recipes import RECIPES
from stategpt.train import LoopSettings, LoopState, NextTokenTask, build_optimizer
from stategpt.train.loop import _step

ROWS = {"tiny": ("tiny_cpu", 8), "small": ("small_cpu", 16)}
ROW_TOKENS = 128
DOCUMENT_TOKENS = (10, 80)
RATE = 1e-4
Step = Callable[[], float]
"""Takes one optimizer step and returns the loss before it."""


class Problem:
    """One batch of random tokens, the same for everyone: full rows, or rows packed from documents."""

    def __init__(self, shape: GPTConfig, rows: int, packed: bool) -> None:
        generator = np.random.default_rng(0)
        self.tokens = generator.integers(0, shape.vocab_size, rows * ROW_TOKENS + 1)
        starts = np.concatenate([row * ROW_TOKENS + _starts(generator, packed) for row in range(rows)])
        segment = np.zeros(rows * ROW_TOKENS, dtype=np.int32)
        segment[starts] = starts
        segment = np.maximum.accumulate(segment)
        position = np.arange(len(segment), dtype=np.int32) - segment
        self.vectors = (segment, segment, segment, position)
        layout = self.layout()
        self.targets = torch.from_numpy(self.tokens[1:].copy())
        self.index = torch.arange(len(segment))
        self.tokens_BT = torch.from_numpy(self.tokens[:-1].copy()).view(rows, ROW_TOKENS)
        self.position_BT = torch.from_numpy(position.astype(np.int64)).view(rows, ROW_TOKENS)
        self.mask = layout.mask_R1TT() if packed else None

    def layout(self) -> TensorLayout:
        """The layout, made again: a stage's step does so."""
        return TensorLayout(torch.from_numpy(np.stack(self.vectors)), ROW_TOKENS)

    def batch(self) -> TokenBatch:
        """The batch, made again."""
        return TokenBatch(self.tokens_BT.view(-1), self.layout(), self.index, self.targets)


def _starts(generator: np.random.Generator, packed: bool) -> np.ndarray:
    if not packed:
        return np.zeros(1, dtype=np.int64)
    starts = np.cumsum([0, *generator.integers(*DOCUMENT_TOKENS, size=ROW_TOKENS // DOCUMENT_TOKENS[0])])
    return starts[starts < ROW_TOKENS]


class _Batches:
    steps = 10**6

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def updates(self, step: int) -> Iterator[list[TokenBatch]]:
        yield [self.problem.batch()]


def ours(model: GPT, problem: Problem, precision: Any) -> Step:
    """A step of the loop."""
    optim = OptimConfig(learning_rate=RATE, weight_decay=0.1, flat_fraction=1.0)
    task, optimizer = NextTokenTask("bench", model, _Batches(problem)), build_optimizer(model, optim)
    settings = LoopSettings(optim, Path(tempfile.gettempdir()), "", precision)
    state = LoopState()
    return lambda: _step(task, model, optimizer, settings, state)["loss_nats_per_token"]


def theirs(model: nn.Module, loss: Callable[[], Tensor], precision: Any) -> Step:
    """A step as a training script writes it, with fused AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step() -> float:
        with autocast(precision, "cpu"):
            total = loss()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(total.detach())

    return step


def contestants(shape: GPTConfig, problem: Problem, precision: Any) -> dict[str, Step]:
    """Everyone's step on the same batch; models of equal architecture with equal weights."""
    torch.manual_seed(0)
    model = GPT(shape)
    plain, nano = PlainQwen3(shape), PlainGPT2(shape)
    _copy(model, plain)
    full = (problem.tokens_BT, problem.position_BT, problem.mask, problem.index, problem.targets)
    steps = {
        "stategpt": ours(model, problem, precision),
        "plain Qwen3": theirs(plain, lambda: plain.loss(*full), precision),
        "nanoGPT": theirs(nano, lambda: nano.loss(full[0], *full[2:]), precision),
    }
    try:
        import transformers
    except ImportError:
        print("transformers is not installed: left out")
        return steps
    with tempfile.TemporaryDirectory() as folder:
        GPT_copy = GPT(shape)
        GPT_copy.load_state_dict(model.state_dict())
        GPT_copy.save_pretrained(folder)
        other = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()

    def loss() -> Tensor:
        mask = None if problem.mask is None else problem.mask
        hidden = other.model(
            input_ids=problem.tokens_BT, position_ids=problem.position_BT, attention_mask=mask, use_cache=False
        )
        logits = other.lm_head(hidden.last_hidden_state).float()
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), problem.targets)

    return {**steps, "transformers": theirs(other, loss, precision)}


@torch.no_grad()
def _copy(model: GPT, plain: PlainQwen3) -> None:
    plain.embed.weight.copy_(model.embed_tokens.weight)
    plain.norm.weight.copy_(model.norm.weight)
    for mine, other in zip(model.layers, plain.blocks, strict=True):
        attention, mlp = mine.self_attn, mine.mlp
        other.norm1.weight.copy_(mine.input_layernorm.weight)
        other.norm2.weight.copy_(mine.post_attention_layernorm.weight)
        other.q_norm.weight.copy_(attention.q_norm.weight)
        other.k_norm.weight.copy_(attention.k_norm.weight)
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        other.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
        other.out.weight.copy_(attention.o_proj.weight)
        other.gate_up.weight.copy_(torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]))
        other.down.weight.copy_(mlp.down_proj.weight)


def measure(steps: dict[str, Step], rounds: int, repeats: int) -> dict[str, dict[str, list[float]]]:
    """CPU and wall seconds of a step of everyone, by round; each round begins with another one."""
    found: dict[str, dict[str, list[float]]] = {name: {"cpu": [], "wall": []} for name in steps}
    names = list(steps)
    for number in range(rounds):
        turn = number % len(names)
        order = names[turn:] + names[:turn]
        for name in order if number % 2 == 0 else reversed(order):
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(repeats):
                steps[name]()
            found[name]["cpu"].append((time.process_time() - cpu) / repeats)
            found[name]["wall"].append((time.perf_counter() - wall) / repeats)
    return found


def case(name: str, packed: bool, precision: str, rounds: int, repeats: int) -> dict[str, Any]:
    """One shape, layout and number format: equality first, then seconds and ratios."""
    recipe_name, rows = ROWS[name]
    shape = replace(RECIPES[recipe_name]().model, context_tokens=ROW_TOKENS)
    problem = Problem(shape, rows, packed)
    steps = contestants(shape, problem, precision)
    first = {who: step() for who, step in steps.items()}
    for who, loss in first.items():
        if who != "nanoGPT" and abs(loss - first["stategpt"]) > (1e-4 if precision == "float32" else 3e-2):
            raise SystemExit(f"{who} has a loss of {loss}, ours is {first['stategpt']}: not the same computation")
    found = measure(steps, rounds, repeats)
    mine = found["stategpt"]
    ratios = {
        who: {
            kind: [round(q, 3) for q in quantiles([t / o for t, o in zip(seconds[kind], mine[kind], strict=True)], n=4)]
            for kind in ("cpu", "wall")
        }
        for who, seconds in found.items()
        if who != "stategpt"
    }
    milliseconds = {
        who: {kind: round(1e3 * median(values), 2) for kind, values in seconds.items()}
        | {"least_cpu": round(1e3 * min(seconds["cpu"]), 2)}
        for who, seconds in found.items()
    }
    row = {"shape": name, "packed": packed, "precision": precision, "ms": milliseconds, "theirs_over_ours": ratios}
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    """Measures the chosen cases and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="rounds (default 9)")
    parser.add_argument("--repeats", type=int, default=3, help="steps of each in a round (default 3)")
    parser.add_argument("--shapes", default="tiny,small", help="tiny, small")
    parser.add_argument("--layouts", default="rows,packed", help="rows, packed")
    parser.add_argument("--precisions", default="float32,bfloat16", help="float32, bfloat16")
    parser.add_argument("--write", type=Path, help="file of the record")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        case(shape, layout == "packed", precision, chosen.rounds, chosen.repeats)
        for shape in chosen.shapes.split(",")
        for layout in chosen.layouts.split(",")
        for precision in chosen.precisions.split(",")
    ]
    if chosen.write:
        machine = {"processor": _processor(), "python": platform.python_version(), "torch": torch.__version__}
        record = {"bench": "training_step", "machine": machine, "threads": 1, "rounds": chosen.rounds, "rows": rows}
        chosen.write.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
