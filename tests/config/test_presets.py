"""The talk's two tables: published sizes, published compute, and the lesson between them."""

import pytest

from stategpt.config.presets import PRESETS, SIZE_IS_NOT_POWER, Hardware, plan_preset
from stategpt.errors import ConfigError


def test_both_tables_are_whole() -> None:
    assert [name for name in PRESETS if name.startswith("gpt3-")] == [
        f"gpt3-{size}" for size in ("125m", "350m", "760m", "1.3b", "2.7b", "6.7b", "13b", "175b")
    ]
    assert [name for name in PRESETS if name.startswith("llama-")] == [
        f"llama-{size}" for size in ("7b", "13b", "33b", "65b")
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_shapes_give_the_published_size(name: str) -> None:
    assert PRESETS[name].parameters == pytest.approx(PRESETS[name].published_parameters, rel=0.02)


def test_llama_counts_are_those_of_the_published_checkpoints() -> None:
    assert PRESETS["llama-7b"].parameters == 6_738_415_616
    assert PRESETS["llama-13b"].parameters == 13_015_864_320


def test_gpt3_compute_is_near_its_papers() -> None:
    # arXiv 2005.14165, table D.1 counts 6 N without attention: 3.14e23.
    assert plan_preset(PRESETS["gpt3-175b"]).flops == pytest.approx(3.14e23, rel=0.04)


@pytest.mark.parametrize(
    ("name", "published_hours"),
    [("llama-7b", 82_432), ("llama-13b", 135_168), ("llama-33b", 530_432), ("llama-65b", 1_022_362)],
)
def test_llama_hours_at_half_of_an_a100_are_near_its_papers(name: str, published_hours: int) -> None:
    # arXiv 2302.13971, table 15
    assert plan_preset(PRESETS[name]).gpu_hours == pytest.approx(published_hours, rel=0.1)


def test_size_is_not_power() -> None:
    gpt3, llama = plan_preset(PRESETS["gpt3-175b"]), plan_preset(PRESETS["llama-65b"])
    assert round(gpt3.tokens_per_parameter, 1) == 1.7
    assert int(llama.tokens_per_parameter) == 21
    assert "21" in SIZE_IS_NOT_POWER
    assert "1.7" in SIZE_IS_NOT_POWER


def test_hours_fall_with_utilization() -> None:
    half, full = (plan_preset(PRESETS["llama-7b"], Hardware(utilization=share)) for share in (0.5, 1.0))
    assert half.gpu_hours == pytest.approx(2 * full.gpu_hours)
    with pytest.raises(ConfigError, match=r"hardware\.utilization = 1\.5"):
        Hardware(utilization=1.5)
