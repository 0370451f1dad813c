"""How numbers, names and foreign text are written in the report: one place, so that they are the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from stategpt import quantities
from stategpt.config import RunConfig
from stategpt.config.presence import ALL_STAGES, REWARD_MODEL
from stategpt.config.stage_names import STAGE_OF, USUAL_STAGES
from stategpt.evaluate.statistics import Interval
from stategpt.tokenizer.inspection import readable
from stategpt.visible_text import visible_line

_ABOUT_A_MILLION_TOKENS = range(500_000, 2_000_000)


@dataclass(frozen=True)
class Names:
    """What the models of a run are called: by the stages that ran, so that no label names one that did not."""

    base: str = "base"
    """The model that everything begins with: pretrained by the run, or the "start" model."""
    policy: str = "SFT"
    """The model that is sampled, and that RL begins as."""
    rewarder: str = "the reward model"
    """What RL maximizes."""
    demonstrations: str = "demonstrations"
    """The answers whose mean reward is 0."""

    @classmethod
    def of(cls, run: RunConfig | None) -> Names:
        """Those of a run; of one whose settings cannot be read, those of a run of all stages."""
        if run is None:
            return cls()
        base = "start" if run.start.model and "pretrain" not in run.stages else "base"
        own = "rl" in run.stages and run.rl.scorer != REWARD_MODEL
        has_chats = bool(run.corpus.source or run.sft.data)
        return cls(
            base=base,
            policy="SFT" if run.policy == "sft" else base,
            rewarder=f"the scorer {visible_line(run.rl.scorer)}" if own else "the reward model",
            demonstrations="demonstrations" if has_chats else "best-ranked completions",
        )

    def system(self, name: str) -> str:
        """best_of_4 -> best-of-4, sft -> SFT (or what is in its place), rlhf_beta_0.04 -> RLHF, beta 0.04."""
        if name.startswith("rlhf_beta_"):
            return f"RLHF, beta {name.removeprefix('rlhf_beta_')}"
        labels = {
            "base": self.base,
            "prompted_base": f"prompted {self.base}",
            "sft": self.policy,
            "rlhf": "RLHF",
            "reference": "reference answers",
        }
        return labels.get(name, name.replace("_", "-"))


METHOD_LABELS = {
    "full": "fine-tuned",
    "lora": "fine-tuned, LoRA",
    "few_shot": "few-shot prompt",
    "random": "from random weights",
}
"""What the methods of classification are called."""
ALL_RAN = Names()
"""Of a run of all stages."""


def sentence(training_tokens: float | None, stages: Collection[str] = USUAL_STAGES) -> str:
    """What a run of these stages is, said once and plainly; longer runs point to the relevance measures instead of
    promising, and those without fine-tuning, or that begin with a model, name their stages.
    """
    if not {"pretrain", "sft"} <= set(stages):
        titles = [STAGE_OF[name].title for name in ALL_STAGES if name in set(stages) - {"prepare", "compare"}]
        return f"A run of {', '.join(titles)}." if titles else "A run that prepares data."
    start = "How a GPT assistant is made, in miniature; its answers have the form of the reference answers, "
    if training_tokens is not None and training_tokens < _ABOUT_A_MILLION_TOKENS.start:
        return start + f"and after {count(training_tokens)} tokens they are rarely true."
    if training_tokens is not None and training_tokens >= _ABOUT_A_MILLION_TOKENS.stop:
        return (
            start
            + f"and whether they are about the question, after {count(training_tokens)} tokens, is measured below."
        )
    return start + "and at a million tokens they are rarely true."


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
