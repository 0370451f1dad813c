"""Formats a plan as text."""

from __future__ import annotations

from collections.abc import Sequence

from stategpt.cli.format import listing, table
from stategpt.config.model import GPTConfig
from stategpt.config.planner import Plan, StagePlan
from stategpt.config.presets import SIZE_IS_NOT_POWER, PresetPlan
from stategpt.config.stage_names import folder_label
from stategpt.config.toml import Resolved, format_value
from stategpt.quantities import duration, size


def run_text(
    plan: Plan,
    resolved: Resolved,
    corpus: Sequence[tuple[str, str]] = (),
    memory: int | None = None,
    corpus_title: str = "corpus (listed, not read)",
) -> str:
    """Formats the plan of a run: exact numbers first, then estimates and what they are based on.

    Args:
        corpus: description of the corpus, if it was looked at.
        memory: bytes that this machine has, if known.
        corpus_title: what the description was taken from.
    """
    tokens = plan.run.pretrain_steps * plan.run.step_tokens if "pretrain" in plan.run.stages else 0
    parts = [
        f"{plan.run.name}: {plan.parameters:,} parameters, {tokens:,} tokens, {_time(plan)}",
        "model\n" + listing(_model(plan.run.model, plan)),
        *_derived(resolved),
        *([f"{corpus_title}\n" + listing(corpus)] if corpus else []),
        *(["pretraining tokens\n" + listing(_sources(plan))] if "pretrain" in plan.run.stages else []),
        "stages\n" + table(_stages(plan)),
        *_too_large(plan, memory),
        "assumptions (each can be set, see --help)\n" + listing(_assumptions(plan)),
    ]
    return "\n\n".join(parts)


def _time(plan: Plan) -> str:
    if not plan.unknown:
        return f"about {duration(plan.seconds)}"
    return f"about {duration(plan.seconds)}, not counting what is unknown: {', '.join(plan.unknown)}"


def _too_large(plan: Plan, memory: int | None) -> list[str]:
    if memory is None or plan.memory_bytes <= memory:
        return []
    needed, there = size(plan.memory_bytes), size(memory)
    return [
        f"does not fit: the models alone take {needed}, this machine has {there}. Lower model.depth or the batch, "
        "or plan for a larger machine."
    ]


def _model(model: GPTConfig, plan: Plan) -> list[tuple[str, str]]:
    sharing = f"{model.heads} query and {model.kv_heads} key-value heads of {model.head_dim}"
    rest = plan.parameters - plan.embedding_parameters
    export = plan.export
    exportable = f"yes, loads in transformers as {export.architecture}" if export.architecture else "no"
    return [
        ("shape", f"{model.depth} blocks, width {model.width}, {sharing}, MLP {model.mlp_width}"),
        ("context", f"{model.context_tokens:,} tokens, rows of {plan.run.data.row_tokens:,}"),
        ("vocabulary", f"{model.vocab_size:,} tokens"),
        ("parameters", f"{plan.parameters:,} = {plan.embedding_parameters:,} embedding + {rest:,} other"),
        ("exportable", f"{exportable}: {export.reason}"),
        *([("limits", export.limits)] if export.limits else []),
    ]


def _derived(resolved: Resolved) -> list[str]:
    if not resolved.derived:
        return []
    causes = [key for key in resolved.given if key in ("model.depth", "model.vocab_size", "tokenizer.vocab_size")]
    causes = causes or [key for key in resolved.given if key.endswith(".batch_rows")]
    because = ", ".join(f"{key} = {resolved.given[key]}" for key in causes)
    entries = [(key, format_value(value)) for key, value in resolved.derived.items()]
    return [f"derived from {because}\n" + listing(entries)]


