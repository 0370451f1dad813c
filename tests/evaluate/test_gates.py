"""Gates: each rule just kept and just broken, missing measurements, and what --check would do."""

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("stategpt._native", reason="publishing needs the built extension")

from stategpt.artifacts import publish_folder, read_manifest
from stategpt.artifacts.run_folder import write_json
from stategpt.config import GatesConfig
from stategpt.config.evaluation import GATE_FAMILIES
from stategpt.errors import CorruptArtifact, DataError, ForeignArtifact
from stategpt.evaluate.gates import (
    GATES,
    check_gates,
    failed,
    format_value,
    read_gates,
    verdict,
    write_gates,
)
from stategpt.evaluate.records import (
    FORMAT_VERSION,
    Evaluations,
    GateResult,
    RewardEvaluation,
    SFTEvaluation,
    read_evaluations,
)
from stategpt.json_records import from_json
from stategpt.shown_fields import field_docs

KEPT: dict[str, Any] = {
    "base": {"mixed": {"difference": {"mean": -0.16, "low": -0.2, "high": -0.12}}},
    "classify": {
        "gains": [
            {"labels": labels, "method": "full", "other": other, "accuracy": {"mean": 0.1, "low": 0.02, "high": 0.18}}
            for labels in (10, 100)
            for other in ("few_shot", "random")
        ]
    },
    "sft": {
        "samples": 672,
        "ended_share": {"mean": 0.999, "low": 0.99, "high": 1.0},
        "difference_to_base": {"mean": 0.032, "low": 0.025, "high": 0.039},
        "difference_to_shuffled": {"mean": 0.004, "low": -0.001, "high": 0.009},
        "mentions_subject": {"sft": {"mean": 0.03, "low": 0.02, "high": 0.04}, "reference": 0.56},
    },
    "reward": {
        "pair_accuracy": {"mean": 0.815, "low": 0.79, "high": 0.84},
        "length_only_accuracy": 0.552,
        "length_margin": {"mean": 0.263, "low": 0.22, "high": 0.3},
    },
    "comparison": {
        "prompts": 672,
        "seeds": 3,
        "against_best_of": {"4": {"wins": {"mean": 0.01, "low": -0.02, "high": 0.04}, "kl_bound": 2.3}},
        "systems": {
            "rlhf": {
                "win_rate_vs_sft": {"mean": 0.61, "low": 0.58, "high": 0.64},
                "kl": {"mean": 4.0, "low": 3.5, "high": 4.5},
                "unique_share": {"mean": 0.95, "low": 0.93, "high": 0.97},
            }
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
    "rl_best_of_n",
    "diversity_unique",
]


ALL = GATE_FAMILIES
PROMISED = GatesConfig(required=("base", "sft", "reward", "rl", "best_of_n"))


def changed(path: str, value: object) -> dict[str, Any]:
    """KEPT with one field set; `path` is its keys joined by dots."""
    evaluations = deepcopy(KEPT)
    *parents, last = path.split(".")
    place = evaluations
    for key in parents:
        place = place[key]
    place[last] = value
    return evaluations


def check(evaluations: dict[str, Any], thresholds: GatesConfig) -> list[GateResult]:
    return check_gates(from_json(Evaluations, evaluations, where="test"), thresholds)


def by_name(evaluations: dict[str, Any], thresholds: GatesConfig | None = None) -> dict[str, GateResult]:
    return {gate.name: gate for gate in check(evaluations, thresholds or PROMISED)}


def test_a_good_run_keeps_every_gate_in_the_order_of_the_stages() -> None:
    gates = check(KEPT, PROMISED)
    assert [gate.name for gate in gates] == NAMES
    assert all(gate.passed for gate in gates)
    assert failed(gates) == []


@pytest.mark.parametrize(
    ("path", "value", "gate"),
    [
        ("base.mixed.difference.high", 0.001, "base"),
        ("sft.ended_share.low", 0.97, "sft_ended"),
        ("sft.samples", 399, "sft_ended"),
        ("sft.difference_to_base.low", -0.001, "sft_similarity"),
        ("reward.pair_accuracy.low", 0.70, "reward_accuracy"),
        ("reward.length_margin.low", 0.0, "reward_beats_length"),
        ("comparison.systems.rlhf.win_rate_vs_sft.mean", 0.549, "rl_win_rate"),
        ("comparison.systems.rlhf.win_rate_vs_sft.low", 0.5, "rl_win_rate"),
        ("comparison.prompts", 499, "rl_win_rate"),
        ("comparison.systems.rlhf.kl.high", 12.1, "rl_kl"),
        ("comparison.against_best_of.4.wins.low", -0.05, "rl_best_of_n"),
        ("comparison.against_best_of.4.kl_bound", 2.24, "rl_best_of_n"),
    ],
)
def test_one_measurement_past_its_threshold_fails_exactly_its_gate(path: str, value: float, gate: str) -> None:
    thresholds = GatesConfig(required=ALL, rl_kl=14.0 if gate == "rl_best_of_n" else 12.0)
    gates = [g for g in check(changed(path, value), thresholds) if not g.name.startswith("relevance")]
    if gate == "rl_kl":  # so much KL is more than twice best-of-4's too
        gates = [g for g in gates if g.name != "rl_best_of_n"]
    assert [g.name for g in failed(gates)] == [gate]
    assert [g.name for g in gates if not g.passed] == [gate]


def test_few_unique_answers_warn_and_never_fail() -> None:
    gates = check(changed("comparison.systems.rlhf.unique_share.low", 0.79), PROMISED)
    assert failed(gates) == []
    assert [verdict(gate) for gate in gates if not gate.passed] == ["warn"]


def test_a_required_stage_without_measurement_is_not_passed() -> None:
    gates = by_name({"base": KEPT["base"]})
    assert gates["base"].passed
    assert [name for name, gate in gates.items() if gate.value is None] == NAMES[1:]
    assert {gate.name for gate in failed(gates.values())} == set(NAMES[1:8])


def test_an_interval_that_could_not_be_computed_excludes_nothing() -> None:
    one_cluster = {"mean": -0.16, "low": None, "high": None}
    assert not by_name(changed("base.mixed.difference", one_cluster))["base"].passed


def test_families_that_are_not_required_warn() -> None:
    thresholds = GatesConfig(required=("base",))
    gates = by_name(changed("reward.pair_accuracy.low", 0.6), thresholds)
    assert verdict(gates["reward_accuracy"]) == "warn"
    assert failed(gates.values()) == []
    unmeasured = by_name({"base": KEPT["base"]}, thresholds)
    assert list(unmeasured) == NAMES
    assert {verdict(gate) for gate in unmeasured.values() if gate.value is None} == {"warn"}


def test_relevance_is_gated_only_where_the_recipe_asks_for_it() -> None:
    assert not any(name.startswith("relevance") for name in by_name(KEPT))
    gates = by_name(KEPT, GatesConfig(required=("base", "sft", "reward", "rl", "relevance")))
    assert {g.name for g in failed(gates.values())} == {"relevance_similarity", "relevance_mentions_subject"}


@pytest.mark.parametrize("other", ["few_shot", "random"])
def test_a_classifier_is_judged_by_the_bound_at_the_stated_number_of_labels(other: str) -> None:
    assert not any(name.startswith("classify") for name in by_name(KEPT))

    def gates(labels: int, low: float) -> dict[str, bool]:
        """Whether each gate is passed where the gain with 100 labels has this lower bound."""
        evaluations = deepcopy(KEPT)
        for gain in evaluations["classify"]["gains"]:
            if (gain["labels"], gain["other"]) == (100, other):
                gain["accuracy"]["low"] = low
        found = by_name(evaluations, GatesConfig(required=("classify",), classify_labels=labels))
        return {name: gate.passed for name, gate in found.items() if name.startswith("classify")}

    both = {"classify_over_random": True, "classify_over_few_shot": True}
    assert gates(0, 0.02) == both
    assert gates(0, -0.01) == both | {f"classify_over_{other}": False}
    assert gates(10, -0.01) == both
    assert gates(1000, 0.02) == dict.fromkeys(both, False)


MEANS = {
    "base": "base.mixed.difference",
    "sft_ended": "sft.ended_share",
    "sft_similarity": "sft.difference_to_base",
    "reward_accuracy": "reward.pair_accuracy",
    "reward_beats_length": "reward.length_margin",
    "rl_kl": "comparison.systems.rlhf.kl",
    "rl_best_of_n": "comparison.against_best_of.4.wins",
    "relevance_similarity": "sft.difference_to_shuffled",
    "relevance_mentions_subject": "sft.mentions_subject.sft",
    "diversity_unique": "comparison.systems.rlhf.unique_share",
}


@pytest.mark.parametrize("gate", MEANS)
def test_a_gate_looks_at_a_bound_and_not_at_the_mean(gate: str) -> None:
    """A mean and another bound far on the wrong side do not fail it, nor do they on the right one pass it."""
    thresholds = GatesConfig(required=ALL)
    wrong = 1e6 if gate in ("base", "rl_kl") else -1e6
    for side, passes in ((wrong, True), (-wrong, False)):
        evaluations = changed(f"{MEANS[gate]}.mean", side)
        *parents, last = MEANS[gate].split(".")
        place: Any = evaluations
        for key in parents:
            place = place[key]
        good = -1e3 if gate in ("base", "rl_kl") else 1e3
        decides, other = ("high", "low") if gate in ("base", "rl_kl") else ("low", "high")
        place[last] |= {decides: good, other: -good} if passes else {decides: -good, other: good}
        assert by_name(evaluations, thresholds)[gate].passed is passes


@pytest.mark.parametrize(
    ("gate", "thresholds"),
    [
        ("base", {"base_margin_bits_per_byte": 0.13}),
        ("sft_ended", {"sft_ended_share": 0.995}),
        ("sft_ended", {"sft_samples": 673}),
        ("sft_similarity", {"sft_similarity_gain": 0.03}),
        ("reward_accuracy", {"reward_pair_accuracy": 0.8}),
        ("reward_beats_length", {"reward_length_margin": 0.25}),
        ("rl_win_rate", {"rl_win_rate": 0.62}),
        ("rl_win_rate", {"rl_win_rate_lower": 0.59}),
        ("rl_win_rate", {"rl_prompts": 673}),
        ("rl_kl", {"rl_kl": 4.2}),
        ("rl_best_of_n", {"rl_best_of": 8}),
        ("rl_best_of_n", {"rl_best_of_margin": 0.01}),
        ("rl_best_of_n", {"rl_kl_over_best_of_n": 1.9}),
        ("diversity_unique", {"diversity_unique_share": 0.94}),
    ],
)
def test_every_threshold_decides_its_gate_alone(gate: str, thresholds: dict[str, Any]) -> None:
    gates = check(KEPT, GatesConfig(**thresholds))
    assert [g.name for g in gates if not g.passed] == [gate]


def test_gates_of_rl_say_what_their_intervals_know_of_seeds() -> None:
    for seeds, words in ((3, "; 3 seeds"), (1, "one seed, so what another would change is not in the interval")):
        gates = by_name(changed("comparison.seeds", seeds))
        assert all(words in gates[name].rule for name in ("rl_win_rate", "rl_kl", "rl_best_of_n"))


def test_best_of_n_warns_where_the_recipe_does_not_require_it() -> None:
    past = changed("comparison.against_best_of.4.wins.low", -0.2)
    assert failed(check(past, GatesConfig(required=("base", "sft", "reward", "rl")))) == []
    assert [g.name for g in failed(check(past, PROMISED))] == ["rl_best_of_n"]
    assert by_name(changed("comparison.against_best_of", {}))["rl_best_of_n"].value is None


def publish(root: Path, stage: str, evaluation: Any) -> Path:
    folder = root / stage / "evaluation"
    content = {"format_version": FORMAT_VERSION, **evaluation}
    publish_folder(folder, lambda temporary: write_json(temporary / "evaluation.json", content), kind="evaluation")
    return folder / "evaluation.json"


def test_gates_json_has_the_promised_fields_and_reads_back(tmp_path: Path) -> None:
    gates = check(KEPT, PROMISED)
    path = write_gates(gates, tmp_path)
    assert path == tmp_path / "gates" / "gates.json"
    entries = json.loads(path.read_text())["gates"]
    assert all({"name", "value", "interval", "rule", "passed"} <= set(entry) for entry in entries)
    assert read_gates(tmp_path) == gates
    assert read_gates(tmp_path / "elsewhere") == []


def test_gates_are_linked_to_the_evaluations_and_to_the_settings(tmp_path: Path) -> None:
    publish(tmp_path, "base", KEPT["base"])
    (tmp_path / "run.toml").write_text("seed = 1\n")
    write_gates(check_gates(read_evaluations(tmp_path), PROMISED), tmp_path)
    manifest = read_manifest(tmp_path / "gates")
    assert manifest.parents == (read_manifest(tmp_path / "base" / "evaluation").fingerprint,)
    (tmp_path / "run.toml").write_text("seed = 2\n")
    with pytest.raises(CorruptArtifact, match=r"run\.toml was changed since the gates were checked"):
        read_gates(tmp_path)


@pytest.mark.parametrize("name", ["gates.json", "manifest.json"])
def test_a_changed_digit_or_lost_file_of_the_verdict_is_found(tmp_path: Path, name: str) -> None:
    write_gates(check(KEPT, PROMISED), tmp_path)
    path = tmp_path / "gates" / name
    text = path.read_text()
    path.chmod(0o644)
    path.write_text(text.replace("9", "8", 1))
    with pytest.raises(CorruptArtifact):
        read_gates(tmp_path)
    path.unlink()
    with pytest.raises(CorruptArtifact):
        read_gates(tmp_path)


def test_evaluations_are_read_from_the_stages_that_have_one(tmp_path: Path) -> None:
    for stage in ("base", "comparison"):
        publish(tmp_path, stage, KEPT[stage])
    read = read_evaluations(tmp_path)
    assert read == from_json(Evaluations, {stage: KEPT[stage] for stage in ("base", "comparison")}, where="test")
    assert (read.sft, read.reward) == (SFTEvaluation(), RewardEvaluation())
    publish(tmp_path, "base", {"mixed": {"difference": {"mean": "low"}}})
    with pytest.raises(DataError, match=r"\$\.mixed\.difference\.mean is 'low'; expected a number"):
        read_evaluations(tmp_path)


def test_a_digit_changed_after_the_measurement_never_reaches_a_gate(tmp_path: Path) -> None:
    """reward_accuracy failed at 0.333; 0.933 in its place must not pass."""
    path = publish(tmp_path, "reward", {"pair_accuracy": {"mean": 0.333, "low": 0.3, "high": 0.36}})
    [gate] = [g for g in check_gates(read_evaluations(tmp_path), PROMISED) if g.name == "reward_accuracy"]
    assert (gate.value, gate.passed) == (0.333, False)
    path.chmod(0o644)
    path.write_text(path.read_text().replace("0.333", "0.933"))
    with pytest.raises(CorruptArtifact, match=r"evaluation\.json is altered"):
        read_evaluations(tmp_path)


@pytest.mark.parametrize("lost", ["evaluation.json", "manifest.json"])
def test_a_lost_file_of_an_evaluation_is_an_error_and_a_lost_folder_a_failed_gate(tmp_path: Path, lost: str) -> None:
    for stage, evaluation in KEPT.items():
        publish(tmp_path, stage, evaluation)
    (tmp_path / "reward" / "evaluation" / lost).unlink()
    with pytest.raises(CorruptArtifact):
        read_evaluations(tmp_path)
    shutil.rmtree(tmp_path / "reward")
    for required in ((), ("base", "sft", "reward", "rl")):
        gates = {g.name: g for g in check_gates(read_evaluations(tmp_path), GatesConfig(required=required))}
        assert list(gates) == NAMES
        gate = gates["reward_accuracy"]
        assert (gate.value, gate.passed, format_value(gate.value)) == (None, False, "not measured")


def test_measurements_of_an_earlier_version_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "evaluation.json").write_text("{}")
    with pytest.raises(ForeignArtifact, match=r"base/evaluation\.json\. Use another folder, or delete"):
        read_evaluations(tmp_path)


def test_a_value_is_shown_in_three_decimals_or_as_a_power_of_ten() -> None:
    shown = [format_value(value) for value in (0.61, -0.16, 0.0, 4e-4, -1e-70, None)]
    assert shown == ["0.610", "-0.160", "0.000", "4.0e-04", "-1.0e-70", "not measured"]


def test_every_family_has_a_gate_and_every_gate_a_known_family() -> None:
    assert {gate.family for gate in GATES} - {None} == set(GATE_FAMILIES)
    assert len({gate.name for gate in GATES}) == len(GATES)
    docs = field_docs(GatesConfig)["required"]
    assert all(family in docs for family in GATE_FAMILIES)


def test_a_change_of_diversity_is_information_and_no_gate() -> None:
    gone = changed("comparison.diversity_change", {})
    assert check(gone, PROMISED) == check(KEPT, PROMISED)


@pytest.mark.parametrize("version", [1, 3, None, "2", True, [2]])
def test_another_format_version_is_a_typed_error_that_says_what_to_do(tmp_path: Path, version: Any) -> None:
    publish(tmp_path, "base", {**KEPT["base"], "format_version": version})
    with pytest.raises(ForeignArtifact, match=r"evaluation\.json has .*format version.* reads version 2.* delete"):
        read_evaluations(tmp_path)
