"""Training step and sampling of the default model, beside transformers' Qwen3 with the same weights.

    python -m pytest benches/python/bench_model.py --benchmark-columns=median,iqr,rounds

Equivalence is asserted before anything is timed. `tokens_per_s` is in each row's extra info.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from stategpt.config import CONTROL_TOKENS, GPTConfig
from stategpt.generate import Engine
from stategpt.model import GPT, autocast
from stategpt.ops import TensorLayout, cross_entropy
from stategpt.packing import Layout
from stategpt.tokenizer import Tokenizer

ROWS, ROW_TOKENS = 8, 128
TOKENS = ROWS * ROW_TOKENS
STEP_ROUNDS, SAMPLING_ROUNDS = 20, 3
PROMPTS, COMPLETIONS, MAX_TOKENS = 200, 4, 24


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig())


def torch_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, targets, reduction="sum")


def batch(lengths: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, TensorLayout]:
    ids = torch.from_numpy(np.random.default_rng(0).integers(16, 4096, (2, TOKENS)))
    return ids[0], ids[1], TensorLayout.of(Layout.packed(lengths, ROW_TOKENS))


def training_step(
    forward: Callable[[], torch.Tensor],
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    targets: torch.Tensor,
    parameters: list[torch.nn.Parameter],
) -> Callable[[], float]:
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(forward(), targets) / TOKENS
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return float(loss.detach())

    return step


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_step_on_packed_rows(benchmark, model, precision):
    tokens, targets, layout = batch([[40, 60, 28]] * ROWS)

    def forward() -> torch.Tensor:
        with autocast(precision, "cpu"):
            return model(tokens, layout)

    step = training_step(forward, cross_entropy, targets, list(model.parameters()))
    benchmark.pedantic(step, rounds=STEP_ROUNDS, warmup_rounds=3)
    benchmark.extra_info["tokens_per_s"] = round(TOKENS / benchmark.stats["median"])


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_training_step_of_transformers_qwen3(benchmark, model, tmp_path, implementation):
    transformers = pytest.importorskip("transformers")
    model.save_pretrained(tmp_path)
    peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation=implementation).train()
    tokens, targets, layout = batch([[ROW_TOKENS]] * ROWS)

    def forward() -> torch.Tensor:
        return peer(tokens.view(ROWS, ROW_TOKENS), use_cache=False).logits.flatten(0, 1)

    torch.testing.assert_close(forward(), model(tokens, layout), rtol=1e-4, atol=1e-4)
    step = training_step(forward, torch_cross_entropy, targets, list(peer.parameters()))
    benchmark.pedantic(step, rounds=STEP_ROUNDS, warmup_rounds=3)
    benchmark.extra_info["tokens_per_s"] = round(TOKENS / benchmark.stats["median"])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_sampling(benchmark, model, precision):
    tok = Tokenizer.train(["a b c d"], vocab_size=280, special_tokens=CONTROL_TOKENS)
    draw = np.random.default_rng(0)
    prompts = [draw.integers(16, 280, int(length)).astype(np.uint32) for length in draw.integers(10, 25, PROMPTS)]
    engine = Engine(model, tok, precision=precision)
    alone = engine.generate(prompts[:1], n=1, temperature=0.7, max_tokens=MAX_TOKENS)[0]

    def sample() -> int:
        found = engine.generate(prompts, n=COMPLETIONS, temperature=0.7, max_tokens=MAX_TOKENS)
        assert precision == "bfloat16" or found[0].ids.tolist() == alone.ids.tolist()
        return sum(len(completion.ids) for completion in found)

    sampled_tokens = sample()
    benchmark.pedantic(sample, rounds=SAMPLING_ROUNDS, warmup_rounds=0)
    benchmark.extra_info["tokens_per_s"] = round(sampled_tokens / benchmark.stats["median"])
