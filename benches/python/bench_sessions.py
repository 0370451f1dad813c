"""Many samples of one prompt: keys and values in shared pages, beside copies of them, and beside transformers.

    python benches/python/bench_sessions.py [copies] [peers] [--rounds 5] [--threads 1] [--model FOLDER] [--out FILE]

*copies*: 64 branches of a prompt of 1,024 tokens, decoded over pages that they share and over a contiguous cache that
was copied for each of them, as samplers do that know no forks. Both call `GPT.step`; only the cache differs. *peers*:
`Engine.generate` beside `transformers` on the same weights, a prompt of 512 tokens: 1, 16 and 64 different prompts, and
64 samples of one.

First it checks that the logits are equal; then the candidates take turns in one process. Of each turn the seconds of
processor time count, which another process's load changes less than the clock.
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
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stategpt.config import CONTROL_TOKENS, GPTConfig
from stategpt.config.architecture import AttentionOptions
from stategpt.generate import Engine
from stategpt.generate.pages import PagedSequence, PagedStep, PagePool
from stategpt.model import GPT
from stategpt.model.joined import JoinedWeights
from stategpt.tokenizer import Tokenizer

SHAPES = {
    "6 layers of 384": GPTConfig(
        vocab_size=4096, depth=6, width=384, heads=6, kv_heads=6, head_dim=64, mlp_width=1024, context_tokens=2048
    ),
    "6 layers of 384, grouped": GPTConfig(
        vocab_size=4096, depth=6, width=384, heads=6, kv_heads=2, head_dim=64, mlp_width=1024, context_tokens=2048
    ),
    "3 layers of 192": GPTConfig(context_tokens=2048),
}
SAMPLES, PROMPT, STEPS = 64, 1024, 16
PEER_PROMPT, PEER_TOKENS = 512, 32


class CopiedCache:
    """Keys and values of B sequences of one length in slots side by side: what a prompt's cache becomes by copying."""

    fused = None

    def __init__(self, config: GPTConfig, batch: int, capacity: int) -> None:
        shape = (config.depth, batch, config.kv_heads, capacity, config.head_dim)
        self.keys, self.values = torch.zeros(shape), torch.zeros(shape)
        self.joined = [JoinedWeights() for _ in range(config.depth)]
        self.length = 0

    def repeated(self, count: int) -> CopiedCache:
        """A cache with `count` copies of each sequence."""
        copy = object.__new__(CopiedCache)
        copy.keys, copy.values = (each.repeat_interleave(count, dim=1) for each in (self.keys, self.values))
        copy.joined, copy.length = self.joined, self.length
        return copy

    @property
    def bytes(self) -> int:
        """Bytes of the slots in use."""
        depth, batch, heads, _, width = self.keys.shape
        return 2 * 4 * depth * batch * heads * width * self.length

    def attend(self, layer: int, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, options: AttentionOptions) -> Tensor:
        """One token of each sequence, or the whole prompt of one."""
        batch = self.keys.shape[1]
        q, k, v = (x.unflatten(0, (batch, -1)).transpose(1, 2) for x in (q_NHD, k_NGD, v_NGD))
        end = self.length + k.shape[2]
        self.keys[layer, :, :, self.length : end], self.values[layer, :, :, self.length : end] = k, v
        keys, values = self.keys[layer, :, :, :end], self.values[layer, :, :, :end]
        o = F.scaled_dot_product_attention(q, keys, values, is_causal=k.shape[2] > 1, enable_gqa=True, **options)
        return o.transpose(1, 2).reshape(q_NHD.shape)


def copied(model: GPT, prompt: Tensor) -> tuple[CopiedCache, Tensor]:
    """A cache of the prompt with room for the steps, and the prompt's last hidden state."""
    cache = CopiedCache(model.config, 1, PROMPT + 2 * STEPS)
    hidden = model.step(prompt, torch.arange(PROMPT), cache)
    cache.length = PROMPT
    return cache, hidden[-1:]


def decode_copied(model: GPT, cache: CopiedCache, tokens_NB: Tensor) -> Tensor:
    """Logits of the last of the steps."""
    for tokens_B in tokens_NB:
        hidden = model.step(tokens_B, torch.full_like(tokens_B, cache.length), cache)
        logits = model.unembed(hidden)
        cache.length += 1
    return logits


def decode_paged(model: GPT, pool: PagePool, rows: list[PagedSequence], tokens_NB: Tensor) -> Tensor:
    """Logits of the last of the steps."""
    for tokens_B in tokens_NB:
        step = PagedStep(pool, [(row, 1) for row in rows])
        step.fused = None  # both take the general path: only the cache differs
        logits = model.unembed(model.step(tokens_B, step.position_N, step))
        step.commit()
    return logits


