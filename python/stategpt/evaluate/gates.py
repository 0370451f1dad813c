"""Gates: what a run promises, checked against what it measured. Pure functions from evaluation.json to verdicts.

A gate belongs to a family (base, sft, reward, rl, relevance). `GatesConfig.required` names the families whose gates
fail a `run --check`; those of other families only warn, as diversity always does. A required gate whose stage left no
measurement is not passed: nothing is taken on trust.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stategpt.artifacts import publish_file
from stategpt.config import GatesConfig
from stategpt.errors import DataError
from stategpt.shown_fields import documented

from .statistics import Interval, wilson

Severity = Literal["fail", "warn"]
Json = Mapping[str, Any]

EVALUATIONS = ("base", "sft", "reward", "comparison")
"""Folders of a run whose evaluation.json the gates read."""


@documented
@dataclass(frozen=True)
class Gate:
    """One promise and whether it was kept."""

    gate: str
    """Name, e.g. "rl_win_rate"."""
    value: float | None
    """The measured value; None when the run did not measure it."""
    interval: Interval | None
    """Its interval, where it has one."""
    rule: str
    """The promise in words, with its threshold."""
    passed: bool
    """Whether the rule holds."""
    severity: Severity = "fail"
    """"fail": `--check` exits non-zero when not passed; "warn": only said."""

    def to_json(self) -> dict[str, Any]:
        """The entry of gates.json."""
        return {
            "gate": self.gate,
            "value": self.value,
            "interval": None if self.interval is None else self.interval.to_json(),
            "rule": self.rule,
            "passed": self.passed,
            "severity": self.severity,
        }

    @classmethod
    def from_json(cls, data: Json) -> "Gate":
        """Read what `to_json` wrote."""
        interval = None if data.get("interval") is None else Interval.from_json(data["interval"])
        severity: Severity = "warn" if data.get("severity") == "warn" else "fail"
        return cls(data["gate"], data["value"], interval, data["rule"], bool(data["passed"]), severity)


def check_gates(evaluations: Mapping[str, Json], thresholds: GatesConfig) -> list[Gate]:
    """All gates, in the order of the stages, from {"base": ..., "sft": ..., "reward": ..., "comparison": ...}.

    A missing evaluation, or field of one, leaves its gates without a value: not passed if required, else left out.
    """
    families = {
        "base": _base(evaluations.get("base", {}), thresholds),
        "sft": _sft(evaluations.get("sft", {}), thresholds),
        "reward": _reward(evaluations.get("reward", {}), thresholds),
        "rl": _rl(evaluations.get("comparison", {}), thresholds),
        "relevance": _relevance(evaluations.get("sft", {}), thresholds),
    }
    gates = []
    for family, measured in families.items():
        required = family in thresholds.required
        if family == "relevance" and not required:
            continue  # reported beside the gates, by design not one of them
        severity: Severity = "fail" if required else "warn"
        gates += [_with_severity(gate, severity) for gate in measured if required or gate.value is not None]
    return gates + [
        gate for gate in _diversity(evaluations.get("comparison", {}), thresholds) if gate.value is not None
    ]


def read_evaluations(run_folder: Path) -> dict[str, Json]:
    """The evaluation.json of each stage that has one."""
    found: dict[str, Json] = {}
    for name in EVALUATIONS:
        path = run_folder / name / "evaluation.json"
        if path.exists():
            found[name] = _read(path)
    return found


def write_gates(gates: Sequence[Gate], run_folder: Path) -> Path:
    """Publish report/gates.json of the run and return its path."""
    path = run_folder / "report" / "gates.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    publish_file(path, (json.dumps([gate.to_json() for gate in gates], indent=2) + "\n").encode())
    return path


def read_gates(run_folder: Path) -> list[Gate]:
    """The gates of report/gates.json; none when the run has not reached them."""
    path = run_folder / "report" / "gates.json"
    return [Gate.from_json(entry) for entry in _read(path)] if path.exists() else []


def failed(gates: Iterable[Gate]) -> list[Gate]:
    """Gates that must hold and do not: non-empty means `run --check` exits non-zero."""
    return [gate for gate in gates if gate.severity == "fail" and not gate.passed]


def verdict(gate: Gate) -> Literal["pass", "fail", "warn"]:
    """One word for a table."""
    return "pass" if gate.passed else gate.severity


def format_value(value: float | None) -> str:
    """Three decimals, or a power of ten for tiny p values; words for what was not measured."""
    if value is None:
        return "not measured"
    return f"{value:.1e}" if 0 < abs(value) < 5e-4 else f"{value:.3f}"


def _base(data: Json, thresholds: GatesConfig) -> list[Gate]:
    interval = _interval(data, "mixed", "difference")
    below = 0 - thresholds.base_margin_bits_per_byte  # not a minus sign: that would print "-0"
    rule = f"mixed bits/byte minus a byte-level Kneser-Ney 5-gram's on the same bytes: interval below {below:g}"
    return [_gate("base", interval, rule, interval is not None and interval.high < below)]


def _sft(data: Json, thresholds: GatesConfig) -> list[Gate]:
    ended, samples = _number(data, "ended_share"), int(_number(data, "samples") or 0)
    enough = samples >= thresholds.sft_samples
    least = thresholds.sft_ended_share
    rule = f"share ending with end-of-text >= {least:.2f} of at least {thresholds.sft_samples} samples"
    first = Gate(
        "sft_ended",
        ended,
        wilson(round(ended * samples), samples) if ended is not None and samples else None,
        rule + ("" if enough or ended is None else f" (only {samples} measured)"),
        enough and ended is not None and ended >= least,
    )
    gain = _interval(data, "difference_to_base")
    above = thresholds.sft_similarity_gain
    rule = f"chrF to the reference, SFT minus base on the same prompts: interval above {above:g}"
    return [first, _gate("sft_similarity", gain, rule, gain is not None and gain.low > above)]


def _reward(data: Json, thresholds: GatesConfig) -> list[Gate]:
    accuracy = _interval(data, "pair_accuracy")
    least = thresholds.reward_pair_accuracy
    by_length, p = _number(data, "length_only_accuracy"), _number(data, "mcnemar", "p")
    rule = f"held-out pair accuracy above a length-only baseline's by McNemar p < {thresholds.reward_mcnemar_p:g}"
    better = accuracy is not None and by_length is not None and accuracy.mean > by_length
    return [
        _gate(
            "reward_accuracy",
            accuracy,
            f"held-out pair accuracy >= {least:.2f}",
            accuracy is not None and accuracy.mean >= least,
        ),
        Gate("reward_beats_length", p, None, rule, better and p is not None and p < thresholds.reward_mcnemar_p),
    ]


def _rl(data: Json, thresholds: GatesConfig) -> list[Gate]:
    wins, kl = _interval(data, "systems", "rlhf", "win_rate_vs_sft"), _number(data, "systems", "rlhf", "kl")
    prompts = int(_number(data, "prompts") or 0)
    enough = prompts >= thresholds.rl_prompts
    rule = (
        f"win rate against SFT by the labeler >= {thresholds.rl_win_rate:.2f}, lower bound > "
        f"{thresholds.rl_win_rate_lower:.2f}, on at least {thresholds.rl_prompts} prompts"
    )
    won = wins is not None and wins.mean >= thresholds.rl_win_rate and wins.low > thresholds.rl_win_rate_lower
    return [
        _gate("rl_win_rate", wins, rule + ("" if enough or wins is None else f" (only {prompts})"), enough and won),
        Gate(
            "rl_kl",
            kl,
            None,
            f"mean KL to SFT <= {thresholds.rl_kl:g} nats per completion",
            kl is not None and kl <= thresholds.rl_kl,
        ),
    ]


def _relevance(data: Json, thresholds: GatesConfig) -> list[Gate]:
    gain, mentions = _interval(data, "similarity_against_shuffled"), _number(data, "mentions_name", "sft")
    above, least = thresholds.relevance_similarity_gain, thresholds.relevance_mentions_name
    rule = f"chrF to the right reference minus to a shuffled one: interval above {above:g}"
    return [
        _gate("relevance_similarity", gain, rule, gain is not None and gain.low > above),
        Gate(
            "relevance_mentions_name",
            mentions,
            None,
            f"share of answers with a word of the asked name >= {least:.2f}",
            mentions is not None and mentions >= least,
        ),
    ]


def _diversity(data: Json, thresholds: GatesConfig) -> list[Gate]:
    change = _interval(data, "diversity_change", "distinct_2")
    unique, least = _number(data, "systems", "rlhf", "unique_share"), thresholds.diversity_unique_share
    return [
        _with_severity(_gate("diversity_change", change, "distinct-2, RLHF minus SFT: reported", True), "warn"),
        Gate(
            "diversity_unique",
            unique,
            None,
            f"warning when less than {least:.2f} of the RLHF answers differ",
            unique is not None and unique >= least,
            "warn",
        ),
    ]


def _gate(name: str, interval: Interval | None, rule: str, passed: bool) -> Gate:
    return Gate(name, None if interval is None else interval.mean, interval, rule, passed)


def _with_severity(gate: Gate, severity: Severity) -> Gate:
    return Gate(gate.gate, gate.value, gate.interval, gate.rule, gate.passed, severity)


def _field(data: Json, *keys: str) -> Any:
    value: Any = data
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def _number(data: Json, *keys: str) -> float | None:
    value = _field(data, *keys)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _interval(data: Json, *keys: str) -> Interval | None:
    value = _field(data, *keys)
    return Interval.from_json(value) if isinstance(value, Mapping) and value.get("mean") is not None else None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}); run the stage again to write it anew") from error
