"""Gates: what a recipe promises, as a table, checked against what a run measured.

A gate looks at bounds of an interval, never at its mean alone. `GatesConfig.required` names the families of gates that
fail a `run --check`; those of other families only warn. A gate whose stage left no measurement is not passed, required
or not. To add a gate: a row in `GATES`, and its threshold in `stategpt.config.evaluation`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stategpt.artifacts import fingerprint, publish_folder, verify
from stategpt.artifacts.measurements import EVALUATION, Measurements, is_published
from stategpt.artifacts.measurements import GATES as GATES_FOLDER
from stategpt.artifacts.run_folder import write_json
from stategpt.config import GatesConfig
from stategpt.config.evaluation import GATE_STAGES, GateFamily
from stategpt.errors import CorruptArtifact, MissingFile
from stategpt.evaluate.records import (
    FORMAT_VERSION,
    Evaluations,
    GateResult,
    GateResults,
    MethodGain,
    PairedGain,
    Severity,
    SystemMeasures,
    evaluation_json,
)
from stategpt.evaluate.statistics import Interval
from stategpt.files import read_bytes
from stategpt.json_records import read_versioned
from stategpt.shown_fields import documented

MEASURED = ("base", "classify", "sft", "reward", "comparison")
"""Folders of a run whose evaluations the gates read."""

Measure = Callable[[Evaluations, GatesConfig], Interval | None]
Number = Callable[[Evaluations, GatesConfig], float | None]


@documented
@dataclass(frozen=True)
class Condition:
    """A bound of a measure compared with a limit; an unknown measure or limit does not hold."""

    bound: Literal["mean", "low", "high"]
    """What of the interval is compared."""
    relation: Callable[[float, float], bool]
    """E.g. `operator.gt`."""
    limit: Number
    """Threshold, from the settings."""
    of: Measure | None = None
    """The measure, where it is not the gate's own."""


@documented
@dataclass(frozen=True)
class Gate:
    """One promise."""

    name: str
    """Name in gates.json."""
    family: GateFamily | None
    """What `GatesConfig.required` calls it; None for a gate that only warns."""
    label: str
    """What it is about, for a reader."""
    measure: Measure
    """The measured interval that is shown."""
    conditions: tuple[Condition, ...]
    """All of them must hold."""
    rule: Callable[[Evaluations, GatesConfig], str]
    """The promise in words, with its thresholds."""
    samples: Number | None = None
    """How many samples were measured, where there must be enough."""
    min_samples: Callable[[GatesConfig], int] = lambda thresholds: 0
    """The smallest number that is enough."""
    only_if_required: bool = False
    """Left out, not a warning, where the recipe does not require its family."""
    claims_wins: bool = False
    """It rests on wins, so it passes only where something else decides them than what RL maximized."""


def _rlhf(e: Evaluations) -> SystemMeasures:
    return e.comparison.systems.get("rlhf", SystemMeasures())


def _best_of(e: Evaluations, t: GatesConfig) -> PairedGain:
    return e.comparison.against_best_of.get(str(t.rl_best_of), PairedGain())


def _most_kl(e: Evaluations, t: GatesConfig) -> float | None:
    """RL spends KL to win: for the same KL, sampling n times and asking the reward model must not win more."""
    bound = _best_of(e, t).kl_bound
    return None if bound is None else t.rl_kl_over_best_of_n * bound


def _gate_labels(e: Evaluations, t: GatesConfig) -> int:
    """Number of labels that the classifier is judged at."""
    return t.classify_labels or max((gain.labels for gain in e.classify.gains), default=0)


def _classifier_gain(e: Evaluations, t: GatesConfig, other: str) -> MethodGain:
    """Fine-tuning against another method with that number of labels; nothing measured where there is none."""
    labels = _gate_labels(e, t)
    found = (gain for gain in e.classify.gains if (gain.labels, gain.other) == (labels, other))
    return next(found, MethodGain(labels, "full", other))


