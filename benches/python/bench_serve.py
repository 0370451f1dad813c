"""What the HTTP server costs beside the engine: processor time and time of each token, streamed and not.

    python benches/python/bench_serve.py [--rounds 7] [--threads 1] [--tokens 64] [--model FOLDER] [--out FILE]

One process has the model, the engine and the server; the clients are another process, whose time does not count. Turns
alternate: the scheduler of the engine driven directly, and the same requests over HTTP. Streams read an event for each
token. Of each turn the processor time of the first process counts, which other load changes least, and the time on the
clock. The texts of both must be equal. The last case has `stream_tokens = 4`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stategpt.config import CONTROL_TOKENS, GPTConfig
from stategpt.config.serve import ServeConfig
from stategpt.generate import Engine
from stategpt.model import GPT
from stategpt.serve.app import build_app
from stategpt.serve.host import Host
from stategpt.serve.keys import Keys
from stategpt.serve.server import Server
from stategpt.tokenizer import Tokenizer

PROMPT = 16
"""Tokens of a prompt: few, since what a token costs is asked."""
CONFIG = ServeConfig(port=0, kv_bytes=256 << 20)


async def ask(port: int, body: bytes) -> tuple[str, float]:
    """The text of one request's answer, and the seconds to its first byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    began = time.perf_counter()
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    content = await reader.read(1 << 16)
    first = time.perf_counter() - began
    while more := await reader.read(1 << 20):
        content += more
    writer.close()
    if not content.startswith(b"HTTP/1.1 200"):
        raise SystemExit(content.decode())
    if b"text/event-stream" not in content[:400]:
        return json.loads(content[content.index(b"\r\n\r\n") :])["choices"][0]["text"], first
    events = [line[6:] for line in content.split(b"\n") if line.startswith(b"data: {")]
    return "".join(json.loads(event)["choices"][0]["text"] for event in events), first


async def clients() -> None:
    """The process of the clients: reads a line of a port and bodies, sends them at once, and prints what came."""
    for line in sys.stdin:
        port, bodies = json.loads(line)
        found = await asyncio.gather(*(ask(port, json.dumps(body).encode()) for body in bodies))
        print(json.dumps(found), flush=True)


class Served:
    """A server of a model in this process, and a process of clients."""

    def __init__(self, model: GPT, tok: Tokenizer, config: ServeConfig) -> None:
        app = build_app({"model": Host(model, tok, None, config).served("model")}, config, Keys((), time.monotonic))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._server = Server(app, replace(config, grace_seconds=1))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        command = [sys.executable, __file__, "--clients"]
        self._clients = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, bodies: list[dict[str, Any]]) -> tuple[list[str], float]:
        """Texts of requests that are sent at once, and the median time to the first byte."""
        assert self._clients.stdin is not None
        assert self._clients.stdout is not None
        self._clients.stdin.write(json.dumps((self._socket.getsockname()[1], bodies)) + "\n")
        self._clients.stdin.flush()
        found = json.loads(self._clients.stdout.readline())
        return [text for text, _ in found], statistics.median(first for _, first in found)

    def close(self) -> None:
        """Ends both."""
        assert self._clients.stdin is not None
        self._clients.stdin.close()
        self._clients.wait()
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def directly(engine: Engine, bodies: list[dict[str, Any]]) -> list[str]:
    """The same requests by the engine's scheduler: an event for each token where they are streamed."""
    scheduler, texts = engine.scheduler, [""] * len(bodies)
    numbers = {}
    for number, body in enumerate(bodies):
        bias = {int(token): value for token, value in body["logit_bias"].items()}
        ids = np.array(body["prompt"], dtype=np.uint32)
        request = engine.request(ids, max_tokens=body["max_tokens"], seed=body["seed"], logit_bias=bias)
        handle = scheduler.submit(replace(request, incremental=body["stream"]))
        numbers[id(handle)] = number
    while scheduler.busy:
        for event in scheduler.step():
            texts[numbers[id(event.handle)]] += event.text
    return texts


