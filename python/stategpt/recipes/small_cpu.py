"""small_cpu: the same stages with more parameters and more tokens; about an hour on two cores. Gates relevance too."""

from __future__ import annotations

from dataclasses import replace

from stategpt.config import GPTConfig, OptimConfig, RunConfig, SFTConfig, TokenizerConfig
from stategpt.recipes.tiny_cpu import tiny_cpu


def small_cpu() -> RunConfig:
    """`tiny_cpu` with 3.6 times the parameters and five times the tokens: answers may begin to fit the question."""
    tiny = tiny_cpu()
    return replace(
        tiny,
        name="small_cpu",
        tokenizer=TokenizerConfig(vocab_size=8192),
        # More code than in tiny_cpu: with its mixture the docstrings would be repeated six times at this length.
        # Up to about four repetitions are nearly as good as new text (arXiv 2305.16264).
        data=replace(tiny.data, proportions={"code": 0.55, "docstrings": 0.35, "comments": 0.1}),
        model=GPTConfig(
            vocab_size=8192,
            depth=4,
            width=320,
            heads=5,
            kv_heads=1,
            head_dim=64,
            mlp_width=896,
            context_tokens=256,
        ),
        pretrain=replace(
            tiny.pretrain,
            tokens=5_000_000,
            batch_rows=16,
            micro_batch_rows=16,
            optim=OptimConfig(learning_rate=2.4e-3, warmup_steps=100, flat_fraction=0.4, final_fraction=0.02),
            sample_at=(0, 100, 500, 1500, "end"),
        ),
        sft=SFTConfig(epochs=2.0, row_tokens=128, batch_rows=8, optim=OptimConfig(learning_rate=9e-4, warmup_steps=20)),
        rankings=replace(tiny.rankings, train_prompts=3200),
        reward=replace(tiny.reward, optim=replace(tiny.reward.optim, learning_rate=1.2e-3)),
        # What a seed changes and what over-optimization looks like are tiny_cpu's lessons; here one policy gets all the
        # minutes, and the report says that its seed is not in the intervals.
        rl=replace(
            tiny.rl, steps=150, beta=0.8, seeds=1, extra_betas=(), optim=replace(tiny.rl.optim, learning_rate=2.4e-4)
        ),
        gates=replace(tiny.gates, required=("base", "sft", "reward", "rl", "relevance")),
    )
