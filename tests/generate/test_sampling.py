"""Settings of sampling: what is refused, what is shared, and the processors of transformers as oracles."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="sampling needs the train extra (torch)")

from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.generate import SampledRow, Sampling, draw  # noqa: E402

REFUSED = [
    {"temperature": -0.1},
    {"temperature": math.nan},
    {"temperature": "1"},
    {"top_k": 0},
    {"top_k": 2.0},
    {"top_p": 0.0},
    {"top_p": 1.5},
    {"min_p": -0.1},
    {"min_p": 1.1},
    {"typical_p": 0},
    {"typical_p": math.inf},
    {"repetition_penalty": 0.0},
    {"repetition_penalty": math.nan},
    {"presence_penalty": math.inf},
    {"frequency_penalty": "much"},
    {"logit_bias": {-1: 1.0}},
    {"logit_bias": {1: math.inf}},
    {"logit_bias": {1: 1e9}},
    {"logit_bias": [1]},
    {"bad_words": [[]]},
    {"bad_words": [5]},
    {"bad_words": "abc"},
    {"allowed": []},
    {"allowed": [-2]},
    {"forbidden": "ab"},
    {"forbidden": range(-2, 3)},
    {"min_tokens": -1},
    {"seed": -1},
    {"seed": 2**64},
    {"top_log_probs": -1},
]


@pytest.mark.parametrize("settings", REFUSED, ids=str)
def test_values_out_of_range_are_refused_by_name(settings):
    with pytest.raises(InvalidArgument, match=next(iter(settings))):
        Sampling(**settings)


def test_settings_of_numpy_are_taken_as_numbers_and_survive_pickling():
    given = Sampling(
        np.float32(0.5),
        np.int64(4),
        logit_bias={np.uint32(3): np.float32(1.5)},
        bad_words=[np.array([1, 2], dtype=np.uint32)],
        allowed=np.arange(4),
    )
    plain = Sampling(0.5, 4, logit_bias={3: 1.5}, bad_words=((1, 2),), allowed=(0, 1, 2, 3))
    assert given == plain == pickle.loads(pickle.dumps(given))
    assert given.largest_id == 3
    assert Sampling().largest_id == -1


def test_settings_with_equal_ids_share_their_vector():
    first, second = Sampling(forbidden=(4, 2, 4), seed=1), Sampling(forbidden=(4, 2, 4), seed=2)
    assert first.removed_ids is second.removed_ids
    assert first.removed_ids.tolist() == [2, 4]


NEUTRAL = [{"top_p": 1.0}, {"min_p": 0.0}, {"typical_p": 1.0}, {"top_k": 50}, {"repetition_penalty": 1.0}]


@pytest.mark.parametrize("settings", NEUTRAL, ids=str)
def test_values_that_keep_everything_change_no_bit(settings):
    logits = torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    plain = [SampledRow(Sampling(0.9, seed=3), row) for row in range(20)]
    given = [replace(row, sampling=replace(row.sampling, **settings)) for row in plain]
    found, expected = draw(logits, given, exact=True), draw(logits, plain, exact=True)
    assert torch.equal(found.ids_M, expected.ids_M)
    assert torch.equal(found.log_probs_M, expected.log_probs_M)


def processors(transformers, name, settings, prompt, generated):
    """The processor of transformers that has the same definition."""
    made = {
        "repetition_penalty": lambda value: transformers.RepetitionPenaltyLogitsProcessor(value),
        "bad_words": lambda value: transformers.NoBadWordsLogitsProcessor([list(word) for word in value]),
        "top_k": lambda value: transformers.TopKLogitsWarper(value),
        "top_p": lambda value: transformers.TopPLogitsWarper(value),
        "min_p": lambda value: transformers.MinPLogitsWarper(value),
        "typical_p": lambda value: transformers.TypicalLogitsWarper(value),
        "temperature": lambda value: transformers.TemperatureLogitsWarper(value),
        "logit_bias": lambda value: transformers.SequenceBiasLogitsProcessor([[[t], b] for t, b in value.items()]),
        "min_tokens": lambda value: transformers.MinNewTokensLengthLogitsProcessor(len(prompt), value, [1]),
    }
    return made[name](settings[name])


CASES = [
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.8},
    {"bad_words": [[5, 6, 7], [9], [8, 2]]},
    {"top_k": 7},
    {"top_p": 0.8},
    {"min_p": 0.08},
    {"typical_p": 0.7},
    {"min_tokens": 4},
    {"logit_bias": {3: 2.0, 8: -1.0}, "repetition_penalty": 1.2, "bad_words": [[6, 4]], "temperature": 0.7},
    {"temperature": 1.4, "top_k": 20, "top_p": 0.9, "min_p": 0.05, "typical_p": 0.8},
]


@pytest.mark.parametrize("settings", CASES, ids=str)
def test_transformers_keeps_the_same_ids_with_the_same_probabilities(settings):
    transformers = pytest.importorskip("transformers.generation.logits_process")
    prompt, generated = np.array([3, 5], dtype=np.uint32), np.array([6, 8], dtype=np.uint32)
    if "bad_words" in settings and len(settings) == 1:
        generated = np.array([5, 6], dtype=np.uint32)
    rows = 40
    logits = 2 * torch.randn(rows, 60, generator=torch.Generator().manual_seed(4))
    scores = logits.double()
    ids = torch.from_numpy(np.concatenate([prompt, generated]).astype(np.int64)).expand(rows, -1)
    for name in settings:
        scores = processors(transformers, name, settings, prompt, generated)(ids, scores)
    expected = scores.log_softmax(-1)
    sampled = [SampledRow(Sampling(**settings), row, 0, 2, prompt, generated, (1,)) for row in range(rows)]
    drawn = draw(logits, sampled, keep_sets=True)
    for row in range(rows):
        kept = drawn.kept[row]
        ids_kept = np.ones(60, dtype=bool) if kept.is_removed else np.zeros(60, dtype=bool)
        ids_kept[kept.ids] = not kept.is_removed
        assert ids_kept.tolist() == (expected[row] > -math.inf).tolist()
        assert drawn.log_probs_M[row].item() == pytest.approx(expected[row, drawn.ids_M[row]].item(), abs=3e-6)
