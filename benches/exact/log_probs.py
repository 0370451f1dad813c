"""Counts sampled tokens whose log-probabilities are bit-equal by every path, and measures what exact mode costs.

    python benches/exact/log_probs.py --tokens 1000000 --threads 2 --out benches/records/DATE-exact-log-probs.json

A model of the recipe's shape with random weights samples in exact mode. Each round draws prompts of its own lengths,
some of which share their beginnings, and samples with a batch of 1, 3, 16 or 64 rows, several samples a prompt, prompts
in parts of several sizes, from a cold engine or one that knows prefixes. Then the training forward pass computes the
log-probabilities of the round's tokens: all prompts with their branches in one row, in padded rows, and (of some)
alone. The first difference ends the program with an error. Equality first: the times come after.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stategpt.config import CONTROL_TOKENS, GPTConfig
from stategpt.generate import Engine, Limits
from stategpt.model import GPT
from stategpt.model.exact import set_exact
from stategpt.model.policy import CompletionBatch, completion_log_probs
from stategpt.recipes import tiny_cpu
from stategpt.tokenizer import Tokenizer

BATCHES = (1, 3, 16, 64)
STEP_TOKENS = (2048, 40, 16)
TEMPERATURE = 0.7


def tokenizer() -> Tokenizer:
    """A tokenizer of few tokens; only its ids matter."""
    return Tokenizer.train(
        [chr(97 + i % 26) * 3 + " " for i in range(200)], vocab_size=300, special_tokens=list(CONTROL_TOKENS)
    )


def policy(config: GPTConfig) -> GPT:
    """Random weights of the recipe's shape, wide enough that distributions are neither flat nor certain."""
    torch.manual_seed(0)
    model = GPT(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and "embed" not in name:
                parameter.mul_(2.0)
    return model.eval()


def prompts_of(round_number: int, count: int, vocabulary: int) -> list[np.ndarray]:
    """Prompts of 1 to 60 tokens; every third begins as the one before it."""
    drawn = np.random.default_rng(round_number)
    prompts: list[np.ndarray] = []
    for number in range(count):
        prompt = drawn.integers(0, vocabulary, drawn.integers(1, 60)).astype(np.uint32)
        if number % 3 == 2:
            prompt = np.concatenate((prompts[-1][: len(prompts[-1]) // 2 + 1], prompt))[:60]
        prompts.append(prompt)
    return prompts


class Rounds:
    """Engines of every batch size and size of parts, each asked in turn."""

    def __init__(self, model: GPT, tok: Tokenizer) -> None:
        self.model, self.tok = model, tok
        self.known = Engine(model, tok, limits=Limits(rows=64), keep_prefixes=True, exact=True)
        self.counts = {"tokens": 0, "packed": 0, "padded": 0, "alone": 0, "again_from_known_prefixes": 0}

    def run(self, number: int) -> int:
        """One round. -> its tokens."""
        rows, parts = BATCHES[number % 4], STEP_TOKENS[number % 3]
        engine = Engine(self.model, self.tok, limits=Limits(rows=rows, step_tokens=max(parts, rows)), exact=True)
        count = max(1, rows // 4)
        settings: dict[str, Any] = {"n": 4, "temperature": TEMPERATURE, "max_tokens": 48, "seed": number}
        prompts = prompts_of(number, count, self.tok.vocab_size)
        sampled = engine.generate(prompts, **settings)
        again = self.known.generate(prompts, **settings)
        for first, second in zip(sampled, again, strict=True):
            require(np.array_equal(first.ids, second.ids), f"round {number}: other tokens from known prefixes")
            require(same(first.log_probs, second.log_probs), f"round {number}: other bits from known prefixes")
        tokens = sum(len(each.ids) for each in sampled)
        self.counts["again_from_known_prefixes"] += tokens
        repeated = [prompt for prompt in prompts for _ in range(4)]
        expected = np.concatenate([each.log_probs for each in sampled])
        self.compare(engine, repeated, [each.ids for each in sampled], expected, "packed", number)
        if number % 4 == 1:
            self.compare(engine, repeated, [each.ids for each in sampled], expected, "padded", number)
        if number % 16 == 5:
            for prompt, each in zip(repeated[:4], sampled[:4], strict=True):
                self.compare(engine, [prompt], [each.ids], each.log_probs, "alone", number)
        self.counts["tokens"] += tokens
        return tokens

    def compare(
        self, engine: Engine, prompts: list[Any], ids: list[Any], expected: np.ndarray, path: str, number: int
    ) -> None:
        """Compares with the training forward pass, with gradients."""
        batch = CompletionBatch.of(prompts, ids, engine.control.pad, torch.device("cpu"), flat=path != "padded")
        found, _ = completion_log_probs(self.model, batch, TEMPERATURE, engine.sampling().forbidden)
        require(same(found.detach().numpy(), expected), f"round {number}: {path} forward has other bits")
        self.counts[path] += len(expected)


def processor() -> str:
    """The processor's name by Linux, else by Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal bits."""
    return bool(np.array_equal(a.view(np.uint32), b.view(np.uint32)))


def require(holds: bool, message: str) -> None:
    """Ends the program."""
    if not holds:
        raise SystemExit(f"NOT EXACT: {message}")


def costs(model: GPT, tok: Tokenizer, repeats: int) -> dict[str, Any]:
    """CPU seconds of a rollout of 24 prompts x 8 samples and of its log-probabilities, plain and exact in turns."""
    prompts = prompts_of(99, 24, tok.vocab_size)
    seconds: dict[str, list[float]] = {"rollout": [], "rollout, exact": [], "loss": [], "loss, exact": []}
    ids: list[Any] = []
    for repeat in range(repeats + 1):
        for exact in (False, True):
            set_exact(model, exact)
            engine = Engine(model, tok, exact=exact)
            began = time.process_time()
            sampled = engine.generate(prompts, n=8, temperature=TEMPERATURE, max_tokens=48, seed=3)
            middle = time.process_time()
            ids = ids or [each.ids for each in sampled]
            repeated = [prompt for prompt in prompts for _ in range(8)]
            width = model.config.width
            batch = CompletionBatch.of(repeated, ids, engine.control.pad, torch.device("cpu"), width, flat=exact)
            found, _ = completion_log_probs(model, batch, TEMPERATURE, engine.sampling().forbidden)
            found.sum().backward()
            end = time.process_time()
            if repeat:  # the first of each measures products, and warms caches
                seconds["rollout, exact" if exact else "rollout"].append(middle - began)
                seconds["loss, exact" if exact else "loss"].append(end - middle)
    return {
        "cpu_seconds_each": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
        "exact_over_plain": {
            part: round(min(seconds[f"{part}, exact"]) / min(seconds[part]), 2) for part in ("rollout", "loss")
        },
    }


def main() -> None:
    """Runs rounds until there are enough tokens."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="of the measurement of costs; 0: none")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    tok, config = tokenizer(), tiny_cpu().model
    rounds = Rounds(policy(replace(config, vocab_size=4096)), tok)
    began, number = time.perf_counter(), 0
    while rounds.counts["tokens"] < given.tokens:
        rounds.run(number)
        number += 1
        if number % 50 == 0:
            print(rounds.counts, f"{time.perf_counter() - began:.0f} s", flush=True)
    record: dict[str, Any] = {
        "what": "sampled tokens whose log-probabilities are bit-equal by every path, in exact mode",
        "command": f"python benches/exact/log_probs.py --tokens {given.tokens} --threads {given.threads}",
        "machine": processor(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "rounds": number,
        "wall_seconds": round(time.perf_counter() - began),
        "bit_equal_tokens": rounds.counts,
        "different": 0,
    }
    if given.repeats:
        record["cost"] = costs(rounds.model, tok, given.repeats)
    text = json.dumps(record, indent=2)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
