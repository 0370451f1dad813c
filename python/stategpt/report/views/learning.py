"""Training as one reads it: samples over pretraining, SFT's answers and the two relevance measures."""

from typing import Any

from stategpt.report.run_files import RunFiles, field, number
from stategpt.report.wording import fixed, percent, signed, span
from stategpt.visible_text import visible


def learning(files: RunFiles) -> dict[str, Any]:
    """Context of the parts on pretraining and SFT."""
    data = files.evaluation("sft")
    return {
        "samples": _samples(files),
        "sft": _similarities(data),
        "relevance": _relevance(data),
    }


def _samples(files: RunFiles) -> list[dict[str, Any]]:
    """For each prompt what the model wrote at each step."""
    by_prompt: dict[str, dict[int, str]] = {}
    for line in files.samples():
        by_prompt.setdefault(line["prompt"], {})[line["step"]] = line["text"]
    return [
        {
            "prompt": visible(prompt),
            "texts": [{"step": f"{step:,}", "text": visible(texts[step])} for step in sorted(texts)],
        }
        for prompt, texts in by_prompt.items()
    ]


def _similarities(data: Any) -> list[dict[str, str]]:
    rows = (
        ("SFT", "chrf_sft", None),
        ("prompted base", "chrf_prompted_base", "difference_to_prompted_base"),
        ("base, same prompt", "chrf_base", "difference_to_base"),
        ("SFT, shuffled references", "chrf_shuffled", "similarity_against_shuffled"),
    )
    return [
        {
            "label": label,
            "value": fixed(number(data, key)),
            "difference": signed(number(data, difference))
            if difference and number(data, difference) is not None
            else "",
            "interval": span(field(data, difference)) if difference else "",
        }
        for label, key, difference in rows
        if number(data, key) is not None
    ]


def _relevance(data: Any) -> dict[str, str] | None:
    gain, mentions = number(data, "similarity_against_shuffled"), number(data, "mentions_name", "sft")
    if gain is None and mentions is None:
        return None
    return {
        "gain": signed(gain),
        "gain_interval": span(field(data, "similarity_against_shuffled")),
        "mentions": percent(mentions),
        "mentions_reference": percent(number(data, "mentions_name", "reference")),
    }
