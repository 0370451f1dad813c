"""Training as one reads it: hyperparameters beside published ones, samples over pretraining, SFT and its measures."""

from collections.abc import Sequence
from typing import Any

from stategpt.config import RunConfig
from stategpt.config.dial import resolved_optim
from stategpt.config.presets import PRESETS, Preset
from stategpt.evaluate.records import MaskedToken, Sample, SFTEvaluation
from stategpt.report import lessons
from stategpt.report.run_files import RunFiles, mean
from stategpt.report.wording import Names, count, fixed, percent, signed, span, visible_token
from stategpt.visible_text import visible

_BESIDE = {"gpt3-175b": "GPT-3 175B", "llama-65b": "LLaMA-65B"}
_CONTROL_TOKEN = ("<|", "|>")


def learning(files: RunFiles) -> dict[str, Any]:
    """Context of the parts on pretraining and SFT."""
    evaluations = files.evaluations
    sft = evaluations.sft
    return {
        "hyperparameters": _hyperparameters(files.run, files.tokens("base")) if files.run else [],
        "samples": _samples(files.samples()),
        "pretraining_lesson": lessons.pretraining(evaluations),
        "sft": _similarities(sft, files.names),
        "sft_lesson": lessons.fine_tuning(evaluations, files.names),
        "relevance": _relevance(sft),
        "training_example": _masked(sft.training_example),
        "few_shot": visible(sft.few_shot_document),
        "base_answers": _base_answers(sft, files.names),
    }


def _hyperparameters(run: RunConfig, tokens: int | None) -> list[tuple[str, list[str]]]:
    """Label, and the value of this run and of the published models."""
    model, data = run.model, run.data
    batch = run.pretrain.batch_rows * data.row_tokens
    rate = resolved_optim(run, "pretrain").learning_rate
    trained = tokens if tokens is not None else run.pretrain.tokens
    beside = [PRESETS[name] for name in _BESIDE]

    def row(label: str, own: str, of: Any) -> tuple[str, list[str]]:
        return label, [own, *(of(preset) for preset in beside)]

    return [
        row("parameters", count(model.parameters), lambda p: count(p.published_parameters)),
        row("layers", f"{model.depth}", lambda p: f"{p.depth}"),
        row("width", count(model.width), lambda p: count(p.width)),
        row("attention heads", f"{model.heads}", lambda p: f"{p.heads}"),
        row("context, tokens", count(model.context_tokens), lambda p: count(p.context_tokens)),
        row("vocabulary", count(model.vocab_size), lambda p: count(p.vocab_size)),
        row("batch, tokens", count(batch), lambda p: count(p.batch_tokens)),
        row("learning rate", _rate(rate), lambda p: _rate(p.learning_rate)),
        row("training tokens", count(trained), lambda p: count(p.tokens)),
        row("tokens per parameter", fixed(trained / model.parameters, 1), lambda p: fixed(_per_parameter(p), 1)),
    ]


def _rate(rate: Any) -> str:
    return f"{rate:.1e}" if isinstance(rate, float | int) else str(rate)


def _per_parameter(preset: Preset) -> float:
    return preset.tokens / preset.published_parameters


def _samples(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """For each prompt what the model wrote at each step: the most likely tokens, and what was drawn."""
    by_prompt: dict[str, dict[int, dict[int, str]]] = {}
    for line in samples:
        by_prompt.setdefault(line.prompt, {}).setdefault(line.step, {})[line.draw] = line.text
    return [
        {
            "prompt": visible(prompt),
            "steps": [
                {
                    "step": f"{step:,}",
                    "greedy": visible(draws[0]) if 0 in draws else None,
                    "drawn": [visible(draws[draw]) for draw in sorted(draws) if draw],
                }
                for step, draws in sorted(steps.items())
            ],
        }
        for prompt, steps in by_prompt.items()
    ]


def _masked(tokens: Sequence[MaskedToken]) -> list[dict[str, Any]]:
    return [
        {
            "text": visible(token.text) if _is_control(token.text) else visible_token(token.text),
            "trained": token.trained,
            "control": _is_control(token.text),
        }
        for token in tokens
    ]


def _is_control(text: str) -> bool:
    return text.startswith(_CONTROL_TOKEN[0]) and text.endswith(_CONTROL_TOKEN[1])


def _base_answers(sft: SFTEvaluation, names: Names) -> dict[str, Any] | None:
    """The first example: the base model with the bare prompt, with the few-shot document, and SFT's answer."""
    if not sft.examples:
        return None
    example = sft.examples[0]
    order = [name for name in ("base", "prompted_base", "sft") if name in example.answers]
    return {
        "prompt": visible(example.prompt),
        "reference": visible(example.reference),
        "answers": [
            {"name": name, "label": names.system(name), "text": visible(example.answers[name].strip())}
            for name in order
        ],
    }


def _similarities(sft: SFTEvaluation, names: Names) -> list[dict[str, str]]:
    rows = (
        ("SFT", sft.chrf.get("sft"), None),
        (names.system("prompted_base"), sft.chrf.get("prompted_base"), sft.difference_to_prompted_base),
        (f"{names.base}, same prompt", sft.chrf.get("base"), sft.difference_to_base),
        ("SFT, shuffled references", sft.chrf_shuffled, sft.difference_to_shuffled),
    )
    return [
        {
            "label": label,
            "value": fixed(value),
            "difference": "" if difference is None else signed(difference.mean),
            "interval": span(difference),
        }
        for label, value, difference in rows
        if value is not None
    ]


def _relevance(sft: SFTEvaluation) -> dict[str, str] | None:
    gain, mentions = sft.difference_to_shuffled, sft.mentions_subject.sft
    if gain is None and mentions is None:
        return None
    return {
        "gain": signed(mean(gain)),
        "gain_interval": span(gain),
        "mentions": percent(mean(mentions)),
        "mentions_reference": percent(sft.mentions_subject.reference),
    }
