"""Training as one reads it: samples over pretraining, SFT's answers and the two relevance measures."""

from typing import Any

from stategpt.evaluate.records import SFTEvaluation
from stategpt.report.run_files import RunFiles, mean
from stategpt.report.wording import fixed, percent, signed, span
from stategpt.visible_text import visible


def learning(files: RunFiles) -> dict[str, Any]:
    """Context of the parts on pretraining and SFT."""
    sft = files.evaluations.sft
    return {
        "samples": _samples(files),
        "sft": _similarities(sft),
        "relevance": _relevance(sft),
    }


def _samples(files: RunFiles) -> list[dict[str, Any]]:
    """For each prompt what the model wrote at each step."""
    by_prompt: dict[str, dict[int, str]] = {}
    for line in files.samples():
        by_prompt.setdefault(line.prompt, {})[line.step] = line.text
    return [
        {
            "prompt": visible(prompt),
            "texts": [{"step": f"{step:,}", "text": visible(texts[step])} for step in sorted(texts)],
        }
        for prompt, texts in by_prompt.items()
    ]


def _similarities(sft: SFTEvaluation) -> list[dict[str, str]]:
    rows = (
        ("SFT", sft.chrf.get("sft"), None),
        ("prompted base", sft.chrf.get("prompted_base"), sft.difference_to_prompted_base),
        ("base, same prompt", sft.chrf.get("base"), sft.difference_to_base),
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
