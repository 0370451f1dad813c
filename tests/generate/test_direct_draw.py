"""Rows that are drawn by one native pass: the tokens of the general path, the same bits in any company, errors."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="sampling needs the train extra (torch)")

from stategpt import _native  # noqa: E402
from stategpt.errors import InvalidArgument, NonFiniteLogits, NothingAllowed, UnknownToken  # noqa: E402
from stategpt.generate import sampler  # noqa: E402
from stategpt.generate.sampler import draw  # noqa: E402
from stategpt.generate.sampling import SampledRow, Sampling  # noqa: E402
from stategpt.model.kept_sets import log_probs_within  # noqa: E402

SETTINGS = (
    Sampling(),
    Sampling(temperature=0.7, seed=3),
    Sampling(temperature=1.8, forbidden=(0, 5, 77)),
    Sampling(temperature=0),
    Sampling(temperature=0, forbidden=tuple(range(50, 90))),
    Sampling(bad_words=[[7]]),
)


def logits_of(rows: int, vocabulary: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed))


def rows_of(count: int, position: int = 0) -> list[SampledRow]:
    return [SampledRow(SETTINGS[row % len(SETTINGS)], row, row % 3, position) for row in range(count)]


@pytest.mark.parametrize("vocabulary", [91, 128, 4099])
def test_the_tokens_are_those_of_the_general_path(vocabulary, monkeypatch):
    logits = logits_of(120, vocabulary)
    for position in range(8):
        found = draw(logits, rows_of(120, position))
        with monkeypatch.context() as patch:
            patch.setattr(sampler, "takes", lambda _: False)
            expected = draw(logits, rows_of(120, position))
        assert found.ids_M.tolist() == expected.ids_M.tolist()
        torch.testing.assert_close(found.log_probs_M, expected.log_probs_M, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("others", [(), (Sampling(top_p=0.9), Sampling(repetition_penalty=1.5))])
def test_a_row_has_the_same_bits_alone_and_beside_any_others(others):
    logits, rows = logits_of(40, 4099), rows_of(40)
    beside = [SampledRow(each, 9) for each in others]
    every = draw(torch.cat([logits_of(len(beside), 4099, 1), logits]), [*beside, *rows])
    for row, sampled in enumerate(rows):
        alone = draw(logits[row : row + 1], [sampled])
        assert every.ids_M[len(beside) + row] == alone.ids_M[0]
        assert torch.equal(every.log_probs_M[len(beside) + row], alone.log_probs_M[0])


def test_exact_log_probabilities_have_the_bits_of_log_softmax():
    logits = logits_of(64, 515)
    rows = [SampledRow(Sampling(temperature=0.7), row) for row in range(64)]
    drawn = draw(logits, rows, exact=True)
    expected = (logits / torch.tensor(0.7)).log_softmax(-1).gather(1, drawn.ids_M[:, None])[:, 0]
    assert torch.equal(drawn.log_probs_M, expected)
    assert not torch.equal(draw(logits, rows).log_probs_M, expected)


def test_a_row_without_a_distribution_is_an_error_and_the_others_are_drawn():
    logits = logits_of(6, 130)
    logits[1, 4], logits[2, 0], logits[3] = torch.nan, torch.inf, -torch.inf
    logits[4, 7] = torch.nan  # which its settings remove
    plain, without_7 = Sampling(), Sampling(forbidden=(7,))
    drawn = draw(logits, [SampledRow(without_7 if row == 4 else plain, row) for row in range(6)])
    assert set(drawn.errors) == {1, 2, 3, 4}
    assert [type(drawn.errors[row]) for row in (1, 2, 3, 4)] == [
        NonFiniteLogits, NonFiniteLogits, NothingAllowed, NonFiniteLogits,
    ]  # fmt: skip
    assert drawn.ids_M[1:5].tolist() == [-1] * 4
    assert (drawn.ids_M[[0, 5]] >= 0).all()


def test_removed_ids_outside_the_vocabulary_are_an_error_of_their_rows():
    drawn = draw(logits_of(2, 20), [SampledRow(Sampling(forbidden=(20,))), SampledRow(Sampling())])
    assert isinstance(drawn.errors[0], UnknownToken)
    assert list(drawn.errors) == [0]


def test_a_temperature_that_makes_logits_infinite_is_an_error():
    drawn = draw(torch.tensor([[1e10, 0.0]]), [SampledRow(Sampling(temperature=1e-30))])
    assert isinstance(drawn.errors[0], NonFiniteLogits)
    assert "temperature" in str(drawn.errors[0])


def test_what_does_not_belong_together_is_refused():
    logits, one = np.zeros((2, 3), dtype=np.float32), np.zeros(1, dtype=np.int64)
    arguments = (one, np.ones(1, dtype=np.float32), np.zeros(1), np.array([3]), 1)
    with pytest.raises(InvalidArgument, match="removed holds 3; there are 3"):
        _native.draw(logits, *arguments)
    with pytest.raises(InvalidArgument, match="temperatures has 2 numbers"):
        _native.draw(logits, one, np.ones(2, dtype=np.float32), np.zeros(1), one, 1)


@pytest.mark.parametrize("settings", [{"top_p": 0.8}, {"top_k": 5}, {"top_k": 40, "top_p": 0.9}, {"min_p": 0.1}])
def test_exact_log_probabilities_of_truncated_rows_have_the_bits_of_training(settings):
    logits = logits_of(64, 515)
    rows = [SampledRow(Sampling(temperature=0.7 + row % 2, forbidden=(3,), **settings), row) for row in range(64)]
    drawn = draw(logits, rows, keep_sets=True, exact=True)
    for first, temperature in ((0, 0.7), (1, 1.7)):
        expected = log_probs_within(logits[first::2], drawn.kept[first::2], temperature)
        assert torch.equal(drawn.log_probs_M[first::2], expected.gather(1, drawn.ids_M[first::2, None])[:, 0])


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 1e6},
        {"presence_penalty": 1e3},
        {"frequency_penalty": 1e3},
        {"logit_bias": {7: -1e4}},
        {"bad_words": [[3, 7]]},
        {"allowed": [1, 2, 3]},
    ],
)
def test_a_row_whose_logits_change_is_not_drawn_directly(settings):
    logits = logits_of(1, 130)
    logits[0, 7] = 50.0
    row = SampledRow(Sampling(temperature=0, **settings), prompt=np.array([7, 3], dtype=np.uint32), generated=[7, 3])
    assert draw(logits, [SampledRow(Sampling(temperature=0))]).ids_M.item() == 7
    assert draw(logits, [row]).ids_M.item() != 7
