"""Decoding one stream on a CPU: int8 weights and plain ones, beside transformers, in one process and in turns.

    python benches/python/bench_decode.py FOLDER_OR_GGUF [--rounds 5] [--threads 2] [--out RECORD.json]

FOLDER_OR_GGUF is a model that `GPT.from_pretrained` reads; transformers gets the same weights from a folder that is
written for it. Each round takes a few steps of every candidate, so that a load on the machine meets all of them. Two
numbers are kept of each step: seconds, and seconds of processor time, which another process's load changes less.

First it checks that greedy continuations with int8 weights are what transformers takes in float32 with the same
dequantized weights: each token is its most likely one, given those before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from torch import nn

from stategpt.generate.pages import PagedSequence, PagedStep, PagePool, pages_of
from stategpt.model import GPT
from stategpt.model.quantize import QuantizedEmbedding, QuantizedLinear, quantize

Stream = tuple[Callable[[], None], Callable[[], None]]
"""Starts a stream with its prompt; takes one more step of it."""
PROMPT, WARM, STEPS = 32, 4, 24
EQUAL_PROMPTS, EQUAL_TOKENS = 20, 64


def ours(model: GPT) -> Stream:
    """A stream of this package, over pages as the engine has it."""
    pool = PagePool(model.config, pages=pages_of(PROMPT + WARM + STEPS), dtype=model.dtype)
    state: list[PagedSequence] = []

    def start() -> None:
        for row in state:
            row.close()
        state[:] = [PagedSequence(pool)]
        stepped(model, state, torch.arange(1, PROMPT + 1)[None])

    def step() -> None:
        model.unembed(stepped(model, state, torch.tensor([[5]]))).argmax(-1)

    return start, torch.inference_mode()(step)


@torch.inference_mode()
def stepped(model: GPT, rows: list[PagedSequence], tokens_BT: torch.Tensor) -> torch.Tensor:
    """Hidden states of the last of the next tokens of each sequence. -> [B, W]."""
    step = PagedStep(rows[0].pool, [(row, tokens_BT.shape[1]) for row in rows])
    hidden_NW = model.step(tokens_BT.reshape(-1), step.position_N, step)
    step.commit()
    return hidden_NW[step.last_R]


def theirs(folder: str, dtype: torch.dtype) -> Stream:
    """A stream of transformers."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    state: list[transformers.DynamicCache] = []

    def call(tokens: torch.Tensor) -> None:
        with torch.inference_mode():
            model(tokens, past_key_values=state[0], use_cache=True, logits_to_keep=1).logits[:, -1].argmax(-1)

    def start() -> None:
        state[:] = [transformers.DynamicCache()]
        call(torch.arange(1, PROMPT + 1)[None])

    return start, lambda: call(torch.tensor([[5]]))


