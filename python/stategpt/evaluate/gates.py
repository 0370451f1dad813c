"""Gates: what a run promises, checked against what it measured. Pure functions from evaluation.json to verdicts.

A gate belongs to a family (base, sft, reward, rl, best_of_n, relevance) and looks at a bound of an interval.
`GatesConfig.required` names the families whose gates
fail a `run --check`; those of other families only warn, as diversity always does. A gate whose stage left no
measurement is not passed, required or not: nothing is taken on trust, and nothing is left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stategpt.artifacts import fingerprint, publish_folder, verify
from stategpt.artifacts.measurement_kinds import GATES as GATE_LIST
from stategpt.artifacts.measurements import EVALUATION, GATES, Measurements, is_published
from stategpt.artifacts.run_folder import write_json
from stategpt.config import GatesConfig
from stategpt.errors import CorruptArtifact, MissingFile
from stategpt.files import read_bytes
from stategpt.json_reader import read_record
from stategpt.shown_fields import documented

from .statistics import Interval

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

    A missing evaluation, or field of one, leaves its gates without a value: not passed, required or not.
    """
    families = {
        "base": _base(evaluations.get("base", {}), thresholds),
        "sft": _sft(evaluations.get("sft", {}), thresholds),
        "reward": _reward(evaluations.get("reward", {}), thresholds),
        "rl": _rl(evaluations.get("comparison", {}), thresholds),
        "best_of_n": _best_of_n(evaluations.get("comparison", {}), thresholds),
        "relevance": _relevance(evaluations.get("sft", {}), thresholds),
    }
    gates = []
    for family, measured in families.items():
        required = family in thresholds.required
        if family == "relevance" and not required:
            continue  # reported beside the gates, by design not one of them
        severity: Severity = "fail" if required else "warn"
        gates += [_with_severity(gate, severity) for gate in measured]
    return gates + _diversity(evaluations.get("comparison", {}), thresholds)


def read_evaluations(run_folder: Path) -> dict[str, Json]:
    """The evaluation.json of each stage that has one, checked against its manifest.

    Raises:
        CorruptArtifact, ForeignArtifact, DataError: as `stategpt.artifacts.Measurements.evaluation`.
    """
    measurements = Measurements(run_folder)
    found = {name: measurements.evaluation(name) for name in EVALUATIONS}
    return {name: evaluation for name, evaluation in found.items() if evaluation}


def write_gates(gates: Sequence[Gate], run_folder: Path) -> Path:
    """Publishes gates/gates.json of the run, linked to the evaluations and to run.toml; returns its path."""
    measurements = Measurements(run_folder)
    manifests = [measurements.manifest(name, EVALUATION) for name in EVALUATIONS]
    config = _config_fingerprint(run_folder)
    folder = run_folder / GATES
    publish_folder(
        folder,
        lambda temporary: write_json(temporary / "gates.json", [gate.to_json() for gate in gates]),
        kind=GATES,
        fingerprints={} if config is None else {"config": config},
        parents=tuple(manifest.fingerprint for manifest in manifests if manifest is not None),
    )
    return folder / "gates.json"


def read_gates(run_folder: Path) -> list[Gate]:
    """The gates of gates/gates.json; none when the run has not reached them.

    Raises:
        CorruptArtifact: it, or run.toml, is not what it was when the gates were checked.
        DataError: it holds something else than gates.
    """
    folder = run_folder / GATES
    if not is_published(folder):
        return []
    recorded, now = verify(folder, kind=GATES).fingerprints.get("config"), _config_fingerprint(run_folder)
    if now is not None and recorded is not None and now != recorded:
        raise CorruptArtifact(
            f"{run_folder / 'run.toml'} was changed since the gates were checked. Restore it from a copy, or give the "
            "folder to `stategpt run`, which checks them again."
        )
    return [Gate.from_json(entry) for entry in read_record(folder / "gates.json", GATE_LIST)]


def _config_fingerprint(run_folder: Path) -> str | None:
    try:
        text = read_bytes(run_folder / "run.toml").decode("utf-8", "replace")
    except MissingFile:
        return None
    return fingerprint(text)


def failed(gates: Iterable[Gate]) -> list[Gate]:
    """Gates that must hold and do not: non-empty means `run --check` exits non-zero."""
    return [gate for gate in gates if gate.severity == "fail" and not gate.passed]


def verdict(gate: Gate) -> Literal["pass", "fail", "warn"]:
    """One word for a table."""
    return "pass" if gate.passed else gate.severity


def format_value(value: float | None) -> str:
    """Three decimals, or a power of ten for tiny values; words for what was not measured."""
    if value is None:
        return "not measured"
    return f"{value:.1e}" if 0 < abs(value) < 5e-4 else f"{value:.3f}"


def _base(data: Json, thresholds: GatesConfig) -> list[Gate]:
    interval = _interval(data, "mixed", "difference")
    below = 0 - thresholds.base_margin_bits_per_byte  # not a minus sign: that would print "-0"
    rule = f"mixed bits/byte minus a byte-level Kneser-Ney 5-gram's on the same bytes: interval below {below:g}"
    return [_gate("base", interval, rule, interval is not None and interval.high < below)]


