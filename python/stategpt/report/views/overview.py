"""The top of the page: what this run is, the four stages with its own numbers, and the gates."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stategpt.evaluate.gates import format_value, verdict
from stategpt.evaluate.records import GateResult, SystemMeasures
from stategpt.report.run_files import RunFiles, mean
from stategpt.report.wording import count, duration, fixed, percent, sentence, signed, span


@dataclass(frozen=True)
class StageCard:
    """One box of the four-stage picture."""

    number: int
    """Place in the talk, 1 to 4."""
    name: str
    """Color name and folder."""
    title: str
    """Heading."""
    data: str
    """What it learns from."""
    algorithm: str
    """How."""
    result: str
    """What comes out."""
    facts: list[tuple[str, str]]
    """The run's own numbers: label, value. Empty when the run has not reached it."""


def overview(files: RunFiles) -> dict[str, Any]:
    """Context of the page's head."""
    gates = files.gates
    tokens = files.tokens("base")
    return {
        "name": files.name,
        "sentence": sentence(tokens, files.stages),
        "facts": _facts(files, gates, tokens),
        "stages": [card(files) for card, stages in _CARDS if stages & files.stages],
        "gates": [_gate_row(gate) for gate in gates],
    }


def _facts(files: RunFiles, gates: list[GateResult], tokens: int | None) -> list[tuple[str, str]]:
    seconds = files.seconds()
    facts = [
        ("parameters", count(files.run.model.parameters)) if files.run else None,
        ("pretraining tokens", count(tokens)) if tokens else None,
        ("all stages", duration(sum(seconds.values()))) if seconds else None,
        ("gates passed", _passed(gates)) if gates else None,
    ]
    return [fact for fact in facts if fact]


def _passed(gates: list[GateResult]) -> str:
    """Passed of the required gates; those that only warn are counted apart."""
    required = [gate for gate in gates if gate.severity == "fail"]
    warnings = sum(not gate.passed for gate in gates if gate.severity == "warn")
    said = f"{sum(gate.passed for gate in required)} of {len(required)}"
    return f"{said}, {warnings} warning{'s' if warnings > 1 else ''}" if warnings else said


def _gate_row(gate: GateResult) -> dict[str, str]:
    return {
        "label": gate.label or gate.name,
        "name": gate.name,
        "verdict": verdict(gate),
        "value": format_value(gate.value).replace("-", "−"),
        "interval": span(gate.interval),
        "rule": gate.rule.replace(">=", "≥").replace("<=", "≤"),
    }


def _kept(*facts: tuple[str, str | None]) -> list[tuple[str, str]]:
    return [(label, value) for label, value in facts if value]


def _shown(value: float | None, text: str) -> str | None:
    return None if value is None else text


def _pretraining(files: RunFiles) -> StageCard:
    mixed = files.evaluations.base.mixed
    bits, kneser_ney = mixed.bits_per_byte, mixed.kneser_ney_bits_per_byte
    tokens = files.tokens("base")
    return StageCard(
        1,
        "base",
        "Pretraining",
        "raw documents, mixed by proportions and packed into rows",
        "next-token prediction",
        "base model",
        _kept(
            ("tokens", _shown(tokens, count(tokens))),
            ("bits per byte", _shown(bits, fixed(bits))),
            ("before, of the start model", _shown(mixed.start_bits_per_byte, fixed(mixed.start_bits_per_byte))),
            ("n-gram model's", _shown(kneser_ney, fixed(kneser_ney))),
        ),
    )


def _sft(files: RunFiles) -> StageCard:
    sft = files.evaluations.sft
    ended, gain = mean(sft.ended_share), mean(sft.difference_to_base)
    tokens = files.tokens("sft")
    return StageCard(
        2,
        "sft",
        "Supervised fine-tuning",
        "prompts and ideal responses, written by people",
        "the same, on response tokens only",
        "SFT model",
        _kept(
            ("tokens", _shown(tokens, count(tokens))),
            ("answers end", _shown(ended, percent(ended, 1))),
            (f"chrF above {files.names.base}", _shown(gain, signed(gain))),
        ),
    )


def _reward(files: RunFiles) -> StageCard:
    groups, reward = files.evaluations.rankings.groups, files.evaluations.reward
    accuracy, by_length = mean(reward.pair_accuracy), reward.length_only_accuracy
    return StageCard(
        3,
        "reward",
        "Reward modeling",
        "completions of one prompt, ranked",
        "all pairs of a prompt, read at a reward token",
        "reward model",
        _kept(
            ("ranked prompts", _shown(groups, count(groups))),
            ("pair accuracy", _shown(accuracy, fixed(accuracy))),
            ("by length alone", _shown(by_length, fixed(by_length))),
        ),
    )


def _rl(files: RunFiles) -> StageCard:
    log = files.metrics("rl")
    system = files.evaluations.comparison.systems.get("rlhf", SystemMeasures())
    wins, kl = mean(system.win_rate_vs_sft), mean(system.kl)
    return StageCard(
        4,
        "rlhf",
        "Reinforcement learning",
        "prompts",
        f"sample, read the reward, weight the completion by it, stay near the {files.names.policy} model",
        "RLHF model",
        _kept(
            ("steps", count(log[-1]["step"]) if log else None),
            (f"wins against {files.names.policy}", _shown(wins, percent(wins, 1))),
            (f"KL to {files.names.policy}", _shown(kl, f"{fixed(kl, 1)} nats")),
        ),
    )


_CARDS: tuple[tuple[Callable[[RunFiles], StageCard], set[str]], ...] = (
    (_pretraining, {"pretrain"}),
    (_sft, {"sft"}),
    (_reward, {"rankings", "reward"}),
    (_rl, {"rl"}),
)
"""The boxes, each with the stages of which the run needs one to have it."""
