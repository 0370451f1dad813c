"""Derives the size of a run from `--model.depth N`: settings that are not given follow from the depth.

The rule in one sentence: *the dial keeps the recipe's proportions*. With `r` the recipe's value and `'` the new one:

====================  ======================================================================================
model.width           width' = width_r · depth' / depth_r, in whole heads (64 per block in `tiny_cpu`)
model.heads           as many heads of `head_dim` per width as the recipe has
model.kv_heads        the largest divisor of heads' that keeps the recipe's sharing or shares more
model.mlp_width    width' times the recipe's mlp_width / width, rounded up to whole heads (8/3: SwiGLU)
pretrain.tokens       the recipe's tokens per parameter
pretrain.batch_rows   grows as the square root of the tokens, in powers of two (arXiv 2410.21676: about B ~ D^0.5)
learning rates        of every trained stage: fall as 1 / width (arXiv 2203.03466); of adapters, ten times as high; of
                      reward and rl in a run that starts from a model, a twentieth
====================  ======================================================================================

From `tiny_cpu` the last rule gives 6.2e-5 at width 12,288, where GPT-3 175B was trained with 6e-5, and 2e-4 at width
4,096, where LLaMA-7B was trained with 3e-4. Turning the dial to the recipe's own depth changes nothing.

Two smaller rules hold without the dial: the model's and the tokenizer's vocabulary follow each other, and the micro
batch stays a divisor of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stategpt.config.checks import require_positive
from stategpt.config.model import GPTConfig
from stategpt.config.optim import OptimConfig
from stategpt.config.run import RunConfig
from stategpt.config.schema import flatten

LEARNING_RATE_TIMES_WIDTH = {"pretrain": 0.768, "sft": 0.288, "reward": 0.384, "rl": 0.0768, "classify": 0.192}
"""Learning rate of each trained stage times the width of the model: what `tiny_cpu` was tuned to at width 192."""

LORA_RATE_FACTOR = 10
"""Learning rate of adapters over that of whole matrices, at any rank: alpha / rank makes the best rate of an adapter
nearly independent of the rank, and it was about ten times that of full fine-tuning in fourteen models (Schulman et al.
2025, "LoRA Without Regret", Thinking Machines Lab). A head that is trained beside adapters keeps its own rate."""

STARTED_RATE_FACTORS = {"reward": 0.05, "rl": 0.05}
"""Factors of the rates of a run that starts from a model (`start.model`): what a long pretraining gave is lost at rates
that models of a few million tokens were tuned to. Measured for a reward model with adapters on SmolLM2-135M
(docs/log.md, 2026-11-30): at twenty times this rate it answers by chance, at three times it is unstable. RL has the
same factor, unmeasured, which gives adapters 7e-5 at width 576. Fine-tuning on demonstrations needs none."""

_LEARNING_RATES = tuple(f"{stage}.optim.learning_rate" for stage in LEARNING_RATE_TIMES_WIDTH)


def resolved_optim(run: RunConfig, stage: str) -> OptimConfig:
    """The optimizer settings of a stage; a learning rate of 0 becomes that of the model's width, of adapters and of
    what the run starts from.
    """
    optim: OptimConfig = getattr(run, stage).optim
    if optim.learning_rate:
        return optim
    factor: float = LORA_RATE_FACTOR if run.lora.rank and stage != "pretrain" else 1
    if run.start.model:
        factor *= STARTED_RATE_FACTORS.get(stage, 1)
    return replace(optim, learning_rate=float(f"{factor * LEARNING_RATE_TIMES_WIDTH[stage] / run.model.width:.3g}"))


def derive(base: RunConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that follow from those given (dotted key -> value), for a run that is `base` otherwise.

    Never contains a given key, nor a setting that keeps its value.

    Raises:
        ConfigError: a depth below 1, or given widths that contradict each other.
    """
    follow = _vocabulary(given)
    if "model.depth" in given:
        follow |= _from_depth(base, {**given, **follow})
    for stage in ("pretrain", "sft"):
        follow |= _micro_batch(base, stage, {**follow, **given})
    current = flatten(base)
    return {key: value for key, value in follow.items() if key not in given and value != current[key]}


def _vocabulary(given: Mapping[str, Any]) -> dict[str, Any]:
    for one, other in (("tokenizer.vocab_size", "model.vocab_size"), ("model.vocab_size", "tokenizer.vocab_size")):
        if one in given and other not in given:
            return {other: given[one]}
    return {}


def _micro_batch(base: RunConfig, stage: str, given: Mapping[str, Any]) -> dict[str, Any]:
    config = getattr(base, stage)
    rows = given.get(f"{stage}.batch_rows", config.batch_rows)
    if rows < 1 or f"{stage}.micro_batch_rows" in given:
        return {}
    return {f"{stage}.micro_batch_rows": _largest_divisor(rows, config.micro_batch_rows)}


def _from_depth(base: RunConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    require_positive("model", depth=given["model.depth"])
    model = _shape(base.model, given)
    follow: dict[str, Any] = {
        f"model.{name}": getattr(model, name) for name in ("width", "heads", "kv_heads", "mlp_width")
    }
    tokens = given.get("pretrain.tokens", round(base.pretrain_tokens * model.parameters / base.model.parameters))
    doublings = round(math.log2(max(tokens, 1) / base.pretrain_tokens) / 2)
    follow["pretrain.tokens"] = tokens
    follow["pretrain.batch_rows"] = max(1, round(base.pretrain.batch_rows * 2.0**doublings))
    current = flatten(base)
    for key in _LEARNING_RATES:
        follow[key] = float(f"{current[key] * base.model.width / model.width:.3g}")
    return follow


def _shape(base: GPTConfig, given: Mapping[str, Any]) -> GPTConfig:
    """The model at the given depth, with every model setting that is given taken as it is."""
    own = {key.removeprefix("model."): value for key, value in given.items() if key.startswith("model.")}
    depth, head_dim = own["depth"], own.get("head_dim", base.head_dim)
    require_positive("model", head_dim=head_dim)
    width = own.get("width", head_dim * max(1, round(base.width * depth / (base.depth * head_dim))))
    heads = own.get("heads", max(1, round(width * base.query_width / (base.width * head_dim))))
    kv_heads = _largest_divisor(max(1, heads), max(1, heads * base.kv_heads // base.heads))
    mlp_width = head_dim * -(-width * base.mlp_width // (base.width * head_dim))
    return replace(base, **{"width": width, "heads": heads, "kv_heads": kv_heads, "mlp_width": mlp_width} | own)


def _largest_divisor(number: int, limit: int) -> int:
    return next(divisor for divisor in range(min(number, limit), 0, -1) if number % divisor == 0)
