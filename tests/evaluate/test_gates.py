"""Gates: each rule just kept and just broken, missing measurements, and what --check would do."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from stategpt.config import GatesConfig
from stategpt.errors import DataError
from stategpt.evaluate.gates import (
    Gate,
    check_gates,
    failed,
    format_value,
    read_evaluations,
    read_gates,
    verdict,
    write_gates,
)

KEPT: dict[str, Any] = {
    "base": {"mixed": {"difference": {"mean": -0.16, "low": -0.2, "high": -0.12}}},
    "sft": {
        "samples": 672,
        "ended_share": 0.999,
        "difference_to_base": {"mean": 0.032, "low": 0.025, "high": 0.039},
        "similarity_against_shuffled": {"mean": 0.004, "low": -0.001, "high": 0.009},
        "mentions_name": {"sft": 0.03, "reference": 0.56},
    },
    "reward": {
        "pair_accuracy": {"mean": 0.815, "low": 0.79, "high": 0.84},
        "length_only_accuracy": 0.552,
        "mcnemar": {"b": 778, "c": 206, "p": 1e-70},
    },
    "comparison": {
        "prompts": 672,
        "systems": {
            "rlhf": {"win_rate_vs_sft": {"mean": 0.61, "low": 0.58, "high": 0.64}, "kl": 4.0, "unique_share": 0.95}
        },
        "diversity_change": {"distinct_2": {"mean": -0.2, "low": -0.23, "high": -0.17}},
    },
}
NAMES = [
    "base",
    "sft_ended",
    "sft_similarity",
    "reward_accuracy",
    "reward_beats_length",
    "rl_win_rate",
    "rl_kl",
    "diversity_change",
    "diversity_unique",
]


def changed(path: str, value: object) -> dict[str, Any]:
    """KEPT with one field set; `path` is its keys joined by dots."""
    evaluations = deepcopy(KEPT)
    *parents, last = path.split(".")
    place = evaluations
    for key in parents:
        place = place[key]
    place[last] = value
    return evaluations


def by_name(evaluations: dict[str, Any], thresholds: GatesConfig | None = None) -> dict[str, Gate]:
    return {gate.gate: gate for gate in check_gates(evaluations, thresholds or GatesConfig())}


def test_a_good_run_keeps_every_gate_in_the_order_of_the_stages() -> None:
    gates = check_gates(KEPT, GatesConfig())
    assert [gate.gate for gate in gates] == NAMES
    assert all(gate.passed for gate in gates)
    assert failed(gates) == []


@pytest.mark.parametrize(
    ("path", "value", "gate"),
    [
        ("base.mixed.difference.high", 0.001, "base"),
        ("sft.ended_share", 0.969, "sft_ended"),
        ("sft.samples", 399, "sft_ended"),
        ("sft.difference_to_base.low", -0.001, "sft_similarity"),
        ("reward.pair_accuracy.mean", 0.749, "reward_accuracy"),
        ("reward.mcnemar.p", 0.01, "reward_beats_length"),
        ("reward.length_only_accuracy", 0.82, "reward_beats_length"),
        ("comparison.systems.rlhf.win_rate_vs_sft.mean", 0.549, "rl_win_rate"),
        ("comparison.systems.rlhf.win_rate_vs_sft.low", 0.5, "rl_win_rate"),
        ("comparison.prompts", 499, "rl_win_rate"),
        ("comparison.systems.rlhf.kl", 12.1, "rl_kl"),
    ],
)
def test_one_measurement_past_its_threshold_fails_exactly_its_gate(path: str, value: float, gate: str) -> None:
    gates = check_gates(changed(path, value), GatesConfig())
    assert [g.gate for g in failed(gates)] == [gate]
    assert [g.gate for g in gates if not g.passed] == [gate]


def test_few_unique_answers_warn_and_never_fail() -> None:
    gates = check_gates(changed("comparison.systems.rlhf.unique_share", 0.79), GatesConfig())
    assert failed(gates) == []
    assert [verdict(gate) for gate in gates if not gate.passed] == ["warn"]


def test_a_required_stage_without_measurement_is_not_passed() -> None:
    gates = by_name({"base": KEPT["base"]})
    assert gates["base"].passed
    assert [name for name, gate in gates.items() if gate.value is None] == NAMES[1:7]
    assert {gate.gate for gate in failed(gates.values())} == set(NAMES[1:7])


def test_an_interval_that_could_not_be_computed_excludes_nothing() -> None:
    one_cluster = {"mean": -0.16, "low": None, "high": None}
    assert not by_name(changed("base.mixed.difference", one_cluster))["base"].passed


def test_families_that_are_not_required_warn_or_stay_away() -> None:
    thresholds = GatesConfig(required=("base",))
    gates = by_name(changed("reward.pair_accuracy.mean", 0.6), thresholds)
    assert verdict(gates["reward_accuracy"]) == "warn"
    assert failed(gates.values()) == []
    assert list(by_name({"base": KEPT["base"]}, thresholds)) == ["base"]


def test_relevance_is_gated_only_where_the_recipe_asks_for_it() -> None:
    assert not any(name.startswith("relevance") for name in by_name(KEPT))
    gates = by_name(KEPT, GatesConfig(required=("base", "sft", "reward", "rl", "relevance")))
    assert {g.gate for g in failed(gates.values())} == {"relevance_similarity", "relevance_mentions_name"}


def test_the_ended_share_carries_its_wilson_interval() -> None:
    interval = by_name(KEPT)["sft_ended"].interval
    assert interval is not None
    assert interval.low < 0.999 <= interval.high <= 1


def test_gates_json_has_the_promised_fields_and_reads_back(tmp_path: Path) -> None:
    pytest.importorskip("stategpt._native", reason="publishing needs the built extension")
    gates = check_gates(KEPT, GatesConfig())
    path = write_gates(gates, tmp_path)
    assert path == tmp_path / "report" / "gates.json"
    entries = json.loads(path.read_text())
    assert all({"gate", "value", "interval", "rule", "passed"} <= set(entry) for entry in entries)
    assert read_gates(tmp_path) == gates
    assert read_gates(tmp_path / "elsewhere") == []


def test_evaluations_are_read_from_the_stages_that_have_one(tmp_path: Path) -> None:
    for stage in ("base", "comparison"):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "evaluation.json").write_text(json.dumps(KEPT[stage]))
    assert read_evaluations(tmp_path) == {"base": KEPT["base"], "comparison": KEPT["comparison"]}
    (tmp_path / "base" / "evaluation.json").write_text("{")
    with pytest.raises(DataError, match=r"evaluation\.json cannot be read"):
        read_evaluations(tmp_path)


def test_a_value_is_shown_in_three_decimals_or_as_a_power_of_ten() -> None:
    shown = [format_value(value) for value in (0.61, -0.16, 0.0, 4e-4, -1e-70, None)]
    assert shown == ["0.610", "-0.160", "0.000", "4.0e-04", "-1.0e-70", "not measured"]
