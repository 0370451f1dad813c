"""ops.paged_attention: its refusals, the choice and its log line, and that `torch.compile` takes it whole."""

from __future__ import annotations

import logging
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="ops need the train extra (torch)")

from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.kernels.paged_attention.binding import paged_attention_op  # noqa: E402
from stategpt.kernels.paged_attention.cases import CASES, Case  # noqa: E402
from stategpt.ops import SharedPrefix, paged_attention  # noqa: E402
from stategpt.ops.paged_attention import _decide  # noqa: E402


def by_name(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def call(case: Case, dtype: torch.dtype = torch.float32, **changed: Any) -> torch.Tensor:
    """paged_attention on the case's inputs, some of them changed."""
    inputs = case.inputs(dtype)
    arguments = dict(zip(("q", "k", "v", "table", "lengths"), inputs.tensors(), strict=True))
    options = {"window": case.window, "softcap": case.softcap}
    if inputs.prefix is not None:
        names = ("page_table_FM", "lengths_F", "starts")
        parts = dict(zip(names, inputs.prefix, strict=True))
        options["prefix"] = SharedPrefix(**{name: changed.pop(name, part) for name, part in parts.items()})
    arguments |= {name: changed.pop(name) for name in list(changed) if name in arguments}
    return paged_attention(*arguments.values(), **(options | changed))


def vector(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.int32)


@pytest.mark.parametrize("name", ["off_tile", "softcap", "prefix", "prefix_empty", "prefix_window", "nothing"])
def test_on_a_cpu_it_is_the_reference(name):
    case = by_name(name)
    for dtype in (torch.float32, torch.float64):
        truth = case.truth(case.inputs(dtype))
        torch.testing.assert_close(call(case, dtype), truth.to(dtype), rtol=1e-5, atol=1e-6)


def test_a_dense_computation_gives_the_same():
    case = by_name("prefix")
    inputs = case.inputs(torch.float64)
    table_FM, counts, starts = inputs.prefix
    for b, own in enumerate(inputs.lengths_B.tolist()):
        f = sum(int(start) <= b for start in starts[1:])
        slots = [(int(table_FM[f, j // 16]), j % 16) for j in range(int(counts[f]))]
        slots += [(int(inputs.page_table_BM[b, j // 16]), j % 16) for j in range(own)]
        for head in range(case.heads):
            k, v = (
                torch.stack([pages[page, slot, head // 2] for page, slot in slots])
                for pages in (inputs.k_pages_PSGD, inputs.v_pages_PSGD)
            )
            expected = (k @ inputs.q_BHD[b, head] / 4).softmax(0) @ v
            torch.testing.assert_close(call(case, torch.float64)[b, head], expected, rtol=1e-12, atol=1e-12)


SHAPES = by_name("off_tile")  # q [4, 4, 16], pages [_, 16, 2, 16], lengths 63 64 65 130
REFUSED = [
    ({"q": torch.zeros(4, 64)}, r"takes q \[B, H, D\] and k_pages, v_pages \[P, S, G, D\]; got \[4, 64\]"),
    ({"q": torch.zeros(4, 3, 16)}, r"q \[4, 3, 16\] .* G must divide H"),
    ({"q": torch.zeros(4, 4, 8)}, "D must be equal"),
    ({"q": torch.zeros(4, 4, 16).half()}, "q, k_pages and v_pages are torch.float16, torch.float32"),
    ({"q": torch.zeros(4, 4, 32)[..., ::2]}, r"q has strides \(128, 32, 2\); its last axis must be contiguous"),
    ({"table": torch.zeros(4, 10, dtype=torch.int64)}, r"page_table is torch.int64 \[4, 10\]; it takes torch.int32"),
    ({"table": torch.zeros(3, 10, dtype=torch.int32)}, r"page_table is \[3, 10\]; it takes one row of pages for each"),
    ({"lengths": vector(1, 2, 3)}, r"lengths is torch.int32 \[3\]; it takes torch.int32 \[4\]"),
    ({"lengths": vector(1, 2, -3, 1)}, r"lengths\[2\] is -3; a row of 10 pages of 16 holds 0 to 160"),
    ({"lengths": vector(1, 161, 3, 1)}, r"lengths\[1\] is 161"),
    (
        {"lengths": vector(65, 1, 1, 1)},
        r"page_table\[0, 4\] is 1073741824, and lengths\[0\] reaches it; pages are 0 to",
    ),
    ({"window": 0}, "window is 0; give the number of keys seen, at least 1"),
    ({"window": True}, "window is True"),
    ({"softcap": 0.0}, "softcap is 0.0; give a positive number"),
    ({"scale": float("nan")}, "scale is nan; give a finite number"),
    ({"backend": "flash"}, "'flash' is not one of auto, reference, triton"),
]


@pytest.mark.parametrize(("changed", "message"), REFUSED, ids=[message[:30] for _, message in REFUSED])
def test_what_does_not_fit_is_refused_with_its_values(changed, message):
    with pytest.raises(InvalidArgument, match=message):
        call(SHAPES, **changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"starts": vector(0, 3, 4)}, r"prefix.starts is torch.int32 \[3\]; it takes torch.int32 \[4\]"),
        ({"starts": vector(0, 4, 3, 6)}, r"prefix.starts is \[0, 4, 3, 6\]; it must not decrease and be within 0 to 6"),
        ({"starts": vector(0, 3, 4, 7)}, "be within 0 to 6"),
        ({"lengths_F": vector(1000, 1, 1)}, r"prefix.lengths\[0\] is 1000"),
        ({"page_table_FM": torch.zeros(2, 6, dtype=torch.int32)}, r"prefix.page_table is \[2, 6\]"),
    ],
)
def test_prefixes_that_do_not_fit_are_refused(changed, message):
    with pytest.raises(InvalidArgument, match=message):
        call(by_name("prefix"), **changed)


@pytest.mark.parametrize("backend", ["reference", "triton"])
def test_autocast_changes_nothing(backend, require_backend):
    require_backend(backend)
    case = by_name("prefix")
    with torch.autocast("cpu", torch.bfloat16):
        output = call(case, backend=backend)
    assert torch.equal(output, call(case, backend=backend))


@pytest.mark.parametrize(("slots", "width", "message"), [(12, 16, "pages of 12 slots"), (16, 12, "head width 12")])
def test_pages_and_heads_of_odd_sizes_are_refused(slots, width, message):
    pages = torch.zeros(3, slots, 1, width)
    with pytest.raises(InvalidArgument, match=message):
        paged_attention(torch.zeros(1, 1, width), pages, pages, vector(0)[None], vector(1))


def test_the_choice_is_logged_once(caplog):
    _decide.cache_clear()
    with caplog.at_level(logging.INFO, logger="stategpt.ops.paged_attention"):
        for _ in range(3):
            call(SHAPES, backend="reference")
    assert [record.message for record in caplog.records] == [
        "paged_attention: reference on cpu for float32 (requested)"
    ]


def test_the_kernels_are_refused_on_a_cpu_but_for_the_interpreter(monkeypatch):
    interpreter = pytest.importorskip("stategpt.kernels._shared.interpreter")
    _decide.cache_clear()
    monkeypatch.setattr(interpreter, "INTERPRETED", False)
    assert _decide("auto", "cpu", "float32") == "reference"
    with pytest.raises(InvalidArgument, match="'triton' cannot run: it needs an NVIDIA GPU, or TRITON_INTERPRET=1"):
        call(SHAPES, backend="triton")
    _decide.cache_clear()
    monkeypatch.setattr(interpreter, "INTERPRETED", True)
    assert _decide("triton", "cpu", "float32") == "triton"
    with pytest.raises(InvalidArgument, match="not float64"):
        _decide("triton", "cpu", "float64")
    _decide.cache_clear()


@pytest.mark.parametrize("name", ["window", "prefix"])
@pytest.mark.parametrize("backend", ["reference", "triton"])
def test_compiles_whole_and_once(name, backend, require_backend):
    require_backend(backend)
    case = by_name(name)
    inputs = case.inputs(torch.float32)
    graphs = []

    def count(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph

    def step(q, k, v, table, lengths):
        prefix = None if inputs.prefix is None else SharedPrefix(*inputs.prefix)
        return paged_attention(q, k, v, table, lengths, prefix=prefix, window=case.window, backend=backend)

    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend=count)
    first = compiled(*inputs.tensors())
    torch.testing.assert_close(first, step(*inputs.tensors()))
    shorter = [*inputs.tensors()[:4], inputs.lengths_B // 2]
    torch.testing.assert_close(compiled(*shorter), step(*shorter))
    assert len(graphs) == 1  # other lengths are other values of the same graph


@pytest.mark.parametrize("backend", ["reference", "triton"])
def test_the_operator_keeps_torchs_rules(backend, require_backend):
    require_backend(backend)
    reference = backend == "reference"
    case = by_name("prefix_late")
    inputs = case.inputs(torch.float32)
    torch.library.opcheck(paged_attention_op, (*inputs.tensors(), *inputs.prefix, 9, 3.0, 0.25, reference))
    torch.library.opcheck(paged_attention_op, (*inputs.tensors(), None, None, None, None, None, 0.25, reference))