def _sft(data: Json, thresholds: GatesConfig) -> list[Gate]:
    ended, samples = _interval(data, "ended_share"), int(_number(data, "samples") or 0)
    enough = samples >= thresholds.sft_samples
    least = thresholds.sft_ended_share
    rule = f"share ending with end-of-text: lower bound > {least:.2f}, of at least {thresholds.sft_samples} samples"
    rule += "" if enough or ended is None else f" (only {samples} measured)"
    gain = _interval(data, "difference_to_base")
    above = thresholds.sft_similarity_gain
    nearer = f"chrF to the reference, SFT minus base on the same prompts: interval above {above:g}"
    return [
        _gate("sft_ended", ended, rule, enough and ended is not None and ended.low > least),
        _gate("sft_similarity", gain, nearer, gain is not None and gain.low > above),
    ]


def _reward(data: Json, thresholds: GatesConfig) -> list[Gate]:
    accuracy, margin = _interval(data, "pair_accuracy"), _interval(data, "length_margin")
    least, above = thresholds.reward_pair_accuracy, thresholds.reward_length_margin
    rule = f"accuracy on test pairs: lower bound > {least:.2f}"
    longer = f"accuracy minus a length-only baseline's on the same pairs: interval above {above:g}"
    return [
        _gate("reward_accuracy", accuracy, rule, accuracy is not None and accuracy.low > least),
        _gate("reward_beats_length", margin, longer, margin is not None and margin.low > above),
    ]


def _rl(data: Json, thresholds: GatesConfig) -> list[Gate]:
    wins, kl = _interval(data, "systems", "rlhf", "win_rate_vs_sft"), _interval(data, "systems", "rlhf", "kl")
    prompts = int(_number(data, "prompts") or 0)
    enough = prompts >= thresholds.rl_prompts
    rule = (
        f"win rate against SFT by the labeler >= {thresholds.rl_win_rate:.2f}, lower bound > "
        f"{thresholds.rl_win_rate_lower:.2f}, on at least {thresholds.rl_prompts} prompts{_seeds(data)}"
    )
    won = wins is not None and wins.mean >= thresholds.rl_win_rate and wins.low > thresholds.rl_win_rate_lower
    near = f"mean KL to SFT in nats per completion: upper bound <= {thresholds.rl_kl:g}{_seeds(data)}"
    return [
        _gate("rl_win_rate", wins, rule + ("" if enough or wins is None else f" (only {prompts})"), enough and won),
        _gate("rl_kl", kl, near, kl is not None and kl.high <= thresholds.rl_kl),
    ]


def _best_of_n(data: Json, thresholds: GatesConfig) -> list[Gate]:
    """RL spends KL to win: for the same KL, sampling n times and asking the reward model must not win more."""
    size, factor = thresholds.rl_best_of, thresholds.rl_kl_over_best_of_n
    gain, kl = _interval(data, "against_best_of", str(size), "wins"), _interval(data, "systems", "rlhf", "kl")
    bound = _number(data, "against_best_of", str(size), "kl_bound")
    below = 0 - thresholds.rl_best_of_margin
    rule = f"wins minus best-of-{size}'s: interval above {below:g}, KL (upper bound) <= {factor:g} x best-of-{size}'s"
    near = kl is not None and bound is not None and kl.high <= factor * bound
    if kl is not None and bound is not None:
        rule += f" {bound:.2f} nats (it is {kl.high:.2f})"
    return [_gate("rl_best_of_n", gain, rule + _seeds(data), near and gain is not None and gain.low > below)]


def _seeds(data: Json) -> str:
    """What the intervals of RL know of other seeds."""
    seeds = int(_number(data, "seeds") or 0)
    if not seeds:
        return ""
    return f"; {seeds} seeds" if seeds > 1 else "; one seed, so what another would change is not in the interval"


def _relevance(data: Json, thresholds: GatesConfig) -> list[Gate]:
    gain, mentions = _interval(data, "similarity_against_shuffled"), _interval(data, "mentions_name", "sft")
    above, least = thresholds.relevance_similarity_gain, thresholds.relevance_mentions_name
    rule = f"chrF to the right reference minus to a shuffled one: interval above {above:g}"
    named = f"share of answers with a word of the asked name: lower bound > {least:.2f}"
    return [
        _gate("relevance_similarity", gain, rule, gain is not None and gain.low > above),
        _gate("relevance_mentions_name", mentions, named, mentions is not None and mentions.low > least),
    ]


def _diversity(data: Json, thresholds: GatesConfig) -> list[Gate]:
    change = _interval(data, "diversity_change", "distinct_2")
    unique, least = _interval(data, "systems", "rlhf", "unique_share"), thresholds.diversity_unique_share
    reported = _gate("diversity_change", change, "distinct-2, RLHF minus SFT: reported", change is not None)
    rule = f"share of different RLHF answers: warning unless the lower bound is above {least:.2f}"
    differ = _gate("diversity_unique", unique, rule, unique is not None and unique.low > least)
    return [_with_severity(reported, "warn"), _with_severity(differ, "warn")]


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
