"""Top-k and top-p against a naive reference, and by selection against the sort of the whole vocabulary."""

import math

import pytest

torch = pytest.importorskip("torch", reason="sampling needs the train extra (torch)")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from stategpt.generate import truncation  # noqa: E402
from stategpt.generate.truncation import Limits  # noqa: E402


def truncate(log_probs_MV, top_k=None, top_p=None):
    return truncation.truncate(log_probs_MV, Limits.equal(log_probs_MV, top_k, top_p))


def naive_truncation(probabilities: list[float], top_k: int | None, top_p: float | None) -> list[float]:
    """Likeliest first, smaller id first among equals; cut; renormalise."""
    order = sorted(range(len(probabilities)), key=lambda token: (-probabilities[token], token))
    order = order[:top_k]
    held = sum(probabilities[token] for token in order)
    kept, before = [], 0.0
    for token in order:
        if top_p is not None and before >= top_p:
            break
        kept.append(token)
        before += probabilities[token] / held
    total = sum(probabilities[token] for token in kept)
    return [probabilities[token] / total if token in kept else 0.0 for token in range(len(probabilities))]


@pytest.mark.parametrize("top_k", [None, 1, 3, 11, 50])
@pytest.mark.parametrize("top_p", [None, 1e-9, 0.3, 0.9, 1.0])
def test_truncation_equals_the_naive_reference(top_k, top_p):
    logits = torch.randn(6, 11, generator=torch.Generator().manual_seed(0))
    logits[1] = 0.0  # all equally likely
    logits[2, 3] = 20.0  # one takes nearly everything
    logits[3, 5:] = float("-inf")  # forbidden ones
    rows = truncate(logits.log_softmax(dim=-1), top_k, top_p).exp()
    for row, original in zip(rows, logits.double().softmax(dim=-1), strict=True):
        expected = torch.tensor(naive_truncation(original.tolist(), top_k, top_p))
        torch.testing.assert_close(row, expected, rtol=1e-5, atol=1e-6)


def test_truncation_breaks_ties_by_the_smaller_id():
    kept = truncate(torch.zeros(1, 4).log_softmax(dim=-1), top_k=2, top_p=None)
    assert torch.isfinite(kept).tolist() == [[True, True, False, False]]


def by_sorting(log_probs_MV, top_k, top_p):
    """The whole vocabulary sorted. -> what is kept, and for each token the mass before it (infinity beyond top_k)."""
    sorted_MV, order_MV = log_probs_MV.sort(dim=-1, descending=True, stable=True)
    keep_MV = sorted_MV > -math.inf
    if top_k is not None:
        keep_MV[:, top_k:] = False
    weights_MV = sorted_MV.masked_fill(~keep_MV, -math.inf).softmax(dim=-1, dtype=torch.float64)
    before_MV = (weights_MV.cumsum(dim=-1) - weights_MV).masked_fill(~keep_MV, math.inf)
    if top_p is not None:
        keep_MV &= before_MV < top_p
    kept_MV = torch.zeros_like(keep_MV).scatter(1, order_MV, keep_MV)
    return kept_MV, torch.empty_like(before_MV).scatter(1, order_MV, before_MV)


def assert_as_sorted(log_probs_MV, top_k, top_p, rounding=1e-12):
    """The same tokens, but for those whose mass before is within `rounding` of top_p; their log-probabilities."""
    found_MV = truncate(log_probs_MV, top_k, top_p)
    kept_MV, before_MV = by_sorting(log_probs_MV, top_k, top_p)
    open_MV = (before_MV - (2.0 if top_p is None else top_p)).abs() < rounding
    assert bool(((found_MV > -math.inf) == kept_MV).logical_or(open_MV).all())
    expected_MV = log_probs_MV.masked_fill(found_MV == -math.inf, -math.inf).double().log_softmax(dim=-1)
    torch.testing.assert_close(found_MV.double(), expected_MV, rtol=0, atol=1e-5)


LIMITS = [(1, None), (5, None), (50, None), (256, None), (257, None), (900, None), (None, 1e-9), (None, 0.3)]
LIMITS += [(None, 0.9), (None, 0.999), (None, 1.0), (50, 0.9), (300, 0.5), (5000, 0.7), (7, 1.0)]


