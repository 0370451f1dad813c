"""tiny_cpu: the default job. About eight minutes on two cores, no download: how a GPT assistant is made, small."""

from __future__ import annotations

from stategpt.config import (
    CorpusConfig,
    DataConfig,
    EvaluateConfig,
    GatesConfig,
    GPTConfig,
    OptimConfig,
    PretrainConfig,
    RankingsConfig,
    RewardConfig,
    RLConfig,
    RunConfig,
    SamplingConfig,
    SFTConfig,
    TokenizerConfig,
)

_CORPUS = CorpusConfig(
    source="python_library",
    validation_share=0.04,
    test_share=0.12,
    min_response_characters=12,
    max_response_characters=140,
)


def tiny_cpu() -> RunConfig:
    """All four stages on the standard library of this interpreter, with a model of about two million parameters."""
    return RunConfig(
        name="tiny_cpu",
        corpus=_CORPUS,
        tokenizer=TokenizerConfig(vocab_size=4096, pattern="gpt4"),
        # Later stages use the docstrings, so they get the largest share although code is the larger source.
        data=DataConfig(row_tokens=128, proportions={"code": 0.3, "docstrings": 0.6, "comments": 0.1}),
        # Wide and shallow: on a CPU most time is element-wise work per block, so width is nearly free.
        model=GPTConfig(
            vocab_size=4096,
            depth=3,
            width=192,
            heads=3,
            kv_heads=1,
            head_dim=64,
            mlp_width=512,
            context_tokens=256,
        ),
        # Short rows and small batches: at equal time, more steps beat longer context here.
        pretrain=PretrainConfig(
            tokens=1_050_000,
            batch_rows=8,
            micro_batch_rows=8,
            optim=OptimConfig(learning_rate=4e-3, warmup_steps=40, flat_fraction=0.4, final_fraction=0.02),
            log_every_steps=5,
            checkpoint_every_steps=200,
            sample_at=(0, 50, 200, 500, "end"),
            sample_prompts=("Return", "Raised when", "def ", "# "),
        ),
        sft=SFTConfig(
            epochs=1.0, row_tokens=128, batch_rows=8, optim=OptimConfig(learning_rate=1.5e-3, warmup_steps=10)
        ),
        sampling=SamplingConfig(temperature=0.7, max_tokens=48),
        rankings=RankingsConfig(train_prompts=1600, completions=4, tie_below=2.0, scorer="docstring_style"),
        reward=RewardConfig(
            epochs=1.0,
            prompts_per_batch=16,
            optim=OptimConfig(learning_rate=2e-3, warmup_steps=5),
            checkpoint_every_steps=50,
        ),
        rl=_rl(),
        evaluate=EvaluateConfig(sft_samples=672, comparison_prompts=672, best_of=(2, 4, 8)),
        # The margin allows for another machine: the interval of three seeds is 0.07 wide (docs/decisions/0025).
        gates=GatesConfig(required=("base", "sft", "reward", "rl", "best_of_n"), rl_best_of_margin=0.05),
    )


def _rl() -> RLConfig:
    """About as many wins as best-of-4, at less than twice its KL: docs/decisions/0025."""
    return RLConfig(
        steps=70,
        prompts_per_step=24,
        completions=8,
        micro_batch_completions=192,
        beta=0.5,
        seeds=3,
        extra_betas=(0.04,),
        checkpoint_every_steps=10,
        # The norm limit is for outliers: gradients have a norm of 6, and Adam divides by their size anyway.
        optim=OptimConfig(
            learning_rate=4e-4,
            warmup_steps=5,
            flat_fraction=0.2,
            final_fraction=0.05,
            weight_decay=0.0,
            clip_norm=20.0,
        ),
    )