def _sources(plan: Plan) -> list[tuple[str, str]]:
    shares = plan.run.proportions
    entries = [(name, f"{tokens:,} ({shares[name]:.0%})") for name, tokens in plan.tokens_by_source.items()]
    schedule = f"{plan.run.pretrain_steps:,} steps of {plan.run.step_tokens:,} tokens"
    compared = "GPT-3 175B: 1.7, LLaMA-65B: 21"
    return [*entries, ("total", schedule), ("per parameter", f"{plan.tokens_per_parameter:.2f} ({compared})")]


def _stages(plan: Plan) -> list[list[str]]:
    head = ["", "trained parameters", "steps", "tokens", "FLOPs", "memory", "time"]
    total = [
        "total known" if plan.unknown else "total",
        "",
        "",
        "",
        f"{plan.flops:.2e}",
        size(plan.memory_bytes),
        duration(plan.seconds),
    ]
    return [head, *(_stage(stage, plan.parameters) for stage in plan.stages), total]


def _stage(stage: StagePlan, parameters: int) -> list[str]:
    """A row of the table; the share is of the model's parameters, which heads and adapters come on top of."""
    trained = f"{stage.trained:,} ({100 * stage.trained / parameters:.3g} %)" if stage.trained else ""
    if not stage.known:
        memory = size(stage.memory_bytes) if stage.memory_bytes else ""
        return [folder_label(stage.name), trained, "", "", "", memory, "not known"]
    return [
        folder_label(stage.name),
        trained,
        f"{stage.steps:,}" if stage.steps else "",
        f"{stage.tokens:,}" if stage.tokens else "",
        f"{stage.flops:.2e}" if stage.flops else "",
        size(stage.memory_bytes) if stage.memory_bytes else "",
        duration(stage.seconds),
    ]


def _assumptions(plan: Plan) -> list[tuple[str, str]]:
    assumed = plan.assumptions
    pairs = (
        f"{assumed.sft_pairs:,} pairs"
        if assumed.sft_pairs
        else "pairs not known before the corpus is read (--sft-pairs N)"
    )
    return [
        ("rate", f"{assumed.train_flops_per_s:.2g} FLOP/s training, {assumed.sample_flops_per_s:.2g} FLOP/s sampling"),
        (
            "SFT" if any(stage.name == "sft" for stage in plan.stages) else "answers",
            f"{pairs}, prompt {assumed.prompt_tokens} and answer {assumed.answer_tokens} tokens",
        ),
        (
            "FLOPs",
            "6 N + 12 L Q T per trained token (frozen matrices: 4 N), a third of it per token read (PaLM, appendix B)",
        ),
        ("memory", "models only; Python, torch and the corpus take about 1 GB more"),
    ]


def preset_text(plan: PresetPlan) -> str:
    """Formats the plan of a published model."""
    preset, machine = plan.preset, plan.hardware
    mlp = f"MLP {preset.mlp_width:,}{' gated' if preset.gated else ''}"
    shape = f"{preset.depth} blocks, width {preset.width:,}, {preset.heads} heads, {mlp}"
    gpus = f"{machine.device} at {machine.utilization:.0%} of {machine.peak_flops_per_s / 1e12:,.0f} TFLOP/s"
    published = f"{preset.published_parameters / 1e9:.3g} billion"
    entries = [
        ("shape", f"{shape}, context {preset.context_tokens:,}"),
        ("vocabulary", f"{preset.vocab_size:,} tokens"),
        ("parameters", f"{plan.parameters:,} ({published} published)"),
        ("tokens", f"{preset.tokens / 1e9:,.0f} billion, {plan.tokens_per_parameter:,.1f} per parameter"),
        ("batch", f"{preset.batch_tokens / 1e6:g} million tokens, {plan.steps:,} steps"),
        ("learning rate", f"{preset.learning_rate:g}"),
        ("FLOPs", f"{plan.flops:.3g} (6 N + 12 L D T per token)"),
        ("time", f"{plan.gpu_hours:,.0f} GPU-hours, {gpus}"),
        ("source", preset.source),
    ]
    return f"{preset.name}\n{listing(entries)}\n\n{SIZE_IS_NOT_POWER}"