def _before_sft(evaluations: Evaluations) -> str:
    """What fine-tuning began with: the base model where the run pretrained one."""
    return "base" if evaluations.base.mixed.bits_per_byte is not None else "the start model"


def _before_rl(evaluations: Evaluations) -> str:
    """What RL began as: the SFT model where there is one."""
    return "SFT" if evaluations.sft.ended_share is not None else "the model before RL"


def _seeds(e: Evaluations) -> str:
    """What the intervals of RL include of other seeds."""
    seeds = e.comparison.seeds
    if not seeds:
        return ""
    return f"; {seeds} seeds" if seeds > 1 else "; one seed, so what another would change is not in the interval"


def _best_of_rule(e: Evaluations, t: GatesConfig) -> str:
    size, kl, bound = t.rl_best_of, _rlhf(e).kl, _best_of(e, t).kl_bound
    known = f" {bound:.2f} nats (it is {kl.high:.2f})" if kl is not None and bound is not None else ""
    return (
        f"wins minus best-of-{size}'s: interval above {0 - t.rl_best_of_margin:g}, KL (upper bound) <= "
        f"{t.rl_kl_over_best_of_n:g} x best-of-{size}'s{known}{_seeds(e)}"
    )


GATES: tuple[Gate, ...] = (  # `0 - x`, not `-x`, in rules: that would print "-0"
    Gate(
        "base",
        family="base",
        label="Base model",
        measure=lambda e, t: e.base.mixed.difference,
        conditions=(Condition("high", operator.lt, lambda e, t: -t.base_margin_bits_per_byte),),
        rule=lambda e, t: (
            "mixed bits/byte minus a byte-level Kneser-Ney n-gram's on the same bytes: interval below "
            f"{0 - t.base_margin_bits_per_byte:g}"
        ),
    ),
    Gate(
        "classify_over_random",
        family="classify",
        label="Classifier: what pretraining is worth",
        measure=lambda e, t: _classifier_gain(e, t, "random").accuracy,
        conditions=(Condition("low", operator.gt, lambda e, t: t.classify_random_margin),),
        rule=lambda e, t: (
            f"accuracy with {_gate_labels(e, t):,} labels, fine-tuned minus from random weights: interval above "
            f"{t.classify_random_margin:g}"
        ),
        only_if_required=True,
    ),
    Gate(
        "classify_over_few_shot",
        family="classify",
        label="Classifier: against a prompt",
        measure=lambda e, t: _classifier_gain(e, t, "few_shot").accuracy,
        conditions=(Condition("low", operator.gt, lambda e, t: t.classify_few_shot_margin),),
        rule=lambda e, t: (
            f"accuracy with {_gate_labels(e, t):,} labels, fine-tuned minus a few-shot prompt: interval above "
            f"{t.classify_few_shot_margin:g}"
        ),
        only_if_required=True,
    ),
    Gate(
        "sft_ended",
        family="sft",
        label="SFT: answers end",
        measure=lambda e, t: e.sft.ended_share,
        conditions=(Condition("low", operator.gt, lambda e, t: t.sft_ended_share),),
        rule=lambda e, t: (
            f"share ending with end-of-text: lower bound > {t.sft_ended_share:.2f}, of at least {t.sft_samples} samples"
        ),
        samples=lambda e, t: e.sft.samples,
        min_samples=lambda t: t.sft_samples,
    ),
    Gate(
        "sft_similarity",
        family="sft",
        label="SFT: nearer the reference",
        measure=lambda e, t: e.sft.difference_to_base,
        conditions=(Condition("low", operator.gt, lambda e, t: t.sft_similarity_gain),),
        rule=lambda e, t: (
            f"chrF to the reference, SFT minus {_before_sft(e)} on the same prompts: interval above "
            f"{t.sft_similarity_gain:g}"
        ),
    ),
    Gate(
        "reward_accuracy",
        family="reward",
        label="Reward model: accuracy",
        measure=lambda e, t: e.reward.pair_accuracy,
        conditions=(Condition("low", operator.gt, lambda e, t: t.reward_pair_accuracy),),
        rule=lambda e, t: f"accuracy on test pairs: lower bound > {t.reward_pair_accuracy:.2f}",
    ),
    Gate(
        "reward_beats_length",
        family="reward",
        label="Reward model: more than length",
        measure=lambda e, t: e.reward.length_margin,
        conditions=(Condition("low", operator.gt, lambda e, t: t.reward_length_margin),),
        rule=lambda e, t: (
            f"accuracy minus a length-only baseline's on the same pairs: interval above {t.reward_length_margin:g}"
        ),
    ),
    Gate(
        "rl_win_rate",
        family="rl",
        label="RLHF: win rate",
        measure=lambda e, t: _rlhf(e).win_rate_vs_sft,
        conditions=(
            Condition("mean", operator.ge, lambda e, t: t.rl_win_rate),
            Condition("low", operator.gt, lambda e, t: t.rl_win_rate_lower),
        ),
        rule=lambda e, t: (
            f"win rate against {_before_rl(e)} by the scorer >= {t.rl_win_rate:.2f}, lower bound > "
            f"{t.rl_win_rate_lower:.2f}, on at least {t.rl_prompts} prompts{_seeds(e)}"
        ),
        samples=lambda e, t: e.comparison.prompts,
        min_samples=lambda t: t.rl_prompts,
        claims_wins=True,
    ),
    Gate(
        "rl_kl",
        family="rl",
        label="RLHF: distance by KL",
        measure=lambda e, t: _rlhf(e).kl,
        conditions=(Condition("high", operator.le, lambda e, t: t.rl_kl),),
        rule=lambda e, t: f"mean KL to {_before_rl(e)} in nats per completion: upper bound <= {t.rl_kl:g}{_seeds(e)}",
    ),
    Gate(
        "rl_best_of_n",
        family="best_of_n",
        label="RLHF: against best-of-n",
        measure=lambda e, t: _best_of(e, t).wins,
        conditions=(
            Condition("low", operator.gt, lambda e, t: -t.rl_best_of_margin),
            Condition("high", operator.le, _most_kl, of=lambda e, t: _rlhf(e).kl),
        ),
        rule=_best_of_rule,
        claims_wins=True,
    ),
    Gate(
        "relevance_similarity",
        family="relevance",
        label="Relevance: similarity",
        measure=lambda e, t: e.sft.difference_to_shuffled,
        conditions=(Condition("low", operator.gt, lambda e, t: t.relevance_similarity_gain),),
        rule=lambda e, t: (
            f"chrF to the right reference minus to a shuffled one: interval above {t.relevance_similarity_gain:g}"
        ),
        only_if_required=True,
    ),
    Gate(
        "relevance_mentions_subject",
        family="relevance",
        label="Relevance: mentions the subject",
        measure=lambda e, t: e.sft.mentions_subject.sft,
        conditions=(Condition("low", operator.gt, lambda e, t: t.relevance_mentions_subject),),
        rule=lambda e, t: (
            f"share of answers with a word of the subject: lower bound > {t.relevance_mentions_subject:.2f}"
        ),
        only_if_required=True,
    ),
    Gate(
        "diversity_unique",
        family=None,
        label="Diversity: different answers",
        measure=lambda e, t: _rlhf(e).unique_share,
        conditions=(Condition("low", operator.gt, lambda e, t: t.diversity_unique_share),),
        rule=lambda e, t: (
            f"share of different RLHF answers: warning unless the lower bound is above {t.diversity_unique_share:.2f}"
        ),
    ),
)
"""All gates, in the order of the stages."""


