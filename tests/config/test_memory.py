"""Peak memory by formula: what each setting adds and saves, in bytes worked out by hand."""

from dataclasses import replace

import pytest

from stategpt.cli.plan_text import run_text
from stategpt.config import GPTConfig, OptimConfig, PretrainConfig, RunConfig, override
from stategpt.config.activations import Formats, block_token_bytes, block_weight_bytes
from stategpt.config.cost import training_flops_per_token
from stategpt.config.lora import LoRAConfig
from stategpt.config.memory import ALLOCATOR, Batch, merging_bytes, sampling_bytes, training_bytes
from stategpt.config.planner import Assumptions, StagePlan, plan
from stategpt.config.stage_costs import beside_policy
from stategpt.config.toml import resolve
from stategpt.config.trainable import trainable_parameters, trained_by
from stategpt.config.trained import Trained

MODEL, PLAIN = GPTConfig(), PretrainConfig(precision="float32")
P, BATCH = MODEL.parameters, Batch(1024, 128)


def _bytes(batch: Batch = BATCH, **changes: object) -> int:
    return training_bytes(MODEL, replace(PLAIN, **changes), batch)  # type: ignore[arg-type]


def test_without_tokens_weights_moments_and_gradients_are_left() -> None:
    standing, moving = 12 * P, 4 * P + 4 * 4096 * 192
    copies = block_weight_bytes(MODEL, Formats())
    assert _bytes(Batch(0, 128)) == standing + round(ALLOCATOR * (moving + copies))
    assert training_bytes(MODEL, PLAIN, BATCH, others=2 * P) == _bytes() + 8 * P


def test_activations_of_every_block_count() -> None:
    deeper = replace(MODEL, depth=MODEL.depth + 1)
    added = training_bytes(deeper, PLAIN, BATCH) - _bytes()
    block = 1024 * block_token_bytes(MODEL, Formats()) + block_weight_bytes(MODEL, Formats())
    assert added == pytest.approx(12 * MODEL.block_parameters + ALLOCATOR * block, abs=2)


def test_recomputed_blocks_keep_their_inputs_only() -> None:
    block = 1024 * block_token_bytes(MODEL, Formats())
    saved = _bytes() - _bytes(gradient_checkpointing=True)
    assert ALLOCATOR * block < saved < ALLOCATOR * MODEL.depth * block


@pytest.mark.parametrize(("optimizer", "numbers"), [("adamw", 8.0), ("adamw8bit", 2 * (1 + 4 / 256)), ("sgd", 4.0)])
def test_the_state_of_the_optimizer_counts(optimizer: str, numbers: float) -> None:
    assert _bytes(optim=OptimConfig(optimizer=optimizer)) - _bytes() == pytest.approx((numbers - 8) * P, abs=8)


def test_bfloat16_weights_halve_weights_and_gradients_and_add_a_copy() -> None:
    empty = Batch(0, 128)
    narrow = _bytes(empty, weights="bfloat16", precision="auto")
    wide = _bytes(empty)
    joined = block_weight_bytes(MODEL, Formats(2, 2)) - block_weight_bytes(MODEL, Formats())
    assert narrow - wide == pytest.approx((2 + 4 - 4) * P + ALLOCATOR * (joined - 2 * P), abs=2)
    assert _bytes(weights="bfloat16", precision="auto") < _bytes(precision="bfloat16") < _bytes()


def test_frozen_weights_have_no_gradients_state_or_copies() -> None:
    batch = Batch(0, 128)
    adapters = training_bytes(MODEL, PLAIN, batch, trained=Trained(10_000, MODEL.depth, matrix=False))
    copies = block_weight_bytes(MODEL, Formats())
    assert adapters == 4 * P + 80_000 + round(ALLOCATOR * MODEL.depth * copies)
    last = training_bytes(MODEL, PLAIN, BATCH, trained=Trained(MODEL.block_parameters, 1, matrix=False))
    assert (
        last
        < training_bytes(MODEL, PLAIN, BATCH, trained=Trained(MODEL.block_parameters, MODEL.depth, matrix=False))
        - BATCH.tokens * 10_000
    )


