"""Sixteen streams at a time beside llama.cpp (through `xllamacpp`), the same model in 8 and in 16 bits.

    python benches/python/bench_streams.py models/SmolLM2-135M-Instruct [--streams 16] [--rounds 3] [--threads 2]

The model folder is written as GGUF by `save_gguf`. Each side samples `TOKENS` tokens for every prompt, at temperature
1, in one batch that both schedulers keep full: llama.cpp with as many slots as streams. llama.cpp runs in a separate
process and is asked over HTTP on this machine, its interface; it waits while the other side works. The sides take
turns; the clock counts, and beside it the processor time of each side's process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PROMPT, TOKENS = 64, 64
FORMATS = {"8 bits": ("int8", "q8_0"), "16 bits": ("bfloat16", "f16")}


def serve_llama_cpp(path: str, streams: int, threads: int) -> None:
    """Reads lists of prompts, a line each, and writes the seconds that sampling behind them took."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.n_ctx = 2 * (PROMPT + TOKENS) * streams
    parameters.n_parallel = streams
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(parameters)

    def completed(prompt: list[int]) -> int:
        body = {"prompt": prompt, "n_predict": TOKENS, "temperature": 1.0, "samplers": ["temperature"]}
        body |= {"ignore_eos": True, "cache_prompt": False, "return_tokens": True}
        question = urllib.request.Request(
            f"{server.listening_address}/completion", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(question, timeout=600) as reply:
            return len(json.load(reply)["tokens"])

    print("\nready", flush=True)
    for line in sys.stdin:
        prompts = json.loads(line)
        begin, used = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(streams) as pool:
            counts = list(pool.map(completed, prompts))
        seconds = {"clock": time.perf_counter() - begin, "processor": time.process_time() - used}
        print(json.dumps(seconds | {"tokens": sum(counts)}), flush=True)


class LlamaCpp:
    """llama.cpp with a GGUF file, in another process."""

    def __init__(self, path: Path, streams: int, threads: int) -> None:
        command = [sys.executable, __file__, "--llama-cpp", str(path), "--streams", str(streams)]
        self._process = subprocess.Popen(
            [*command, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answer("ready")

    def _answer(self, begin: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:  # llama.cpp prints there too
            if line.startswith(begin):
                return line
        raise SystemExit("llama.cpp ended")

    def sample(self, prompts: list[list[int]]) -> dict[str, float]:
        """Seconds that all prompts took."""
        assert self._process.stdin is not None
        print(json.dumps(prompts), file=self._process.stdin, flush=True)
        return dict(json.loads(self._answer('{"clock"')))

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()


def sampled(engine: Any, prompts: list[list[int]], seed: int) -> dict[str, float]:
    """Seconds that the engine takes for all prompts."""
    import numpy as np

    begin, used = time.perf_counter(), time.process_time()
    ids = [np.array(prompt, dtype=np.uint32) for prompt in prompts]
    found = engine.generate(ids, seed=seed, max_tokens=TOKENS, forbidden=list(engine.end_ids))
    seconds = {"clock": time.perf_counter() - begin, "processor": time.process_time() - used}
    return seconds | {"tokens": sum(len(completion.ids) for completion in found)}


def compared(folder: Path, kind: str, streams: int, rounds: int, threads: int) -> dict[str, Any]:
    """Tokens a second of both sides in one number format."""
    import numpy as np
    import torch

    import stategpt as sg
    from stategpt.data import ChatTemplate
    from stategpt.generate import Engine
    from stategpt.model.gguf_export import save_gguf

    dtype, file_type = FORMATS[kind]
    tok = sg.Tokenizer.load(folder / "tokenizer.json", "tokenizers")
    chat = ChatTemplate.load(folder, tok)
    model = sg.GPT.from_pretrained(folder, torch.bfloat16 if dtype == "bfloat16" else torch.float32).eval()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.gguf"
        save_gguf(sg.GPT.from_pretrained(folder), path, tok, chat, file_type)
        peer = LlamaCpp(path, streams, threads)
        try:
            if dtype == "int8":
                sg.quantize(model, "int8")
            engine = Engine(model, tok, chat)
            draw = np.random.default_rng(0)
            turns: dict[str, list[dict[str, float]]] = {"stategpt": [], "llama.cpp": []}
            for number in range(rounds + 1):
                prompts = draw.integers(1000, 40_000, (streams, PROMPT)).tolist()
                turns["stategpt"].append(sampled(engine, prompts, number))
                turns["llama.cpp"].append(peer.sample(prompts))
        finally:
            peer.close()
    if any(turn["tokens"] != streams * TOKENS for each in turns.values() for turn in each):
        raise SystemExit(f"not all completions have {TOKENS} tokens: {turns}")
    result: dict[str, Any] = {}
    for measure in ("clock", "processor"):
        seconds = {who: [turn[measure] for turn in each[1:]] for who, each in turns.items()}  # the first turn warms up
        ratios = [theirs / ours for ours, theirs in zip(*seconds.values(), strict=True)]
        result[measure] = {
            "tokens_per_second": {who: streams * TOKENS / statistics.median(each) for who, each in seconds.items()},
            "ratio": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)},
        }
    return result


def main() -> None:
    """Runs the comparison and prints the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, help="a model folder")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--llama-cpp", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.llama_cpp is not None:
        serve_llama_cpp(given.llama_cpp, given.streams, given.threads)
        return
    if given.model is None:
        parser.error("a model folder is missing")

    import torch
    import xllamacpp

    torch.set_num_threads(given.threads)
    record: dict[str, Any] = {
        "model": given.model.name,
        "torch": torch.__version__,
        "xllamacpp": xllamacpp.__version__,
        "streams": given.streams,
        "threads": given.threads,
        "rounds": given.rounds,
        "load_before": os.getloadavg(),
    }
    for kind in FORMATS:
        record[kind] = compared(given.model, kind, given.streams, given.rounds, given.threads)
        print(kind, json.dumps(record[kind]), flush=True)
    record["load_after"] = os.getloadavg()
    text = json.dumps(record, indent=1) + "\n"
    print(text, end="")
    if given.out is not None:
        given.out.write_text(text)


if __name__ == "__main__":
    main()