def copies(shape: GPTConfig, rounds: int) -> dict[str, Any]:
    """Forking and decoding over pages and over copies, in turns."""
    torch.manual_seed(0)
    model = GPT(shape).eval()
    prompt = torch.randint(0, shape.vocab_size, (PROMPT,))
    tokens_NB = torch.randint(0, shape.vocab_size, (STEPS, SAMPLES))
    pool = PagePool(shape, pages=PROMPT // 16 + SAMPLES * (STEPS // 16 + 1))
    seconds: dict[str, list[float]] = {name: [] for name in ("fork copies", "fork pages", "copies", "pages")}
    with torch.inference_mode():
        single, _ = copied(model, prompt)
        trunk = PagedSequence(pool)
        step = PagedStep(pool, [(trunk, PROMPT)])
        model.step(prompt, step.position_N, step)
        step.commit()
        shared_bytes, difference = pool.used_bytes, 0.0
        for _ in range(rounds):
            cache = timed(seconds["fork copies"], lambda: single.repeated(SAMPLES))
            copied_bytes = cache.bytes
            rows = timed(seconds["fork pages"], lambda: [trunk.fork() for _ in range(SAMPLES)])
            theirs = timed(seconds["copies"], lambda cache=cache: decode_copied(model, cache, tokens_NB))
            ours = timed(seconds["pages"], lambda rows=rows: decode_paged(model, pool, rows, tokens_NB))
            difference = max(difference, float((ours - theirs).abs().max()))
            for row in rows:
                row.close()
    if difference > 1e-3:
        raise SystemExit(f"logits over pages and over copies differ by {difference}")
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    ratios = [a / b for a, b in zip(seconds["copies"], seconds["pages"], strict=True)]
    return {
        "largest_difference_of_logits": difference,
        "prefix_bytes": {"copies": copied_bytes, "pages": shared_bytes, "ratio": copied_bytes / shared_bytes},
        "processor_seconds": medians,
        "decode_ratio": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)},
    }


def timed(seconds: list[float], act: Callable[[], Any]) -> Any:
    """What `act` returns; its processor time is added to `seconds`."""
    begin = time.process_time()
    result = act()
    seconds.append(time.process_time() - begin)
    return result


def peers(model: GPT, tok: Tokenizer, rounds: int) -> dict[str, Any]:
    """Tokens a second of processor time of the engine and of transformers, by number of prompts and samples."""
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        peer = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    engine = Engine(model, tok)
    draw = np.random.default_rng(0)
    result: dict[str, Any] = {"transformers": transformers.__version__}
    for name, batch, n in (("1", 1, 1), ("16", 16, 1), ("64", 64, 1), ("64 of one prompt", 1, 64)):
        prompts = draw.integers(0, tok.vocab_size, (batch, PEER_PROMPT)).astype(np.uint32)
        check_equal(engine, peer, prompts[:1])
        seconds: dict[str, list[float]] = {"stategpt": [], "transformers": []}
        for number in range(rounds):
            timed(seconds["stategpt"], lambda p=prompts, n=n, s=number: ours(engine, p, n, s))
            timed(seconds["transformers"], lambda p=prompts, n=n: theirs(peer, p, n))
        tokens = batch * n * PEER_TOKENS
        ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
        result[name] = {
            "tokens_per_processor_second": {who: tokens / statistics.median(each) for who, each in seconds.items()},
            "ratio": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)},
        }
        print(name, json.dumps(result[name]), flush=True)
    return result


def ours(engine: Engine, prompts: np.ndarray, n: int, seed: int) -> None:
    """Samples of full length: what ends a text is forbidden."""
    found = engine.generate(list(prompts), n=n, seed=seed, max_tokens=PEER_TOKENS, forbidden=list(engine.end_ids))
    assert all(len(completion.ids) == PEER_TOKENS for completion in found)


def theirs(peer: Any, prompts: np.ndarray, n: int) -> None:
    """The same by transformers."""
    ids = torch.from_numpy(prompts.astype(np.int64))
    options = {"do_sample": True, "top_k": 0, "num_return_sequences": n, "pad_token_id": 0}
    options |= {"min_new_tokens": PEER_TOKENS, "max_new_tokens": PEER_TOKENS}
    with torch.inference_mode():
        peer.generate(ids, attention_mask=torch.ones_like(ids), **options)


def check_equal(engine: Engine, peer: Any, prompts: np.ndarray) -> None:
    """Each of the engine's greedy tokens is the most likely one of transformers, given those before."""
    answer = engine.generate(list(prompts), temperature=0, max_tokens=8, forbidden=())[0].ids
    whole = torch.from_numpy(np.concatenate((prompts[0], answer)).astype(np.int64))[None]
    with torch.inference_mode():
        logits = peer(whole).logits[0, len(prompts[0]) - 1 : -1]
    gap = logits.amax(dim=-1) - logits.gather(1, torch.from_numpy(answer.astype(np.int64))[:, None])[:, 0]
    if float(gap.max()) > 1e-3:
        raise SystemExit(f"a greedy token is {float(gap.max())} below transformers' most likely one")


def peer_model(folder: str | None) -> tuple[GPT, Tokenizer]:
    """The model to be compared: one of a folder, or random weights of a small shape and a tokenizer of a few texts."""
    if folder is not None:
        return GPT.from_pretrained(folder), Tokenizer.load(Path(folder) / "tokenizer.json")
    sources = [path.read_text() for path in sorted(Path(__file__).parent.glob("*.py"))]
    tok = Tokenizer.train(sources, vocab_size=2048, special_tokens=CONTROL_TOKENS)
    torch.manual_seed(0)
    shape = GPTConfig(
        vocab_size=tok.vocab_size, depth=4, width=256, heads=4, kv_heads=2, mlp_width=704, context_tokens=1024
    )
    return GPT(shape).eval(), tok


def main() -> None:
    """Runs the checks and the measurements, and prints the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["copies", "peers"], metavar="PART")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    record: dict[str, Any] = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "load_before": os.getloadavg(),
    }
    if "copies" in arguments.parts:
        record["copies"] = {}
        for name, shape in SHAPES.items():
            record["copies"][name] = copies(shape, arguments.rounds)
            print(name, json.dumps(record["copies"][name]), flush=True)
    if "peers" in arguments.parts:
        record["peers"] = peers(*peer_model(arguments.model), arguments.rounds)
    record["load_after"] = os.getloadavg()
    text = json.dumps(record, indent=1) + "\n"
    print(text, end="")
    if arguments.out is not None:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