def test_more_passes_keep_the_gradients_of_the_earlier_ones() -> None:
    several = replace(BATCH, passes=2)
    assert _bytes(several) - _bytes() == pytest.approx(ALLOCATOR * 4 * P, abs=2)


def test_only_rows_that_hold_several_texts_have_a_mask() -> None:
    assert _bytes() - _bytes(replace(BATCH, masked=False)) == pytest.approx(ALLOCATOR * 1024 * 4 * 128, abs=2)


def test_logits_of_a_chunk_count_and_no_more() -> None:
    wide = replace(MODEL, vocab_size=65_536)
    score, loss = (
        training_bytes(wide, PLAIN, replace(BATCH, tokens=8192, predicts=kind)) for kind in ("score", "loss")
    )
    chunk = 2 * 4 * 256 * 65_536
    assert loss - score < ALLOCATOR * (chunk + 4 * 65_536 * 192 + 4 * 8192 * 192) + 4
    assert loss - score > 0


def test_the_cache_of_a_batch_of_sequences_counts() -> None:
    one = sampling_bytes(MODEL, 1, 100)
    assert one == round(ALLOCATOR * (100 * 2 * 4 * 3 * 64 + 12 * 4096))
    assert sampling_bytes(MODEL, 256, 100) == sampling_bytes(MODEL, 10**6, 100)


def test_the_plan_follows_the_settings_of_each_stage() -> None:
    run = RunConfig()
    for stage in ("pretrain", "sft", "reward", "rl"):
        changed = override(run, {f"{stage}.weights": "bfloat16", f"{stage}.optim.optimizer": "adamw8bit"})
        changed = override(changed, {f"{stage}.gradient_checkpointing": True})
        before, after = ({s.name: s.memory_bytes for s in plan(r).stages} for r in (run, changed))
        assert before[stage] > after[stage]
        assert {name for name in before if before[name] != after[name]} == {
            n for n in before if n.split("/")[0] == stage
        }
    kept = override(run, {"rl.max_kl": 0.0})
    of_rl = [next(s.memory_bytes for s in plan(r).stages if s.name == "rl") for r in (run, kept)]
    assert of_rl[0] - of_rl[1] == 4 * run.model.parameters


RUN = RunConfig()
ADAPTED = override(RUN, {"lora.rank": 8})
FINE_TUNED = ("sft", "reward", "rl")


def _stages(run: RunConfig) -> dict[str, StagePlan]:
    """The planned stages by name."""
    return {stage.name: stage for stage in plan(run, Assumptions(sft_pairs=1000)).stages}


def test_adapters_are_planned_in_every_stage_that_trains_them() -> None:
    full, adapted = _stages(RUN), _stages(ADAPTED)
    for name in FINE_TUNED:
        assert adapted[name].trained == trainable_parameters(ADAPTED, name) < full[name].trained / 20
        assert adapted[name].memory_bytes < full[name].memory_bytes
        assert adapted[name].flops < full[name].flops
    assert full["reward"].trained == P + MODEL.width
    assert full["pretrain"] == adapted["pretrain"]
    assert full["rankings"].trained == 0


def test_parts_of_the_weights_are_planned_in_every_stage() -> None:
    full = _stages(RUN)
    for train in ("no_embedding", "last_1_layers"):
        part = _stages(override(RUN, {f"{name}.train": train for name in FINE_TUNED}))
        for name in FINE_TUNED:
            assert part[name].trained < full[name].trained
            assert part[name].memory_bytes < full[name].memory_bytes
            assert part[name].flops < full[name].flops


