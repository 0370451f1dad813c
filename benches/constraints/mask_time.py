"""Time of masks at a vocabulary of 65,536 tokens: p50, p99, the first mask of a new schema, forks; of steps with them.

    python benches/constraints/mask_time.py --out record.json

CPU time of this thread, so that other programs on the machine do not count; random allowed tokens, forced ones first.
"llguidance" is the library's own call for the same states, in a copy of the matcher; which of the two comes first, and
so builds the automata that both share, changes with each token. The tokenizer is trained here, on the standard library
of the interpreter. Steps are those of an engine with a small model, by the clock, with masks computed by threads while
the model computes (`Limits.mask_threads`) and after it, in turns.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import sysconfig
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import stategpt  # noqa: E402
from constrained import token_ids  # noqa: E402
from stategpt import Tokenizer  # noqa: E402
from stategpt.generate import Engine, Limits  # noqa: E402
from stategpt.generate.constraints import (  # noqa: E402
    Spec,
    forget_compiled,
    grammar,
    json_schema,
    regex,
    template,
    think_then,
)
from stategpt.model import GPT, SpecialIds  # noqa: E402

VOCABULARY = 65_536
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "email": {"type": "string", "format": "email"},
        "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 5},
        "address": {
            "type": "object",
            "properties": {"street": {"type": "string"}, "zip": {"type": "string", "pattern": "^[0-9]{5}$"}},
            "required": ["street", "zip"],
        },
        "note": {"type": ["string", "null"]},
    },
    "required": ["name", "age", "tags", "address"],
}
SPECS: dict[str, Spec] = {
    "nested object": json_schema(PERSON),
    "any JSON": json_schema(True),
    "map of numbers": json_schema({"type": "object", "additionalProperties": {"type": "number"}}),
    "pattern": regex(r"[A-Z][a-z]+ \d{3}-\d{4}"),
    "recursive GBNF": grammar('root ::= "(" root ")" | [a-z]+ | [0-9]+ ("." [0-9]+)?'),
    "template": template("{name:line}: {age:int} of {city:word}, {verdict:yes|no}."),
    "thoughts, then an object": think_then(json_schema(PERSON)),
}


def tokenizer() -> Tokenizer:
    """A byte-level vocabulary of that size."""
    library = Path(sysconfig.get_paths()["stdlib"])
    files = [path for path in sorted(library.rglob("*.py")) if "site-packages" not in path.parts][:1800]
    return Tokenizer.train(files, VOCABULARY - 8, special_tokens=["<|endoftext|>", "</think>"], errors="replace")


def measured(spec: Spec, tok: Any, seconds: float) -> dict[str, Any]:
    """Times of one spec, in microseconds of CPU."""
    ends = [tok.special_tokens["<|endoftext|>"]]
    clock = time.thread_time_ns
    first = []
    for _ in range(5):
        forget_compiled()
        began = clock()
        spec.compile(tok, VOCABULARY, ends).mask()
        first.append((clock() - began) / 1e3)
    masks: list[float] = []
    bare: list[float] = []
    forks: list[float] = []
    forced = drawn = 0
    chance = random.Random(0)
    until = clock() + seconds * 1e9
    while clock() < until:
        state = spec.compile(tok, VOCABULARY, ends)
        for _ in range(120):
            for token in state.forced().tolist():
                state.advance(token)
                forced += 1
            if state.finished:
                break
            began = clock()
            twin = state.fork()
            forks.append((clock() - began) / 1e3)
            pairs = [(state.mask, masks), (twin._matcher.compute_bitmask, bare)]
            for call, times in pairs if len(masks) % 2 else pairs[::-1]:
                began = clock()
                call()
                times.append((clock() - began) / 1e3)
            mask = state.mask()
            allowed = token_ids(mask)
            token = chance.choice(allowed)
            drawn += 1
            if token in ends:
                break
            state.advance(token)
    return {
        "masks": len(masks),
        "mask_us": _percentiles(masks),
        "llguidance_mask_us": _percentiles(bare),
        "compile_and_first_mask_us": {"median": round(float(np.median(first)), 1), "max": round(max(first), 1)},
        "fork_us": {"p50": round(float(np.percentile(forks, 50)), 1)},
        "forced_share": round(forced / max(1, forced + drawn), 3),
    }


def _percentiles(times: list[float]) -> dict[str, float]:
    return {name: round(float(np.percentile(times, q)), 1) for name, q in (("p50", 50), ("p99", 99), ("max", 100))}


def steps(tok: Any, rows: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of a step of `rows` constrained samples, masks with the model and after it, in turns."""
    shape = stategpt.GPTConfig(
        vocab_size=VOCABULARY, depth=6, width=384, heads=6, kv_heads=2, head_dim=64, mlp_width=1024, context_tokens=256
    )
    end = tok.special_tokens["<|endoftext|>"]
    model = GPT(shape, SpecialIds(bos=None, eos=(end,), pad=None)).eval()
    engines = {
        name: Engine(model, tok, limits=Limits(rows=rows, mask_threads=threads), keep_prefixes=True)
        for name, threads in (("with the model", 2), ("after the model", 0))
    }
    spec = think_then(json_schema(True), max_tokens=48)
    found: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(2 * rounds):
        for name, engine in list(engines.items())[:: 1 if number % 2 else -1]:
            before, began = engine.scheduler.counters.copy(), time.perf_counter()
            engine.generate(["Answer: "], n=rows, constraint=spec, max_tokens=100, seed=number // 2)
            passed = engine.scheduler.counters - before
            found[name].append(1e3 * (time.perf_counter() - began) / passed.steps)
    found = {name: times[2:] for name, times in found.items()}  # the first round builds the automata
    ratios = [a / b for a, b in zip(*found.values(), strict=True)]
    return {
        "rows": rows,
        "step_ms": {
            name: {"median": round(float(np.median(times)), 2), "all": [round(ms, 2) for ms in times]}
            for name, times in found.items()
        },
        "ratio": {"median": round(float(np.median(ratios)), 3), "all": [round(ratio, 3) for ratio in ratios]},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="CPU seconds for each spec")
    parser.add_argument("--rounds", type=int, default=4, help="pairs of runs of an engine for the times of steps")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    began = time.thread_time()
    tok = tokenizer()
    trained = time.thread_time()
    regex("a").compile(tok, VOCABULARY, [0])
    record = {
        "vocabulary": tok.vocab_size,
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "seconds": {
            "training": round(trained - began, 2),
            "prefix tree of the tokens": round(time.thread_time() - trained, 2),
        },
        "llguidance": version("llguidance"),
        "specs": {name: measured(spec, tok, options.seconds) for name, spec in SPECS.items()},
        "steps": [steps(tok, rows, options.rounds) for rows in (4, 32)],
    }
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
