"""How numbers, names and foreign text are written in the report: one place, so that they are the same everywhere."""

import math

from stategpt import quantities
from stategpt.evaluate.statistics import Interval
from stategpt.tokenizer.inspection import readable

_ABOUT_A_MILLION_TOKENS = range(500_000, 2_000_000)

_SYSTEM_LABELS = {
    "base": "base",
    "prompted_base": "prompted base",
    "sft": "SFT",
    "rlhf": "RLHF",
    "reference": "reference answers",
}


def sentence(training_tokens: float | None) -> str:
    """What the run is, said once and plainly; longer runs point to the relevance measures instead of promising."""
    start = "How a GPT assistant is made, in miniature; its answers have the form of the reference answers, "
    if training_tokens is not None and training_tokens < _ABOUT_A_MILLION_TOKENS.start:
        return start + f"and after {count(training_tokens)} tokens they are rarely true."
    if training_tokens is not None and training_tokens >= _ABOUT_A_MILLION_TOKENS.stop:
        return (
            start
            + f"and whether they are about the question, after {count(training_tokens)} tokens, is measured below."
        )
    return start + "and at a million tokens they are rarely true."


def system_label(name: str) -> str:
    """best_of_4 -> best-of-4, sft -> SFT, rlhf_beta_0.04 -> RLHF, beta 0.04."""
    if name.startswith("rlhf_beta_"):
        return f"RLHF, beta {name.removeprefix('rlhf_beta_')}"
    return _SYSTEM_LABELS.get(name, name.replace("_", "-"))


def fixed(value: float | None, digits: int = 3) -> str:
    """A number with `digits` decimals and a real minus sign; a dash for what was not measured."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """As `fixed`, with a plus sign."""
    return ("+" if value is not None and math.isfinite(value) and value >= 0 else "") + fixed(value, digits)


def plain(value: float | None) -> str:
    """A score as short as it can be: 7, 0.5; a dash for what was not measured."""
    return "–" if value is None else f"{value:.4g}".replace("-", "−")


def percent(share: float | None, digits: int = 0) -> str:
    """.6153 -> 62 %."""
    return "–" if share is None else f"{fixed(100 * share, digits)} %"


def count(number: float | None) -> str:
    """1050000 -> 1.05 M, 12345 -> 12,345."""
    if number is None:
        return "–"
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if abs(number) >= limit:
            return f"{number / limit:.3g} {unit}"
    return f"{number:,.0f}"


def duration(seconds: float | None) -> str:
    """184.2 -> 3 min 04 s; a dash for what was not measured."""
    return "–" if seconds is None else quantities.duration(seconds)


def span(interval: Interval | None, digits: int = 3) -> str:
    """The bounds of an interval: 0.584 to 0.642; empty where there are none."""
    if interval is None or not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return ""
    return f"{fixed(interval.low, digits)} to {fixed(interval.high, digits)}"


def visible_token(text: str) -> str:
    """A token with its white space shown: a middle dot for a space, arrows for line ends and tabs."""
    return readable(text.encode("utf-8", "replace")) or "∅"
