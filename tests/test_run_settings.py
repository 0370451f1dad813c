"""Settings of a run folder: those that decided what it holds are locked, all others may change."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.artifacts import RunFolder, publish_folder
from stategpt.config import RunConfig, dump, override
from stategpt.config.parts import parts_of
from stategpt.errors import ForeignArtifact
from stategpt.pipeline import _own

UP_TO_REWARD = [
    part
    for part in parts_of(RunConfig())
    if part.partition("/")[0] in {"corpus", "tokenizer", "base", "sft", "rankings"}
]
UP_TO_REWARD += ["reward/model", "reward/evaluation"]


def _folder(root: Path, parts: list[str]) -> RunFolder:
    """A run folder of the default job that holds these parts, empty ones."""
    folder = RunFolder(root)
    root.mkdir()
    folder.config.write_text(dump(RunConfig()))
    for part in parts:
        name = f"{part}/step-000003" if part.endswith("checkpoints") else part
        publish_folder(root / name, lambda temporary: None, kind="part")
    return folder


def _change(folder: RunFolder, changes: Mapping[str, Any]) -> RunConfig:
    """Takes the settings or raises; returns the run of the folder."""
    changed = override(RunConfig(), changes)
    assert _own(changed, folder) is False
    assert folder.config.read_text() == dump(changed)
    return changed


@pytest.mark.parametrize(
    "changes",
    [
        {"rl.beta": 0.2},
        {"rl.optim.learning_rate": 1e-4, "rl.extra_betas": ()},
        {"rl.max_kl": 5.0, "evaluate.frontier_prompts": 8},
        {"evaluate.best_of": (2,), "evaluate.comparison_prompts": 10},
        {"gates.rl_kl": 3.0},
        {"name": "renamed"},
        {"pretrain.log_every_steps": 1, "sft.checkpoint_every_steps": 7, "pretrain.micro_batch_rows": 2},
    ],
)
def test_what_decides_nothing_that_is_finished_may_change(changes: dict[str, Any], tmp_path: Path) -> None:
    _change(_folder(tmp_path / "run", [p for p in UP_TO_REWARD if not p.endswith("checkpoints")]), changes)


@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        ("seed", 9, "base, sft, rankings, reward"),
        ("corpus.validation_share", 0.2, "corpus, tokenizer, base, sft, rankings, reward, data"),
        ("sampling.temperature", 1.0, "sft, rankings, reward"),
        ("rankings.tie_below", 1.5, "rankings, reward"),
        ("reward.optim.learning_rate", 1e-3, "reward"),
        ("evaluate.few_shot_examples", 1, "sft"),
        ("evaluate.ngram_order", 3, "base"),
    ],
)
def test_what_decided_a_finished_part_is_refused_naming_what_to_delete(
    key: str, value: Any, stages: str, tmp_path: Path
) -> None:
    folder = _folder(tmp_path / "run", [p for p in UP_TO_REWARD if not p.endswith("checkpoints")])
    before = folder.config.read_bytes()
    with pytest.raises(ForeignArtifact, match=rf"{key} was .*, now {value}\. .*to make it again: {stages}\.$"):
        _own(override(RunConfig(), {key: value, "rl.beta": 0.3}), folder)
    assert folder.config.read_bytes() == before


def test_only_the_settings_that_are_locked_are_named(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "run", ["corpus", "tokenizer", "base/model"])
    with pytest.raises(ForeignArtifact) as refused:
        _own(override(RunConfig(), {"seed": 3, "sft.epochs": 2.0, "name": "other"}), folder)
    assert "seed was 0, now 3" in str(refused.value)
    assert "epochs" not in str(refused.value)
    assert "name was" not in str(refused.value)


def test_few_shot_examples_may_change_until_the_sft_model_is_evaluated(tmp_path: Path) -> None:
    """What an error after SFT's training tells one to do, the folder takes."""
    parts = ["corpus", "tokenizer", "base/model", "base/evaluation", "sft/model", "sft/checkpoints"]
    _change(_folder(tmp_path / "run", parts), {"evaluate.few_shot_examples": 1})


def test_tie_below_may_change_until_rankings_are_published(tmp_path: Path) -> None:
    parts = ["corpus", "tokenizer", "base/model", "base/evaluation", "sft/model", "sft/evaluation"]
    _change(_folder(tmp_path / "run", parts), {"rankings.tie_below": 1})


def test_a_partly_trained_stage_locks_its_settings_and_says_so(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "run", [*UP_TO_REWARD, "rl/checkpoints"])
    with pytest.raises(ForeignArtifact, match=r"rl\.beta was 0\.1, now 0\.2\. rl is partly trained\. .*again: rl\.$"):
        _own(override(RunConfig(), {"rl.beta": 0.2}), folder)
    with pytest.raises(ForeignArtifact, match=r"evaluate\.frontier_prompts was 192, now 8\. rl is partly trained"):
        _own(override(RunConfig(), {"evaluate.frontier_prompts": 8}), folder)
    _change(folder, {"rl.checkpoint_every_steps": 1, "evaluate.best_of": (2,), "rl.extra_betas": ()})