def measure(engine: Engine, served: Served, streams: int, streamed: bool, tokens: int, rounds: int) -> dict[str, Any]:
    """Medians of turns of one kind."""
    draw = np.random.default_rng()  # other prompts in each turn: neither side may know a prefix
    bias = {str(token): -100 for token in engine.end_ids}
    seconds: dict[str, list[float]] = {
        name: [] for name in ("engine", "server", "engine clock", "server clock", "first")
    }
    for number in range(rounds + 1):
        prompts = draw.integers(20, 250, (streams, PROMPT)).tolist()
        bodies = [
            {"prompt": ids, "max_tokens": tokens, "seed": number, "stream": streamed, "logit_bias": bias}
            for ids in prompts
        ]
        times: dict[str, tuple[float, float]] = {}
        for who in ("engine", "server") if number % 2 else ("server", "engine"):
            began, clock = time.process_time(), time.perf_counter()
            if who == "engine":
                texts = directly(engine, bodies)
            else:
                answers, first = served.ask(bodies)
            times[who] = time.process_time() - began, time.perf_counter() - clock
        if texts != answers:
            raise SystemExit(f"the server answers {answers[0]!r}, the engine {texts[0]!r}")
        if number:  # the first turn warms both up
            for who, (processor, clock) in times.items():
                seconds[who].append(processor)
                seconds[f"{who} clock"].append(clock)
            seconds["first"].append(first)
    made = streams * tokens
    ratios = [server / engine for engine, server in zip(seconds["engine"], seconds["server"], strict=True)]
    clocks = [server / engine for engine, server in zip(seconds["engine clock"], seconds["server clock"], strict=True)]
    return {
        "processor_microseconds_per_token": {
            who: round(1e6 * statistics.median(seconds[who]) / made, 1) for who in ("engine", "server")
        },
        "processor_ratio": spread(ratios),
        "clock_ratio": spread(clocks),
        "first_byte_ms": round(1e3 * statistics.median(seconds["first"]), 1),
    }


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    named = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: round(value, 3) for name, value in named.items()}


def the_model(folder: str | None) -> tuple[GPT, Tokenizer]:
    """The model of a folder, or random weights of a small shape and a tokenizer of a few texts."""
    if folder is not None:
        return GPT.from_pretrained(folder), Tokenizer.load(Path(folder) / "tokenizer.json")
    sources = [path.read_text() for path in sorted(Path(__file__).parent.glob("*.py"))]
    tok = Tokenizer.train(sources, vocab_size=2048, special_tokens=CONTROL_TOKENS)
    torch.manual_seed(0)
    shape = GPTConfig(
        vocab_size=tok.vocab_size, depth=6, width=384, heads=6, kv_heads=2, head_dim=64, mlp_width=1024,
        context_tokens=1024,
    )  # fmt: skip
    return GPT(shape).eval(), tok


def main() -> None:
    """Runs the measurements and prints the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--model")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--clients", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.clients:
        asyncio.run(clients())
        return
    torch.set_num_threads(arguments.threads)
    model, tok = the_model(arguments.model)
    record: dict[str, Any] = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "tokens": arguments.tokens,
        "load_before": os.getloadavg(),
    }
    engine = Engine(model, tok, kv_bytes=CONFIG.kv_bytes)
    for stream_tokens, cases in ((1, ((1, False), (1, True), (16, False), (16, True))), (4, ((16, True),))):
        served = Served(model, tok, replace(CONFIG, stream_tokens=stream_tokens))
        try:
            for streams, streamed in cases:
                name = f"{streams}, streamed, {stream_tokens} tokens an event" if streamed else f"{streams}, whole"
                record[name] = measure(engine, served, streams, streamed, arguments.tokens, arguments.rounds)
                print(name, json.dumps(record[name]), flush=True)
        finally:
            served.close()
    record["load_after"] = os.getloadavg()
    text = json.dumps(record, indent=1) + "\n"
    print(text, end="")
    if arguments.out is not None:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
