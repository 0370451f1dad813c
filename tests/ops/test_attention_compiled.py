"""ops.attention inside torch.compile: whole graphs, one for all packings, and torch's rules for operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="ops need the train extra (torch)")

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.kernels.attention.autograd import attention_backward_op, attention_op  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.ops import TensorLayout, attention  # noqa: E402
from stategpt.ops.attention import _blockwise_plan, _kernel_plan  # noqa: E402
from stategpt.ops.work_list import attention_work_list  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402

T = 48
PACKINGS = 20


class Counter:
    """Compiles nothing and counts the graphs."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: Any, _: Any) -> Any:
        self.graphs += 1
        return graph


def packings(rows: int) -> list[Layout]:
    """Documents of random lengths, no two alike."""
    generator = np.random.default_rng(5)

    def row() -> list[int]:
        cuts = np.sort(generator.choice(np.arange(1, T), size=generator.integers(1, 6), replace=False))
        return np.diff([0, *cuts.tolist(), T]).tolist()

    return [Layout.packed([row() for _ in range(rows)], T) for _ in range(PACKINGS)]


def tensors(seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(T, heads, 16, generator=generator, requires_grad=True) for heads in (2, 1, 1)]


@pytest.mark.parametrize("backend", ["triton", "blockwise", "sdpa"])
def test_twenty_packings_take_one_graph(backend, require_backend):
    require_backend(backend)
    count = Counter()

    def step(q, k, v, layout):
        return attention(q, k, v, layout, window=30, backend=backend)

    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend=count)
    q, k, v = tensors()
    for layout in packings(1):
        expected = attention(q, k, v, TensorLayout.of(layout), window=30, backend="sdpa")
        output = compiled(q, k, v, TensorLayout.of(layout))
        torch.testing.assert_close(output, expected)
        gradients = (torch.autograd.grad(x.square().sum(), (q, k, v)) for x in (output, expected))
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs)
    assert count.graphs == 1


def test_twenty_packings_take_one_graph_of_the_model():
    count, config = Counter(), GPTConfig(vocab_size=61, depth=2, width=24, heads=4, kv_heads=2, head_dim=8)
    torch.manual_seed(0)
    model = GPT(config)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend=count)
    ids = torch.randint(0, 61, (2 * T,), generator=torch.Generator().manual_seed(1))
    for layout in packings(2):
        output, expected = compiled(ids, TensorLayout.of(layout)), model(ids, TensorLayout.of(layout))
        torch.testing.assert_close(output, expected)
        parameters = list(model.parameters())
        gradients = (torch.autograd.grad(x.square().sum(), parameters) for x in (output, expected))
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs)
    assert count.graphs == 1


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # read by torch's own check
@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("backend", ["triton", "blockwise"])
def test_the_operator_keeps_torchs_rules(backend, softcap, deterministic, require_backend):
    require_backend(backend)
    layout = TensorLayout.of(Layout.shared_prefix([10], [[7, 20]], T))
    q, k, v = tensors()
    plan = _kernel_plan(q, 2, layout, 9, softcap) if backend == "triton" else _blockwise_plan(layout, 9)
    arguments = (q, k, v, *layout.bounds(9), *plan, True, 0.25, softcap, deterministic)
    torch.library.opcheck(attention_op, arguments)
    o, lse = (x.detach() for x in attention_op(*arguments))
    detached = tuple(x.detach() if isinstance(x, torch.Tensor) else x for x in arguments)
    torch.library.opcheck(attention_backward_op, (*detached, o, lse, torch.ones_like(o)))


def test_the_work_list_keeps_torchs_rules():
    host = TensorLayout.of(packings(1)[0]).host_4N
    for queries in (True, False):
        torch.library.opcheck(attention_work_list, (host, T, queries, 16, 32, 7, torch.device("cpu")))
