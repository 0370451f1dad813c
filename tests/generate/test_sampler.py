"""Drawing tokens: inversion at its borders, randomness by counters, the distribution that is drawn from."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="sampling needs the train extra (torch)")

from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.generate.inversion import invert  # noqa: E402
from stategpt.generate.sampler import Draws, draw  # noqa: E402
from stategpt.generate.sampling import SampledRow, Sampling  # noqa: E402
from stategpt.generate.truncation import Limits, truncate  # noqa: E402
from stategpt.model import log_probs  # noqa: E402
from stategpt.randomness import uniforms  # noqa: E402


def drawn_by(
    sampling: Sampling, logits: torch.Tensor, streams: np.ndarray, samples: np.ndarray, position: int, **how: bool
) -> Draws:
    """Draws for rows of one sampling."""
    rows = [
        SampledRow(sampling, *counters, position) for counters in zip(streams.tolist(), samples.tolist(), strict=True)
    ]
    drawn = draw(logits, rows, **how)
    assert not drawn.errors
    return drawn


@pytest.mark.parametrize("least", [0, 1 << 30])
def test_inversion_takes_the_first_token_whose_share_is_not_used_up(least, monkeypatch):
    monkeypatch.setattr("stategpt.generate.inversion._BLOCKWISE_TOKENS", least)
    shares = torch.tensor([[0.5, 0.0, 0.25, 0.25]], dtype=torch.float64).log()
    borders = {0.0: 0, 0.4999: 0, 0.5: 2, 0.7499: 2, 0.75: 3, 1 - 2.0**-53: 3}
    for uniform, token in borders.items():
        assert invert(shares, torch.tensor([uniform], dtype=torch.float64)).item() == token


def test_inversion_never_draws_a_token_without_probability():
    shares = torch.tensor([[float("-inf"), 0.3, float("-inf")]]).log_softmax(dim=-1)
    for uniform in (0.0, 0.5, 1 - 2.0**-53):
        assert invert(shares, torch.tensor([uniform], dtype=torch.float64)).item() == 1


def test_a_rows_draw_depends_on_its_own_counters_only():
    sampling = Sampling(seed=5)
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(1))
    streams, samples = np.array([7, 3, 7, 0]), np.array([0, 1, 2, 0])
    together = drawn_by(sampling, logits, streams, samples, 9)
    for row in range(4):
        alone = drawn_by(sampling, logits[row : row + 1], streams[row : row + 1], samples[row : row + 1], 9)
        assert alone.ids_M.item() == together.ids_M[row].item()
    reseeded = [drawn_by(Sampling(seed=seed), logits, streams, samples, 9).ids_M.tolist() for seed in range(5)]
    moved = [drawn_by(sampling, logits, streams, samples, position).ids_M.tolist() for position in range(5)]
    assert len(set(map(tuple, reseeded))) == len(set(map(tuple, moved))) == 5


def test_the_log_probability_is_that_of_the_distribution_drawn_from():
    logits = torch.tensor([[1.0, 3.0, 2.0, 9.0]])
    drawn = drawn_by(Sampling(temperature=0.5, top_k=2, forbidden=(3,)), logits, np.array([0]), np.array([0]), 0)
    weights = {1: math.exp(6.0), 2: math.exp(4.0)}
    expected = math.log(weights[drawn.ids_M.item()] / sum(weights.values()))
    assert drawn.log_probs_M.item() == pytest.approx(expected, abs=1e-6)


def test_temperature_zero_takes_the_most_likely_allowed_token():
    logits = torch.tensor([[1.0, 3.0, 2.0, 9.0]])
    drawn = drawn_by(Sampling(temperature=0, forbidden=(3,)), logits, np.array([0]), np.array([0]), 0)
    assert drawn.ids_M.tolist() == [1]
    total = math.exp(1.0) + math.exp(3.0) + math.exp(2.0)
    assert drawn.log_probs_M.item() == pytest.approx(3.0 - math.log(total), abs=1e-6)


@pytest.mark.parametrize(
    "settings",
    [{"temperature": -0.1}, {"temperature": float("nan")}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}],
)
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(InvalidArgument, match=next(iter(settings))):
        Sampling(**settings)


def test_settings_enter_the_draw_in_chunks_of_rows_too(monkeypatch):
    """The rows of a large batch x vocabulary are drawn some at a time: each with its own numbers."""
    logits = torch.randn(13, 70, generator=torch.Generator().manual_seed(1))
    streams, samples = np.arange(13) // 2, np.arange(13) % 2
    for settings in ({}, {"top_k": 5}, {"top_p": 0.8}, {"temperature": 0}):
        sampling = Sampling(seed=5, **settings)
        whole = drawn_by(sampling, logits, streams, samples, 9)
        monkeypatch.setattr("stategpt.generate.sampler._CACHED_NUMBERS", 3 * 70)
        chunked = drawn_by(sampling, logits, streams, samples, 9)
        monkeypatch.undo()
        assert chunked.ids_M.tolist() == whole.ids_M.tolist()
        assert chunked.log_probs_M.tolist() == whole.log_probs_M.tolist()


@pytest.mark.parametrize("settings", [{}, {"top_k": 7}, {"top_p": 0.6}, {"top_k": 20, "top_p": 0.9}])
def test_a_draw_is_the_inversion_of_the_whole_distribution(settings):
    """The tokens that are kept are drawn from alone; the draws are those of the whole vocabulary."""
    logits = 2 * torch.randn(40, 500, generator=torch.Generator().manual_seed(2))
    sampling = Sampling(seed=3, temperature=0.8, forbidden=(0, 499), **settings)
    drawn = drawn_by(sampling, logits, np.arange(40), np.zeros(40, dtype=np.int64), 2, exact=True)
    whole = truncate(log_probs(logits, 0.8, (0, 499)), Limits.equal(logits, **settings))
    uniform = torch.from_numpy(uniforms(3, np.arange(40), np.zeros(40, dtype=np.int64), 2))
    assert drawn.ids_M.tolist() == invert(whole, uniform).tolist()
    assert drawn.log_probs_M.tolist() == whole.gather(1, drawn.ids_M[:, None])[:, 0].tolist()


def test_thousands_of_forbidden_ids_become_a_vector_once(monkeypatch):
    made = []
    real = np.unique
    monkeypatch.setattr(np, "unique", lambda *args, **kwargs: made.append(args) or real(*args, **kwargs))
    sampling = Sampling(forbidden=range(1, 501))
    for position in range(3):
        drawn = drawn_by(sampling, torch.zeros(2, 501), np.array([0, 1]), np.array([0, 0]), position)
        assert drawn.ids_M.tolist() == [0, 0]
    assert len(made) == 1


@pytest.mark.parametrize("vocabulary", [2, 100, 128, 1000])
def test_inversion_by_blocks_is_inversion_of_the_whole(vocabulary, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(500, vocabulary, generator=generator)
    logits[torch.rand(500, vocabulary, generator=generator) < 0.6] = float("-inf")
    logits[:, vocabulary // 2] = 0.0
    shares = logits.log_softmax(dim=-1)
    uniform = torch.rand(500, generator=generator, dtype=torch.float64)
    uniform[:3] = torch.tensor([0.0, 1 - 2.0**-53, 0.5])
    monkeypatch.setattr("stategpt.generate.inversion._BLOCKWISE_TOKENS", 1 << 30)
    whole = invert(shares, uniform)
    monkeypatch.setattr("stategpt.generate.inversion._BLOCKWISE_TOKENS", 0)
    by_blocks = invert(shares, uniform)
    assert by_blocks.tolist() == whole.tolist()
    assert bool((shares.gather(1, by_blocks[:, None]) > float("-inf")).all())


def test_the_way_of_inverting_a_row_does_not_depend_on_the_others(monkeypatch):
    """Sums in another order differ by roundings: rare, but a row must not change because others came or went."""
    monkeypatch.setattr("stategpt.generate.inversion._BLOCKWISE_TOKENS", 200)
    ways = []
    real = torch.Tensor.cumsum
    monkeypatch.setattr(
        torch.Tensor, "cumsum", lambda self, **kwargs: ways.append(self.shape[1]) or real(self, **kwargs)
    )
    for vocabulary in (100, 300):
        for rows in (1, 2, 50):
            ways.clear()
            invert(torch.zeros(rows, vocabulary), torch.full((rows,), 0.5, dtype=torch.float64))
            assert ways == ([100] if vocabulary == 100 else [3, 128])
