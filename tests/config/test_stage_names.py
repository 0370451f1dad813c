"""The table of stages: modules, config sections and folders that exist, each made from earlier ones."""

import importlib.util

import pytest

from stategpt.config import LoopConfig, RunConfig
from stategpt.config.schema import setting_types
from stategpt.config.stage_names import STAGE_OF, STAGES, StageName, folder_label, folder_title, stage_of_folder


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_has_a_module_and_settings_that_exist(stage: StageName) -> None:
    assert importlib.util.find_spec(f"stategpt.stages.{stage.name}") is not None
    known = set(setting_types())
    for name in (*stage.settings, *stage.measured_with, *stage.evaluated_with):
        assert name in known or any(key.startswith(f"{name}.") for key in known), name


def test_a_stage_that_trains_has_a_section_with_the_loops_settings() -> None:
    trained = [stage.name for stage in STAGES if stage.artifact == "model"]
    assert all(isinstance(getattr(RunConfig(), name), LoopConfig) for name in trained)
    assert trained == ["pretrain", "classify", "sft", "reward", "rl"]


def test_a_stage_is_made_from_earlier_ones() -> None:
    made = {"corpus", "corpus/documents", "corpus/conversations", "corpus/labels", "tokenizer"}
    for stage in STAGES:
        assert set(stage.made_from) <= made, stage.name
        made |= {f"{stage.folder}/{part}" for part in (stage.artifact, "evaluation") if part}


def test_names_and_folders_are_unique() -> None:
    assert len(STAGE_OF) == len({stage.folder for stage in STAGES}) == len(STAGES)


@pytest.mark.parametrize(
    ("folder", "name", "title", "label"),
    [
        ("base", "pretrain", "pretraining", "base"),
        ("rl/seed_1", "rl", "reinforcement learning, seed 1", "rl, seed 1"),
        ("rl/beta_0.04", "rl", "reinforcement learning, beta 0.04", "rl, beta 0.04"),
    ],
)
def test_what_a_folder_is_called(folder: str, name: str, title: str, label: str) -> None:
    assert (stage_of_folder(folder).name, folder_title(folder), folder_label(folder)) == (name, title, label)
