"""What llama.cpp makes of an exported file: reads a request from standard input, prints a line of JSON.

Run as a separate process (`python -m`): llama.cpp ends its process on files that it cannot load.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

Asked = Callable[[str, dict[str, Any]], dict[str, Any]]
_JSON = {"Content-Type": "application/json"}


def main() -> None:
    """Answers one request (see `stategpt.cli.export_check`)."""
    import xllamacpp

    request = json.load(sys.stdin)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = request["path"]
    parameters.n_ctx = request["context"]
    parameters.n_gpu_layers = 0
    parameters.warmup = False
    parameters.cpuparams.n_threads = 1
    # In float32 without fused attention: what is left of a difference is the file's.
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(parameters)

    def asked(path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Answers of the server at a free port of 127.0.0.1; only there texts are tokenized."""
        question = urllib.request.Request(f"{server.listening_address}/{path}", json.dumps(body).encode(), _JSON)
        with urllib.request.urlopen(question, timeout=300) as reply:
            return dict(json.load(reply))

    def ids_of(text: str, special: bool) -> list[int]:
        """The ids of a text; `special`: with control tokens where it spells them."""
        made = asked("tokenize", {"content": text, "add_special": False, "parse_special": special})
        return [int(token) for token in made["tokens"]]

    prompts = [asked("apply-template", {"messages": rows})["prompt"] for rows in request["chats"]]
    answer = {
        "tool": f"llama.cpp (xllamacpp {importlib.metadata.version('xllamacpp')})",
        "texts": [{"ids": ids_of(text, True), "plain": ids_of(text, False)} for text in request["texts"]],
        "chats": [ids_of(prompt, True) for prompt in prompts],
        "runs": [_run(asked, ids, request["steps"]) for ids in request["runs"]],
        "ignores_ends": True,
    }
    print("\n" + json.dumps(answer))


def _run(asked: Asked, ids: list[int], steps: int) -> dict[str, Any]:
    """The 20 most likely ids after a prompt with their log-probabilities, and the tokens that greedy decoding takes.

    llama.cpp leaves out the probabilities of tokens that end within a character; then there are none of the first.
    """
    made = asked(
        "completion",
        {
            "prompt": ids,
            "n_predict": steps,
            "temperature": 0.0,
            "samplers": ["temperature"],
            "n_probs": 20,
            "return_tokens": True,
            "ignore_eos": True,
            "cache_prompt": False,
        },
    )
    first: dict[str, Any] = next(iter(made.get("completion_probabilities", [])), {"id": None})
    known = first["id"] == made["tokens"][0]
    top = [[each["id"], each["logprob"]] for each in first["top_logprobs"]] if known else []
    return {"top": top, "greedy": made["tokens"]}


if __name__ == "__main__":
    main()