def test_the_reference_of_adapters_is_the_policy() -> None:
    """What stands beside a policy: reference, reward model, the step before; with adapters only what is not shared."""
    full, adapted = Trained.of(MODEL), Trained.of(MODEL, lora=LoRAConfig(rank=8))
    assert beside_policy(RUN, full) == P + (P + MODEL.width) + P
    assert beside_policy(ADAPTED, adapted) == (P + MODEL.width) + adapted.numbers
    unlimited = override(RUN, {"rl.max_kl": 0.0, "rl.scorer": "length"})
    assert beside_policy(unlimited, full) == P
    assert beside_policy(unlimited, Trained.of(MODEL, "last_1_layers")) == MODEL.block_parameters + MODEL.width


def test_the_format_of_the_frozen_weights_counts() -> None:
    empty, blocks = Batch(0, 128), 3 * (192 * 192 * 2 + 2 * 192 * 64 + 3 * 192 * 512)
    rest = P - blocks
    planned = {
        base: training_bytes(MODEL, PLAIN, empty, trained=Trained.of(MODEL, lora=LoRAConfig(rank=8, base=base)))
        for base in ("float32", "bfloat16", "int8")
    }
    T = Trained.of(MODEL, lora=LoRAConfig(rank=8)).numbers
    assert planned["float32"] == 4 * P + 12 * T + round(ALLOCATOR * 4 * T)
    casts = planned["bfloat16"] - planned["float32"] + 2 * P
    assert 0 <= casts <= 1.5 * 2 * T
    scales = 4 * 3 * (2 * 192 + 2 * 64 + 2 * 512 + 192)
    weights = 4 * rest + blocks + scales
    assert weights + 12 * T < planned["int8"] < weights + 12 * T + 1.5 * 4 * (T + 192 * 512) + 36 * 192 * 512


def test_merging_has_one_matrix_beside_the_model_and_all_of_them_where_the_frozen_weights_stay() -> None:
    T = Trained.of(MODEL, lora=LoRAConfig(rank=8, targets=("attention",)))
    assert merging_bytes(MODEL, T) == 4 * (P + 192 * 512 + T.numbers)
    assert merging_bytes(MODEL, T, shared=True) == 4 * (P + 3 * (192 * 192 * 2 + 2 * 192 * 64) + T.numbers)


def test_frozen_matrices_need_no_gradients_of_weights() -> None:
    every = Trained.of(MODEL)
    assert training_flops_per_token(MODEL, 128, every) == training_flops_per_token(MODEL, 128)
    adapted = Trained.of(MODEL, lora=LoRAConfig(rank=8))
    N, attention = 4096 * 192 + 3 * MODEL.block_parameters, 12 * 3 * 192 * 128
    assert training_flops_per_token(MODEL, 128, adapted) == 4 * N + attention + 6 * adapted.numbers
    last = Trained.of(MODEL, "last_1_layers")
    passed = 4096 * 192 + MODEL.block_parameters
    expected = 2 * N + 2 * passed + 2 * MODEL.block_parameters + 4 * 5 * 192 * 128
    assert training_flops_per_token(MODEL, 128, last) == expected


def test_each_method_of_classification_is_planned() -> None:
    run = override(RUN, {"stages": ("prepare", "classify"), "classify.labels": ("a", "b", "c")})
    assert trainable_parameters(run, "classify") == P + 3 * MODEL.width
    assert trained_by(run, "lora").numbers == Trained.of(MODEL, lora=LoRAConfig(rank=8)).numbers + 3 * MODEL.width
    full, both = (
        _stages(override(run, {"classify.methods": methods}))["classify"] for methods in (("full",), ("full", "lora"))
    )
    assert 1.6 * full.flops < both.flops < 1.85 * full.flops
    assert full.memory_bytes == both.memory_bytes
    assert _stages(override(run, {"lora.rank": 8}))["classify"] == _stages(run)["classify"]


def test_the_plan_shows_what_each_stage_trains() -> None:
    resolved = resolve(RunConfig(), {"lora.rank": "8"})
    text = run_text(plan(resolved.run), resolved)
    numbers = trainable_parameters(resolved.run, "sft")
    assert f"{numbers:,} ({100 * numbers / P:.3g} %)" in text
    assert f"{P:,} (100 %)" in text
