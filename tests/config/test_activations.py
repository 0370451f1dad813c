"""The formulas of kept bytes against what autograd keeps, exactly."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from torch import Tensor  # noqa: E402

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.config.activations import Formats, hidden_bytes, shared_token_bytes  # noqa: E402
from stategpt.config.adapter_activations import adapted_block_bytes  # noqa: E402
from stategpt.config.lora import LoRAConfig  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.model.lora import lora  # noqa: E402
from stategpt.model.quantize import quantize  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing import Layout  # noqa: E402

SHAPE = GPTConfig(vocab_size=600, depth=2, width=48, heads=4, kv_heads=2, head_dim=16, mlp_width=80, context_tokens=32)
FORMATS = {"float32": Formats(4, 4), "autocast": Formats(2, 4), "bfloat16 weights": Formats(2, 2)}


def kept_bytes(model: GPT, tokens: Tensor, layout: TensorLayout, autocast: bool) -> int:
    """Bytes of all memory that autograd keeps for `model.hidden`, parameters excepted; shared memory counts once."""
    parameters = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        hidden = model.hidden(tokens, layout)
    assert hidden.requires_grad
    return sum(storage.nbytes() for address, storage in kept.items() if address not in parameters)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rows", [[32, 20], [32, 32, 32]])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"qk_norm": False},
        {"qk_norm": False, "attention_bias": True},
        {"depth": 3, "width": 64, "mlp_width": 96},
        {"tied_embeddings": False},
        {"heads": 6, "kv_heads": 3, "head_dim": 8},
    ],
)
def test_kept_bytes_are_those_of_the_formula(name: str, rows: list[int], changes: dict[str, object]) -> None:
    shape, formats = replace(SHAPE, **changes), FORMATS[name]  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = GPT(shape)
    if formats.weights == 2:
        model = model.bfloat16()
    tokens = torch.randint(600, (32 * len(rows),))
    layout = TensorLayout.of(Layout.padded(rows, 32))
    masked = rows[-1] < 32
    expected = hidden_bytes(shape, len(tokens), 32, formats, masked)
    assert kept_bytes(model, tokens, layout, formats.products == 2) == expected


ADAPTED = {
    "float32": ("float32", "float32", False, Formats(4, 4)),
    "autocast": ("float32", "float32", True, Formats(2, 4)),
    "on bfloat16": ("bfloat16", "float32", False, Formats(2, 2)),
    "on nf4": ("nf4", "float32", False, Formats(4, 4)),
    "on int8, autocast": ("int8", "float32", True, Formats(2, 4)),
    "bfloat16 weights": ("float32", "bfloat16", False, Formats(2, 2)),
}


@pytest.mark.parametrize("name", ADAPTED)
@pytest.mark.parametrize("targets", [("attention", "mlp"), ("attention",), ("q_proj", "down_proj")])
@pytest.mark.parametrize("changes", [{}, {"dropout": 0.1}, {"dora": True}])
@pytest.mark.parametrize("qk_norm", [True, False])
def test_kept_bytes_of_adapters_are_those_of_the_formula(
    name: str, targets: tuple[str, ...], changes: dict[str, float], qk_norm: bool
) -> None:
    base, weights, autocast, formats = ADAPTED[name]
    given, shape = LoRAConfig(rank=6, targets=targets, base=base, **changes), replace(SHAPE, qk_norm=qk_norm)  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = GPT(shape).to(torch.bfloat16 if base == "bfloat16" else torch.float32)
    if base in ("int8", "nf4"):
        quantize(model, base)
    lora(model, given.rank, given.alpha, given.targets, given.dropout, dora=given.dora)
    if weights == "bfloat16":
        model.bfloat16()
    layout, adapters = TensorLayout.of(Layout.padded([32, 20], 32)), 2 if weights == "bfloat16" else 4
    blocks = sum(adapted_block_bytes(shape, 64, formats, given, layer, adapters) for layer in range(shape.depth))
    found = kept_bytes(model.train(), torch.randint(600, (64,)), layout, autocast)
    expected = blocks + 64 * shared_token_bytes(shape, 32, masked=True, embeds=False)
    assert found == (pytest.approx(expected, rel=0.03) if given.dora else expected)
