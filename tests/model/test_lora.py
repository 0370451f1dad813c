"""Adapters: the start is the base's bits, off is the base, only they are trained, merging is checked and undone."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")

import stategpt as sg  # noqa: E402
from paged_decoding import Decoding  # noqa: E402
from stategpt.config import GPTConfig  # noqa: E402
from stategpt.config.architecture import Architecture  # noqa: E402
from stategpt.config.families import FAMILIES  # noqa: E402
from stategpt.config.lora import LoRAConfig  # noqa: E402
from stategpt.config.trained import adapter_parameters  # noqa: E402
from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.model import GPT, RewardModel, adapters_off  # noqa: E402
from stategpt.model import lora_merge as merging  # noqa: E402
from stategpt.model.lora import (  # noqa: E402
    LoRALinear,
    frozen_copy,
    lora,
    lora_layers,
    merge,
    step_randomness,
    unmerge,
)
from stategpt.model.quantize import QuantizedLinear, quantize  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing import Layout  # noqa: E402

SHAPE = GPTConfig(vocab_size=61, depth=2, width=24, heads=4, kv_heads=2, head_dim=8, mlp_width=40, context_tokens=32)
BIASED = GPTConfig(**{**SHAPE.__dict__, "qk_norm": False, "attention_bias": True, "tied_embeddings": False})
KINDS = {"lora": {}, "rslora": {"rslora": True}, "dora": {"dora": True}}
_CAPS = {"attention_softcap": 50.0, "logit_softcap": 30.0}
_SCALED = {"query_scale": 24.0, "window": 7, "windowed_layers": (True, False)}
GEMMA = {"gemma2": {**_SCALED, **_CAPS}, "gemma3_text": {**_SCALED, "windowed_theta": 1e4}}
IDS = torch.from_numpy(np.random.default_rng(0).integers(0, 61, 32))
LAYOUT = TensorLayout.of(Layout.packed([[9, 7], [16]], 16))


def gpt(config: GPTConfig = SHAPE) -> GPT:
    torch.manual_seed(0)
    return GPT(config)


def trained(model: GPT) -> GPT:
    """Moves the adapters as training does."""
    torch.manual_seed(1)
    with torch.no_grad():
        for _, layer in lora_layers(model):
            layer.lora_B.normal_(std=0.1)
            if layer.magnitude is not None:
                layer.magnitude.mul_(1 + 0.2 * torch.rand(layer.out_features))
    return model


def logits(model: GPT) -> torch.Tensor:
    return model(IDS, LAYOUT).detach()


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("config", [SHAPE, BIASED], ids=["tied", "biases"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_start_has_the_bits_of_the_base(kind, config, bfloat16):
    model = gpt(config)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        plain = logits(model.eval())
        assert torch.equal(logits(lora(model, **KINDS[kind])), plain)
        assert not torch.equal(logits(trained(model)), plain)


@pytest.mark.parametrize("kind", KINDS)
def test_a_base_in_bfloat16_keeps_its_format(kind):
    model = gpt().bfloat16().eval()
    plain = logits(model)
    lora(model, **KINDS[kind])
    assert torch.equal(logits(model), plain)
    assert {layer.lora_A.dtype for _, layer in lora_layers(model)} == {torch.float32}
    trained(model)
    assert model.hidden(IDS, LAYOUT).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_the_arithmetic_is_that_of_the_papers(kind):
    torch.manual_seed(0)
    base = torch.nn.Linear(7, 5)
    W, b = base.weight.detach().double(), base.bias.detach().double()
    layer = LoRALinear(base, 3, 6.0, **KINDS[kind])
    torch.nn.init.normal_(layer.lora_B)
    x = torch.randn(4, 7)
    scale = 6 / 3**0.5 if kind == "rslora" else 2.0
    whole = W + scale * layer.lora_B.double() @ layer.lora_A.double()
    if layer.magnitude is not None:
        assert torch.allclose(layer.magnitude.double(), W.norm(dim=1), atol=1e-6)
        whole = W.norm(dim=1)[:, None] * whole / whole.norm(dim=1, keepdim=True)
    assert torch.allclose(layer(x).double(), x.double() @ whole.T + b, atol=1e-6)
    assert torch.allclose(layer.merged_weight().double(), whole, atol=1e-6)


def test_the_first_factors_are_those_of_the_seed():
    first, again, other = (lora(gpt(), seed=seed) for seed in (3, 3, 4))
    pairs = zip(lora_layers(first), lora_layers(again), lora_layers(other), strict=True)
    for (name, a), (_, b), (_, c) in pairs:
        bound = a.in_features**-0.5
        assert torch.equal(a.lora_A, b.lora_A), name
        assert not torch.equal(a.lora_A, c.lora_A), name
        assert 0.8 * bound < a.lora_A.abs().max() <= bound
    drawn = [layer.lora_A for _, layer in lora_layers(first) if layer.in_features == 24]
    assert not torch.equal(drawn[0], drawn[1])


def test_only_adapters_have_gradients_and_the_head_of_a_reward_model():
    model = lora(RewardModel(gpt()), rank=2)
    model.scores(IDS, LAYOUT, torch.tensor([31])).sum().backward()
    moved = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert "head.weight" in moved
    assert all("lora_" in name for name in moved - {"head.weight"})
    assert len(moved) == 1 + 2 * 7 * SHAPE.depth


def test_adapters_are_off_inside_and_on_again_outside():
    model = gpt().eval()
    plain = logits(model)
    changed = logits(trained(lora(model)))
    with adapters_off(model):
        with adapters_off(model):
            assert torch.equal(logits(model), plain)
        assert torch.equal(logits(model), plain)
    assert torch.equal(logits(model), changed)
    with pytest.raises(KeyboardInterrupt), adapters_off(model):
        raise KeyboardInterrupt
    assert torch.equal(logits(model), changed)


def test_the_frozen_copy_is_the_base_and_shares_its_weights():
    model = gpt()
    plain = logits(model.eval())
    reference = frozen_copy(trained(lora(model)))
    assert torch.equal(logits(reference), plain)
    assert not list(lora_layers(reference))
    assert not any(p.requires_grad for p in reference.parameters())
    held = {parameter.data_ptr() for parameter in model.parameters()}
    assert all(parameter.data_ptr() in held for parameter in reference.parameters())


def test_the_frozen_copy_keeps_what_is_trained_without_adapters():
    model = gpt().requires_grad_(False)
    model.layers[1].requires_grad_(True)
    plain, reference = logits(model.eval()), frozen_copy(model)
    with torch.no_grad():
        model.layers[1].mlp.up_proj.weight.add_(1.0)
    assert torch.equal(logits(reference), plain)
    assert reference.embed_tokens.weight.data_ptr() == model.embed_tokens.weight.data_ptr()
    assert reference.layers[1].mlp.up_proj.weight is not model.layers[1].mlp.up_proj.weight


@pytest.mark.parametrize("kind", KINDS)
def test_merged_is_a_plain_model_and_unmerged_has_the_original_bits(kind, tmp_path):
    model = gpt(BIASED).eval()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    names = list(before)
    lora(model, **KINDS[kind])
    changed = logits(trained(model))
    assert merge(model) is model
    assert [name for name, _ in model.named_parameters()] == names
    assert torch.allclose(logits(model), changed, atol=1e-5)
    model.save_pretrained(tmp_path / "model")
    assert torch.equal(logits(GPT.from_pretrained(tmp_path / "model")), logits(model))
    with pytest.raises(InvalidArgument, match="merged already"):
        merge(model)
    unmerge(model)
    assert torch.equal(logits(model), changed)
    restored = {name.replace(".base.", "."): p for name, p in model.named_parameters() if "lora_" not in name}
    assert all(torch.equal(restored[name], value) for name, value in before.items())
    with pytest.raises(InvalidArgument, match="no merged adapters"):
        unmerge(model)


def test_merging_without_keeping_has_one_merged_matrix_beside_what_it_is_made_of(monkeypatch):
    """Of 14 adapted layers that are dropped at once when they are replaced, never two are still there with their plain
    form; also while outputs are compared, no second merged matrix is alive."""
    import gc
    import weakref

    model = trained(lora(gpt().eval(), targets="all"))
    changed, alive, most = logits(model), weakref.WeakSet(), []
    plain = merging._plain

    def counted(module):
        made = plain(module)
        alive.add(made.weight)
        gc.collect()
        adapted = sum(1 for _ in lora_layers(model))
        most.append((len(alive), adapted))
        return made

    monkeypatch.setattr(merging, "_plain", counted)
    count = sum(1 for _ in lora_layers(model))
    merge(model, keep=False)
    compared, replaced = most[:-count], most[-count:]
    assert len(compared) == count
    assert max(live for live, _ in compared) == 1, "a merged matrix outlives its layer while outputs are compared"
    assert [live + adapted for live, adapted in replaced] == [count + 1] * count
    assert torch.allclose(logits(model), changed, atol=1e-5)


def test_merged_without_keeping_cannot_be_undone():
    model = merge(trained(lora(gpt())), keep=False)
    with pytest.raises(InvalidArgument, match="keep=False"):
        unmerge(model)


def test_a_gap_between_merged_and_unmerged_is_refused(monkeypatch):
    model = trained(lora(gpt().eval()))
    changed = logits(model)
    right = LoRALinear.merged_weight
    monkeypatch.setattr(LoRALinear, "merged_weight", lambda layer: right(layer) * 1.01)
    with pytest.raises(InvalidArgument, match=r"merged and unmerged outputs differ by 0\.0\d"):
        merge(model)
    assert torch.equal(logits(model), changed)


def test_a_gap_that_is_not_a_number_is_refused():
    model = trained(lora(gpt()))
    with torch.no_grad():
        next(lora_layers(model))[1].lora_B[0, 0] = float("nan")
    with pytest.raises(InvalidArgument, match="differ by nan"):
        merge(model)


def test_merging_a_base_in_bfloat16_rounds_once():
    model = trained(lora(gpt().bfloat16()))
    merge(model)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert merging.TOLERANCES[torch.bfloat16] > merging.TOLERANCES[torch.float32]


@pytest.mark.parametrize("format", ["int8", "nf4"])
@pytest.mark.parametrize("kind", KINDS)
def test_quantized_weights_are_merged_into_what_they_mean(kind, format):
    model = quantize(gpt(BIASED).eval(), format)
    quantized = logits(model)
    lora(model, targets="attention", **KINDS[kind])
    assert torch.equal(logits(model), quantized)
    changed = logits(trained(model))
    merge(model)
    assert torch.allclose(logits(model), changed, atol=1e-5)
    assert not any(isinstance(module, QuantizedLinear) for module in model.modules())
    unmerge(model)
    assert torch.equal(logits(model), changed)
    assert sum(isinstance(module, QuantizedLinear) for module in model.modules()) == 14


def test_a_quantized_prediction_matrix_is_merged_too():
    model = trained(lora(quantize(gpt().eval(), "int8", skip=())))
    changed = logits(model)
    assert torch.allclose(logits(merge(model)), changed, atol=1e-5)
    assert {type(module) for module in model.children()} >= {torch.nn.Embedding}


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("attention", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        ("mlp", {"gate_proj", "up_proj", "down_proj"}),
        ("q_proj+mlp.up_proj", {"q_proj", "up_proj"}),
        (["all"], {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
        (["lm_head", "v_proj"], {"lm_head", "v_proj"}),
    ],
)
def test_targets_are_groups_and_ends_of_names(targets, expected):
    model = lora(gpt(BIASED), rank=2, targets=targets)
    assert {name.rpartition(".")[2] for name, _ in lora_layers(model)} == expected
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    given = tuple(targets.split("+")) if isinstance(targets, str) else tuple(targets)
    assert count == adapter_parameters(BIASED, LoRAConfig(rank=2, targets=given))


def test_one_layer_alone_can_be_named():
    assert [name for name, _ in lora_layers(lora(gpt(), targets=["layers.1.mlp.up_proj"]))] == ["layers.1.mlp.up_proj"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"targets": "query"}, r"'query' matches no linear layer; there are q_proj, k_proj.*groups attention"),
        ({"targets": "roj"}, "matches no linear layer"),
        ({"targets": ["q_proj", "lm_head"]}, "tied embeddings"),
        ({"targets": "embed_tokens"}, "look-up has no adapter"),
        ({"targets": []}, "targets is empty"),
        ({"rank": 0}, "rank is 0"),
        ({"rank": True}, "rank is True"),
        ({"alpha": 0.0}, "alpha is"),
        ({"alpha": float("nan")}, "alpha is"),
        ({"dropout": 1.0}, "dropout is"),
    ],
)
def test_what_cannot_be_is_refused_before_the_model_is_changed(changes, said):
    model = gpt()
    with pytest.raises(InvalidArgument, match=said):
        lora(model, **changes)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not list(lora_layers(model))


def test_adapters_are_added_once_and_to_a_gpt():
    model = lora(gpt())
    with pytest.raises(InvalidArgument, match="has adapters already"):
        lora(model)
    with pytest.raises(InvalidArgument, match="Linear is no GPT"):
        lora(torch.nn.Linear(3, 3))


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_planner_counts_what_is_there_in_every_family(family, dora):
    record = FAMILIES[family]
    switches: Architecture = replace(record.switches, **GEMMA.get(family, {}))
    shape = {**SHAPE.__dict__, "qk_norm": record.qk_norm, "attention_bias": record.attention_bias}
    shape |= {"kv_heads": 4, "head_dim": 6} if family == "gpt2" else {}
    config = GPTConfig(**{**shape, "architecture": switches})
    model = lora(gpt(config), rank=3, targets=("mlp", "k_proj"), dora=dora)
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert count == adapter_parameters(config, LoRAConfig(rank=3, targets=("mlp", "k_proj"), dora=dora))


def test_dropout_is_a_function_of_seed_and_step_and_leaves_torchs_state():
    model = trained(lora(gpt(), dropout=0.5, seed=1)).train()

    def drawn(step: int, seed: int = 1) -> torch.Tensor:
        for _, layer in lora_layers(model):
            layer.seed = seed
        with step_randomness(model, step):
            return logits(model)

    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))
    assert not torch.equal(drawn(3), drawn(3, seed=2))
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_is_off_in_eval():
    model = trained(lora(gpt(), dropout=0.5)).eval()
    assert torch.equal(logits(model), logits(model))
    dropped = copy.deepcopy(model).train()
    assert not torch.equal(logits(dropped), logits(model))


def test_unmerged_adapters_are_not_saved_as_a_model(tmp_path: Path):
    with pytest.raises(InvalidArgument, match="Merge adapters"):
        sg.lora(gpt()).save_pretrained(tmp_path / "model")


def test_a_cached_decoding_sees_the_adapters():
    model = trained(lora(gpt())).eval()
    with torch.inference_mode():
        decoded = model.unembed(Decoding(model)(IDS[None, :16])[0])
        layout = TensorLayout.of(Layout.packed([[16]], 16))
        assert torch.allclose(decoded, model(IDS[:16], layout), atol=1e-5)


def test_norms_of_rows_are_float32_beside_adapters_in_bfloat16() -> None:
    layer = LoRALinear(torch.nn.Linear(24, 16), rank=4, alpha=8.0, dora=True).bfloat16()
    with torch.no_grad():
        layer.lora_B.normal_()
    expected = torch.linalg.vector_norm(
        layer.base_weight().float() + layer.scale * layer.lora_B.float() @ layer.lora_A.float(), dim=1
    )
    torch.testing.assert_close(layer.row_norms(), expected)
    assert layer(torch.randn(3, 24, dtype=torch.bfloat16)).dtype == torch.bfloat16