def check_gates(
    evaluations: Evaluations, thresholds: GatesConfig, stages: Sequence[str] | None = None
) -> list[GateResult]:
    """Checks the gates of `stages`, by default of all.

    A missing evaluation, or measure of one, leaves its gates without a value: not passed, required or not.
    """
    return [
        _checked(gate, evaluations, thresholds)
        for gate in GATES
        if (gate.family in thresholds.required or not gate.only_if_required)
        and (stages is None or _stage_of(gate) in stages or gate.family in thresholds.required)
    ]


def _stage_of(gate: Gate) -> str:
    return "compare" if gate.family is None else GATE_STAGES[gate.family]


def _checked(gate: Gate, evaluations: Evaluations, thresholds: GatesConfig) -> GateResult:
    interval, rule = gate.measure(evaluations, thresholds), gate.rule(evaluations, thresholds)
    passed = interval is not None and all(_holds(each, interval, evaluations, thresholds) for each in gate.conditions)
    if gate.samples is not None:
        samples = int(gate.samples(evaluations, thresholds) or 0)
        if samples < gate.min_samples(thresholds):
            passed = False
            rule += f" (only {samples} measured)" if interval is not None else ""
    if gate.claims_wins and not evaluations.comparison.is_independent:
        passed = False
        rule += (
            f"; not passed: wins are by {evaluations.comparison.scorer}, which RL maximized. Set evaluate.scorer to "
            "another one"
        )
    severity: Severity = "fail" if gate.family in thresholds.required else "warn"
    value = None if interval is None else interval.mean
    return GateResult(gate.name, gate.label, rule, passed, value, interval, severity)