def rows(vocabulary: int, seed: int = 0):
    """Peaked, flat, with few values (ties), with one token that takes all, with forbidden ids, equal."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(7, vocabulary, generator=generator)
    logits[0] *= 4
    logits[2] = (3 * logits[2]).round()
    logits[3, vocabulary // 2] = 60.0
    logits[4, torch.rand(vocabulary, generator=generator) < 0.9] = -math.inf
    logits[4, 1] = 0.0
    logits[5] = 0.0
    logits[6, vocabulary // 3 :] = logits[6, 0] - 1  # more tokens of one probability than are selected
    return logits.log_softmax(dim=-1)


@pytest.mark.parametrize(("top_k", "top_p"), LIMITS)
@pytest.mark.parametrize("vocabulary", [2, 11, 258, 1000, 20_011])
def test_selection_keeps_what_sorting_keeps(vocabulary, top_k, top_p):
    assert_as_sorted(rows(vocabulary), top_k, top_p)


def test_selection_keeps_what_sorting_keeps_in_many_rows():
    logits = torch.randn(300, 3000, generator=torch.Generator().manual_seed(1))
    logits *= torch.linspace(0.2, 6, 300)[:, None]
    for top_p in (0.5, 0.9, 0.97):
        assert_as_sorted(logits.log_softmax(dim=-1), None, top_p)


LOGITS = [-math.inf, -9.5, -3.0, -0.25, 0.0, 0.25, 4.0]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([-math.inf, -9.5, -3.0, -0.25, 0.0, 0.25, 4.0]), min_size=9, max_size=9), min_size=1
    ),
    st.integers(1, 60),
    st.one_of(st.none(), st.integers(1, 400)),
    st.one_of(st.none(), st.floats(1e-6, 1.0)),
    st.integers(1, 40),
)
def test_any_rows_are_cut_as_by_sorting(values, repeats, top_k, top_p, narrow):
    logits = torch.tensor(values).repeat(1, repeats)
    logits[:, -1] = 0.0  # one token at least may be drawn
    before = truncation.NARROW
    truncation.NARROW = narrow
    try:
        assert_as_sorted(logits.log_softmax(dim=-1), top_k, top_p)
    finally:
        truncation.NARROW = before


def test_a_border_closer_than_float32_sums_is_decided_by_exact_ones():
    """Ten equal tokens: three of them hold 0.3 up to the last bit of a double."""
    log_probs = torch.full((1, 3000), -math.inf)
    log_probs[0, 100:1100:100] = math.log(0.1)
    for top_p in (0.1, 0.3, 0.30000001, 0.5, 0.7, 0.9999999):
        assert_as_sorted(log_probs, None, top_p, rounding=0.0)
    close = (torch.randn(50, 4000, generator=torch.Generator().manual_seed(3)) * 3).log_softmax(dim=-1)
    _, before = by_sorting(close, None, None)
    for row in range(50):  # exactly at a border, and one part in 10^10 beside it
        border = float(before[row].sort().values[6])
        for top_p in (border * (1 - 1e-10), border * (1 + 1e-10)):
            assert_as_sorted(close[row : row + 1], None, top_p)


class SortedNumbers(TorchDispatchMode):
    """Counts the numbers that are sorted or selected from."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten.sort, torch.ops.aten.topk, torch.ops.aten.argsort):
            self.numbers += args[0].numel()
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("top_k", "top_p"), [(50, None), (50, 0.9), (None, 0.9), (None, 0.5), (1000, None)])
@pytest.mark.parametrize("sharpness", [0.0001, 1.0, 4.0])
def test_no_vocabulary_is_sorted(top_k, top_p, sharpness):
    logits = sharpness * torch.randn(4, 100_000, generator=torch.Generator().manual_seed(4))
    log_probs = logits.log_softmax(dim=-1)
    with SortedNumbers() as counted:
        truncate(log_probs, top_k, top_p)
    assert counted.numbers < (0.3 if sharpness >= 1 else 1.4) * log_probs.numel()


def test_typical_tokens_beyond_the_selected_ones_are_found():
    """150 likely tokens hold less than 1,800 others, whose surprise is therefore nearer to the entropy."""
    logits = torch.full((1, 2000), -math.inf)
    logits[0, :150] = 2.0
    logits[0, 150:1950] = 0.0
    log_probs = logits.log_softmax(dim=-1)
    kept = truncation.truncate(log_probs, Limits.equal(log_probs, typical_p=0.2))
    entropy = -(log_probs.exp() * log_probs).nan_to_num().sum()
    assert abs(-log_probs[0, 500] - entropy) < abs(-log_probs[0, 5] - entropy)
    share = log_probs[0, 500].exp().item()
    assert (kept > -math.inf).nonzero()[:, 1].tolist() == list(range(150, 150 + math.ceil(0.2 / share)))


def test_rows_that_are_wide_for_other_reasons_keep_their_places():
    """The first is not settled by the selected tokens, the second keeps more than are selected."""
    log_probs = (0.01 * torch.randn(2, 2000, generator=torch.Generator().manual_seed(6))).log_softmax(dim=-1)
    limits = [Limits.equal(log_probs[:1], top_p=0.5), Limits.equal(log_probs[:1], top_k=300)]
    together = Limits(*(torch.cat(parts) for parts in zip(*limits, strict=True)))
    found = truncation.truncate(log_probs, together)
    for row in range(2):
        assert torch.equal(found[row : row + 1], truncation.truncate(log_probs[row : row + 1], limits[row]))
