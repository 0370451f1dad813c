"""The planned peak of memory against the measured one."""

import sys
from typing import Any

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.config import GPTConfig, OptimConfig, PretrainConfig
from stategpt.config.lora import LoRAConfig
from stategpt.config.memory import Batch, training_bytes
from stategpt.config.trained import Trained
from stategpt.recipes import RECIPES
from train.peak_memory import peak_bytes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the highest resident memory is read from /proc"),
]
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "full rows": {"packed": False},
    "autocast": {"precision": "bfloat16"},
    "checkpointing": {"gradient_checkpointing": True},
    "bfloat16 weights": {"precision": "bfloat16", "weights": "bfloat16"},
    "8 bits": {"optimizer": "adamw8bit"},
    "two passes": {"micro_batches": 2},
    "last block": {"trained": "last"},
    "adapters": {"lora": {}},
    "adapters of attention": {"lora": {"targets": ["attention"]}},
    "adapters, autocast": {"lora": {}, "precision": "bfloat16"},
    "adapters, checkpointing": {"lora": {}, "gradient_checkpointing": True},
    "adapters on bfloat16": {"lora": {"base": "bfloat16"}},
    "adapters on int8": {"lora": {"base": "int8"}},
    "adapters on nf4": {"lora": {"base": "nf4"}},
}
MACHINE = 0.3
"""Within 15 % where the factors were measured (docs/log.md); other versions of torch and other allocators differ as
much again. What is wrong by a model, a gradient or the activations is wrong by more."""
PROCESS_BYTES = 12e6
"""Two processes that do the same differ by as much: arenas of threads, buffers of libraries."""
SHAPE = ("vocab_size", "depth", "width", "heads", "kv_heads", "head_dim", "mlp_width", "context_tokens")


def planned_bytes(case: dict[str, Any]) -> int:
    """The plan of a case of `peak_memory`."""
    model = GPTConfig(**case["model"])
    loop = PretrainConfig(
        optim=OptimConfig(optimizer=case.get("optimizer", "adamw")),
        precision=case.get("precision", "float32"),
        weights=case.get("weights", "float32"),
        gradient_checkpointing=case.get("gradient_checkpointing", False),
    )
    tokens, passes = case["rows"] * case["row_tokens"], case.get("micro_batches", 1)
    batch = Batch(tokens, case["row_tokens"], passes=passes, masked=case["packed"])
    if case.get("trained"):
        return training_bytes(model, loop, batch, trained=Trained(model.block_parameters, 1, matrix=False))
    if case.get("lora"):
        given = LoRAConfig(**{**case["lora"], "targets": tuple(case["lora"]["targets"])})
        return training_bytes(model, loop, batch, trained=Trained.of(model, lora=given))
    return training_bytes(model, loop, batch)


def case_of(recipe: str, rows: int, **changes: Any) -> dict[str, Any]:
    """A case with the shape of a recipe, rows of 128 tokens."""
    shape = RECIPES[recipe]().model
    model = {name: getattr(shape, name) for name in SHAPE}
    if "lora" in changes:
        changes["lora"] = {"rank": 8, "base": "float32", "targets": ["attention", "mlp"], **changes["lora"]}
    return {"model": model, "rows": rows, "row_tokens": 128, "packed": True, "precision": "float32", **changes}


@pytest.mark.parametrize(("recipe", "rows"), [("tiny_cpu", 8), ("small_cpu", 16)])
@pytest.mark.parametrize("name", CASES)
def test_the_planned_peak_is_the_measured_one(recipe: str, rows: int, name: str) -> None:
    if (recipe, name) == ("tiny_cpu", "adapters on bfloat16"):
        pytest.skip("what kernels for bfloat16 keep, about 12 MiB, is too large a part of so small a model's step")
    case = case_of(recipe, rows, **CASES[name])
    assert planned_bytes(case) == pytest.approx(peak_bytes(case), rel=MACHINE, abs=PROCESS_BYTES)


@pytest.mark.parametrize("base", ["float32", "bfloat16", "int8", "nf4"])
def test_a_step_of_few_tokens_on_a_larger_model(base: str) -> None:
    """SmolLM2-135M's shape: matrices are larger than what is kept between them.

    Of a base in low precision the plan is a bound from above: where the allocator reuses the memory of dequantized
    matrices a step needs 510 MB, where it does not 750.
    """
    heads = {"heads": 9, "kv_heads": 3, "head_dim": 64, "qk_norm": False}
    shape = {"vocab_size": 49152, "depth": 30, "width": 576, "mlp_width": 1536, **heads}
    case = case_of("tiny_cpu", 1, lora={"base": base}) | {"model": shape}
    planned, measured = planned_bytes(case), peak_bytes(case)
    if base in ("int8", "nf4"):
        assert 0.85 * measured <= planned <= 1.7 * measured
    else:
        assert planned == pytest.approx(measured, rel=MACHINE)
