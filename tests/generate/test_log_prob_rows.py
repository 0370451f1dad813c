"""Log-probabilities that are reported: of the model alone, most likely first, and of prompts in chunks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="sampling needs the train extra (torch)")

from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.generate import SampledRow, Sampling, draw  # noqa: E402
from stategpt.generate.log_prob_rows import score_tokens  # noqa: E402


def logits_with_ties(rows, vocabulary):
    return (2 * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(0))).round()


def by_sorting(logits, count, vocabulary):
    """Most likely first, smaller id first of equals; log-probabilities without padding."""
    log_probs = logits[:vocabulary].double().log_softmax(0).numpy()
    ids = np.lexsort((np.arange(vocabulary), -logits[:vocabulary].numpy()))[:count]
    return ids.tolist(), log_probs[ids]


@pytest.mark.parametrize("vocabulary", [None, 7, 290])
def test_the_most_likely_tokens_are_those_of_the_model_whatever_the_settings_are(vocabulary):
    logits = logits_with_ties(12, 300)
    settings = [{}, {"temperature": 0.2, "forbidden": range(200), "top_k": 3}, {"repetition_penalty": 3.0}]
    counts = [0, 1, 5, 60, 299, 500]
    rows = [
        SampledRow(Sampling(**settings[row % 3], top_log_probs=counts[row % 6]), row, generated=[4, 250])
        for row in range(12)
    ]
    drawn = draw(logits, rows, vocabulary=vocabulary)
    known = vocabulary or 300
    for row in range(12):
        count = counts[row % 6]
        if not count:
            assert drawn.top[row] is None
            continue
        ids, log_probs = by_sorting(logits[row], count, known)
        assert drawn.top[row].ids.tolist() == ids
        assert len(ids) == min(count, known)
        np.testing.assert_allclose(drawn.top[row].log_probs, log_probs, atol=2e-6)
        chosen = int(drawn.ids_M[row])
        expected = logits[row, :known].double().log_softmax(0)[chosen].item() if chosen < known else -np.inf
        assert drawn.raw_log_probs_M[row].item() == pytest.approx(expected, abs=2e-6)


def test_raw_and_drawn_log_probabilities_are_equal_where_nothing_is_set():
    logits, rows = logits_with_ties(9, 300), [SampledRow(Sampling(seed=1), row) for row in range(9)]
    drawn, exact = draw(logits, rows), draw(logits, rows, exact=True)
    torch.testing.assert_close(drawn.raw_log_probs_M, drawn.log_probs_M, rtol=1e-6, atol=1e-6)
    assert torch.equal(exact.raw_log_probs_M, exact.log_probs_M)


@pytest.mark.parametrize("max_rows", [None, 1, 3, 100])
def test_a_texts_log_probabilities_come_in_chunks_of_rows(max_rows):
    generator = torch.Generator().manual_seed(1)
    hidden, weight = torch.randn(10, 8, generator=generator), torch.randn(30, 8, generator=generator)
    ids = np.arange(10, dtype=np.uint32)
    sizes = []

    def unembed(part):
        sizes.append(len(part))
        return part @ weight.T

    scored = score_tokens(unembed, hidden, ids, top_log_probs=2, vocabulary=28, max_rows=max_rows)
    logits = hidden @ weight.T
    expected = logits[:, :28].log_softmax(-1)
    np.testing.assert_allclose(scored.log_probs_T, expected[range(10), range(10)], atol=2e-6)
    assert [top.ids.tolist() for top in scored.top] == [by_sorting(row, 2, 28)[0] for row in logits]
    assert sum(sizes) == 10
    assert max(sizes) <= (max_rows or 10)
    assert not score_tokens(unembed, hidden, ids, max_rows=4).top


def test_a_text_without_tokens_and_one_of_another_length():
    empty = score_tokens(lambda part: part, torch.zeros(0, 4), np.empty(0, dtype=np.uint32), top_log_probs=1)
    assert (len(empty.log_probs_T), empty.top) == (0, [])
    with pytest.raises(InvalidArgument, match="3 hidden states for 2 ids"):
        score_tokens(lambda part: part, torch.zeros(3, 4), np.zeros(2, dtype=np.uint32))