def _holds(condition: Condition, own: Interval, evaluations: Evaluations, thresholds: GatesConfig) -> bool:
    interval = own if condition.of is None else condition.of(evaluations, thresholds)
    limit = condition.limit(evaluations, thresholds)
    return interval is not None and limit is not None and condition.relation(getattr(interval, condition.bound), limit)


def write_gates(gates: Sequence[GateResult], run_folder: Path) -> Path:
    """Publishes gates/gates.json of the run, linked to the evaluations and to run.toml; returns its path."""
    measurements = Measurements(run_folder)
    manifests = [measurements.manifest(stage, EVALUATION) for stage in MEASURED]
    config = _config_fingerprint(run_folder)
    folder = run_folder / GATES_FOLDER
    publish_folder(
        folder,
        lambda temporary: write_json(temporary / "gates.json", evaluation_json(GateResults(tuple(gates)))),
        kind=GATES_FOLDER,
        fingerprints={} if config is None else {"config": config},
        parents=tuple(manifest.fingerprint for manifest in manifests if manifest is not None),
    )
    return folder / "gates.json"


def read_gates(run_folder: Path) -> list[GateResult]:
    """The gates of gates/gates.json; none when the run has not reached them.

    Raises:
        CorruptArtifact: it, or run.toml, is not what it was when the gates were checked.
        ForeignArtifact: it has another format version. DataError: it holds something else than gates.
    """
    folder = run_folder / GATES_FOLDER
    if not is_published(folder):
        return []
    recorded, now = verify(folder, kind=GATES_FOLDER).fingerprints.get("config"), _config_fingerprint(run_folder)
    if now is not None and recorded is not None and now != recorded:
        raise CorruptArtifact(
            f"{run_folder / 'run.toml'} was changed since the gates were checked. Restore it from a copy, or give the "
            "folder to `stategpt run`, which checks them again."
        )
    return list(read_versioned(folder / "gates.json", GateResults, FORMAT_VERSION).gates)


def _config_fingerprint(run_folder: Path) -> str | None:
    try:
        text = read_bytes(run_folder / "run.toml").decode("utf-8", "replace")
    except MissingFile:
        return None
    return fingerprint(text)


def failed(gates: Iterable[GateResult]) -> list[GateResult]:
    """Gates that must hold and do not: non-empty means `run --check` exits non-zero."""
    return [gate for gate in gates if gate.severity == "fail" and not gate.passed]


def verdict(gate: GateResult) -> Literal["pass", "fail", "warn"]:
    """One word for a table."""
    return "pass" if gate.passed else gate.severity


def format_value(value: float | None) -> str:
    """Three decimals, or a power of ten for tiny values; words for what was not measured."""
    if value is None:
        return "not measured"
    return f"{value:.1e}" if 0 < abs(value) < 5e-4 else f"{value:.3f}"
