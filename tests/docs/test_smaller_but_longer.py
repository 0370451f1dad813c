"""docs/examples/smaller_but_longer: equal compute, an interval that is right, and words that follow from it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed (extra: train)")

import stategpt as sg
from stategpt.config.cost import training_flops_per_token
from stategpt.evaluate.statistics import Interval, ratio_bootstrap

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "docs" / "examples" / "smaller_but_longer" / "compare.py"


@pytest.fixture(scope="module")
def compare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_sizes", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["compare_sizes"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("flops", [1e12, 1.6e13])
def test_both_models_are_trained_with_the_same_compute(compare: ModuleType, flops: float) -> None:
    corpus = sg.recipes.tiny_cpu().corpus
    larger, smaller = (compare.config_of(name, flops, 1, corpus) for name in ("larger", "smaller"))
    for config in (larger, smaller):
        step = training_flops_per_token(config.model, compare.ROW_TOKENS) * config.step_tokens
        assert abs(config.pretrain_steps * step - flops) <= step / 2
        assert config.seed == 1
        assert config.pretrain.optim.learning_rate * config.model.width == pytest.approx(0.768, rel=0.01)
    assert larger.model.parameters > 5 * smaller.model.parameters
    assert smaller.pretrain_tokens > 5 * larger.pretrain_tokens


def test_the_interval_is_that_of_the_ratio_of_sums(compare: ModuleType) -> None:
    random = np.random.default_rng(0)
    size = random.integers(10, 5000, 300).astype(float)
    bits = size * random.normal(2.0, 0.2, 300)
    groups = [str(number // 3) for number in range(300)]
    found = compare.interval(bits[None], size, groups)
    exact = ratio_bootstrap(bits, size, groups, seed=0)
    assert found.mean == pytest.approx(bits.sum() / size.sum(), rel=1e-12)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.01)
    other_seed = np.stack([bits, bits * 1.1])
    assert compare.interval(other_seed, size, groups).high - found.mean > 0.1  # seeds that differ widen it


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(-0.2, -0.1, "smaller model that reads more is better"), (0.1, 0.2, "larger"), (-0.1, 0.1, "no difference")],
)
def test_the_verdict_follows_from_the_interval(compare: ModuleType, low: float, high: float, words: str) -> None:
    assert words in compare.verdict(Interval((low + high) / 2, low, high))


def test_the_script_trains_both_and_draws_the_curves(tmp_path: Path) -> None:
    code = [str(ROOT / "python" / "stategpt" / name) for name in ("config", "data")]
    command = [sys.executable, str(SCRIPT), "out", "--flops", "4e10", "--seeds", "1", "--test-tokens", "500"]
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [*command, "--corpus", *code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert found["verdict"] in done.stdout
    assert found["models"]["smaller"]["tokens"] > found["models"]["larger"]["tokens"]
    assert found["models"]["larger"]["bits_per_byte"]["mean"] > 0
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")
