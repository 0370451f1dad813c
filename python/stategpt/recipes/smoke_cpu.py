"""smoke_cpu: every stage in seconds, to see that the machinery runs. It learns next to nothing and gates nothing."""

from __future__ import annotations

from dataclasses import replace

from stategpt.config import (
    EvaluateConfig,
    GatesConfig,
    GPTConfig,
    PretrainConfig,
    RankingsConfig,
    RewardConfig,
    RunConfig,
    SamplingConfig,
    SFTConfig,
    TokenizerConfig,
)
from stategpt.recipes.tiny_cpu import tiny_cpu


def smoke_cpu(*folders: str) -> RunConfig:
    """Every stage in seconds, with a model of some 40,000 parameters: it shows that the machinery runs, no more.

    `folders` of Python files are the corpus; without them it is the standard library.
    """
    tiny = tiny_cpu()
    return replace(
        tiny,
        name="smoke_cpu",
        corpus=replace(tiny.corpus, paths=folders, validation_share=0.1, test_share=0.3) if folders else tiny.corpus,
        tokenizer=TokenizerConfig(vocab_size=512),
        model=GPTConfig(
            vocab_size=512,
            depth=2,
            width=32,
            heads=2,
            kv_heads=1,
            head_dim=16,
            mlp_width=96,
            context_tokens=256,
        ),
        pretrain=PretrainConfig(
            tokens=12 * 4 * 128,
            batch_rows=4,
            micro_batch_rows=2,
            optim=replace(tiny.pretrain.optim, warmup_steps=2),
            log_every_steps=2,
            checkpoint_every_steps=4,
            sample_at=(0, "end"),
            sample_prompts=("Return the",),
            sample_tokens=8,
        ),
        sft=SFTConfig(row_tokens=256, batch_rows=2, micro_batch_rows=1, optim=tiny.sft.optim, checkpoint_every_steps=4),
        sampling=SamplingConfig(max_tokens=12),
        rankings=RankingsConfig(
            train_prompts=16, test_prompts=8, completions=3, tie_below=2.0, scorer="docstring_style"
        ),
        reward=RewardConfig(prompts_per_batch=4, optim=tiny.reward.optim, checkpoint_every_steps=2),
        rl=replace(
            tiny.rl,
            steps=4,
            prompts_per_step=4,
            completions=3,
            seeds=1,
            extra_betas=(),
            checkpoint_every_steps=2,
            evaluate_every_steps=2,
        ),
        evaluate=EvaluateConfig(
            test_tokens=2048,
            sft_samples=8,
            comparison_prompts=8,
            frontier_prompts=4,
            best_of=(2,),
            few_shot_examples=1,
            bootstrap_resamples=100,
            examples=4,
        ),
        gates=GatesConfig(required=()),
    )