def weight_bytes(model: GPT) -> int:
    """Bytes of weights that one step reads: all of them, but of an embedding only where it predicts."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    skipped = "embed_tokens." if model.lm_head is not None else "embed_positions."
    return sum(tensor.numel() * tensor.element_size() for name, tensor in tensors if not name.startswith(skipped))


def copy_bandwidth() -> float:
    """Bytes a second, read and written, of copying 256 MB: the best of ten."""
    source = torch.ones(1 << 28, dtype=torch.uint8)
    target, best = torch.empty_like(source), float("inf")
    for _ in range(10):
        begin = time.perf_counter()
        target.copy_(source)
        best = min(best, time.perf_counter() - begin)
    return 2 * source.numel() / best


def dequantized(model: GPT) -> GPT:
    """Puts plain float32 layers in the place of the quantized ones."""
    for name, module in list(model.named_modules()):
        owner, _, last = name.rpartition(".")
        if isinstance(module, QuantizedLinear):
            plain = nn.Linear(module.in_features, module.out_features, bias=module.bias is not None)
            plain.weight, plain.bias = nn.Parameter(module.dequantized()), module.bias
            setattr(model.get_submodule(owner), last, plain)
        elif isinstance(module, QuantizedEmbedding):
            model.embed_tokens = nn.Embedding.from_pretrained(module.dequantized(), freeze=False)
    return model


def greedy(model: GPT, prompts: torch.Tensor, tokens: int) -> torch.Tensor:
    """Takes the most likely token `tokens` times for each prompt, all in one batch."""
    pages = len(prompts) * pages_of(prompts.shape[1] + tokens)
    pool = PagePool(model.config, pages=pages, dtype=model.dtype)
    rows = [PagedSequence(pool) for _ in prompts]
    found, given = [], prompts
    with torch.inference_mode():
        for _ in range(tokens):
            given = model.unembed(stepped(model, rows, given)).argmax(-1, keepdim=True)
            found.append(given)
    return torch.cat(found, dim=1)


def equality(path: str) -> dict[str, float]:
    """Compares greedy tokens of int8 weights with transformers' choices on the same weights in float32."""
    model = quantize(GPT.from_pretrained(path), "int8", skip=())
    prompts = torch.randint(1, model.config.vocab_size, (EQUAL_PROMPTS, 8), generator=torch.Generator().manual_seed(0))
    taken = torch.cat([greedy(model, few, EQUAL_TOKENS) for few in prompts.split(10)])  # few: by the codes themselves
    with tempfile.TemporaryDirectory() as folder:
        dequantized(model).save_pretrained(folder)
        peer = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    differing, widest = 0, 0.0
    for prompt, answer in zip(prompts, taken, strict=True):
        with torch.inference_mode():
            logits = peer(torch.cat((prompt, answer))[None]).logits[0, len(prompt) - 1 : -1]
        gap = logits.amax(dim=-1) - logits.gather(1, answer[:, None])[:, 0]
        differing, widest = differing + int((gap > 0).sum()), max(widest, float(gap.max()))
    return {"prompts": EQUAL_PROMPTS, "tokens": taken.numel(), "differing": differing, "widest_logit_gap": widest}


def measured(streams: dict[str, Stream], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of a step of each stream: median and least, by the clock and of processor time."""
    wall: dict[str, list[float]] = {name: [] for name in streams}
    processor: dict[str, list[float]] = {name: [] for name in streams}
    for _ in range(rounds):
        for name, (start, step) in streams.items():
            start()
            for number in range(WARM + STEPS):
                begin, used = time.perf_counter(), time.process_time()
                step()
                if number >= WARM:
                    wall[name].append(1e3 * (time.perf_counter() - begin))
                    processor[name].append(1e3 * (time.process_time() - used))
    return {
        name: {
            "median_ms": statistics.median(wall[name]),
            "least_ms": min(wall[name]),
            "processor_median_ms": statistics.median(processor[name]),
        }
        for name in streams
    }


def main() -> None:
    """Runs the check and the measurement, and prints the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    path = arguments.model
    record: dict[str, object] = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "threads": arguments.threads,
        "load_before": os.getloadavg(),
        "greedy": equality(path),
    }
    int8 = quantize(GPT.from_pretrained(path), "int8", skip=())
    bandwidth, read = copy_bandwidth(), weight_bytes(int8)
    with tempfile.TemporaryDirectory() as folder:
        GPT.from_pretrained(path).save_pretrained(folder)
        streams = {
            "int8": ours(int8),
            "int8, head in float32": ours(quantize(GPT.from_pretrained(path), "int8")),
            "bfloat16": ours(GPT.from_pretrained(path, dtype=torch.bfloat16)),
            "float32": ours(GPT.from_pretrained(path)),
            "transformers bfloat16": theirs(folder, torch.bfloat16),
            "transformers float32": theirs(folder, torch.float32),
        }
    steps = measured(streams, arguments.rounds)
    record |= {
        "step": steps,
        "int8_bytes_a_step": read,
        "copy_bytes_a_second": bandwidth,
        "int8_least_over_bandwidth": steps["int8"]["least_ms"] / (1e3 * read / bandwidth),
        "times_int8": {
            name: {key: steps[name][key] / steps["int8"][key] for key in steps[name]}
            for name in steps
            if name != "int8"
        },
        "load_after": os.getloadavg(),
    }
    text = json.dumps(record, indent=2) + "\n"
    print(text, end="")
    if arguments.out is not None:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
