"""What llama.cpp computes of a GGUF file, as JSON: `python llama_cpp.py FILE PROMPT TOKENS`.

PROMPT is JSON: a list of ids, or a text. Needs the wheel `xllamacpp`. A separate process, because llama.cpp ends its
process on files that it cannot load.
Prints the greedy tokens, and for each the 20 likeliest ids with their log-probabilities.
"""

from __future__ import annotations

import json
import sys


def main(path: str, prompt: list[int] | str, tokens: int) -> None:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.n_ctx = 64
    parameters.n_gpu_layers = 0
    parameters.warmup = False
    parameters.cpuparams.n_threads = 1
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(parameters)
    answer = server.handle_completions(
        {
            "prompt": prompt,
            "max_tokens": tokens,
            "temperature": 0.0,
            "samplers": ["temperature"],
            "logprobs": 20,
            "ignore_eos": True,
            "cache_prompt": False,
        }
    )
    steps = answer["choices"][0]["logprobs"]["content"]
    found = [
        {"id": step["id"], "top": [[each["id"], each["logprob"]] for each in step["top_logprobs"]]} for step in steps
    ]
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]))
