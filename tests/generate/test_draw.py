"""Drawing rows with settings of their own: against a slow reference, and each row as if it were alone."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="sampling needs the train extra (torch)")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from generate.sampling_reference import distribution, inverted  # noqa: E402
from stategpt.errors import InvalidArgument, NonFiniteLogits, NothingAllowed, UnknownToken  # noqa: E402
from stategpt.generate.sampler import draw  # noqa: E402
from stategpt.generate.sampling import SampledRow, Sampling  # noqa: E402
from stategpt.randomness import uniforms  # noqa: E402

NEAR = 1e-5
"""Borders closer than float32 can tell: both sides are right."""


def random_mask(words, seed):
    return np.random.default_rng(seed).integers(0, 2**32, words, dtype=np.uint32)


@st.composite
def sampled_rows(draw_, vocabulary):
    ids = st.integers(0, vocabulary - 1)
    some_ids = st.lists(ids, max_size=6)
    steps = st.sampled_from([-2.0, -0.5, 0.25, 0.5, 3.0])
    prompt, generated = draw_(some_ids), draw_(some_ids)
    followed = (*prompt, *generated)
    word = st.one_of(
        st.lists(ids, min_size=1, max_size=3),
        st.builds(lambda count, last: [*followed[len(followed) - count :], last], st.integers(0, 3), ids),
    )
    share = st.floats(0.01, 1.0)
    settings_ = Sampling(
        temperature=draw_(st.sampled_from([1.0, 1.0, 0.25, 1.7, 0.0])),
        top_k=draw_(st.one_of(st.none(), st.integers(1, vocabulary + 2))),
        top_p=draw_(st.one_of(st.none(), share)),
        min_p=draw_(st.one_of(st.none(), st.floats(0.0, 0.5))),
        typical_p=draw_(st.one_of(st.none(), share)),
        repetition_penalty=draw_(st.sampled_from([1.0, 1.0, 0.5, 1.25, 2.0])),
        presence_penalty=draw_(st.sampled_from([0.0, 0.0, 0.75, -1.5])),
        frequency_penalty=draw_(st.sampled_from([0.0, 0.0, 0.25, -0.5])),
        logit_bias=draw_(st.dictionaries(ids, steps, max_size=3)),
        bad_words=draw_(st.lists(word, max_size=3)),
        allowed=draw_(st.one_of(st.none(), st.none(), st.lists(ids, min_size=1, max_size=vocabulary))),
        forbidden=draw_(some_ids),
        min_tokens=draw_(st.sampled_from([0, 0, 3])),
        seed=draw_(st.sampled_from([0, 7, 2**64 - 1])),
    )
    words = -(-vocabulary // 32)
    return SampledRow(
        settings_,
        stream=draw_(st.integers(0, 3)),
        sample=draw_(st.integers(0, 2**40)),
        position=len(generated),
        prompt=np.array(prompt, dtype=np.uint32),
        generated=draw_(st.sampled_from([generated, np.array(generated, dtype=np.uint32)])),
        ends=tuple(draw_(st.lists(ids, max_size=2))),
        mask=draw_(st.one_of(st.none(), st.builds(random_mask, st.integers(1, words + 1), st.integers(0, 99)))),
    )


@st.composite
def batches(draw_):
    """Logits with ties or without, and rows with any settings."""
    vocabulary = draw_(st.sampled_from([3, 33, 140, 300]))
    rows = draw_(st.lists(sampled_rows(vocabulary), min_size=1, max_size=5))
    generator = torch.Generator().manual_seed(draw_(st.integers(0, 10_000)))
    logits = torch.randn(len(rows), vocabulary, generator=generator) * draw_(st.sampled_from([0.05, 1.0, 4.0]))
    if draw_(st.booleans()):
        logits = (logits * 4).round() / 4
    if draw_(st.booleans()):
        logits[torch.rand(logits.shape, generator=generator) < 0.3] = -math.inf
    return logits, rows


def kept_ids(kept, vocabulary):
    ids = set(kept.ids.tolist())
    return set(range(vocabulary)) - ids if kept.is_removed else ids


def agrees(token, log_prob, kept, logits, row):
    """Whether the reference draws this token, from these ids, with this log-probability."""
    expected = distribution(logits, row)
    if kept != set(np.flatnonzero(expected).tolist()) or abs(math.log(expected[token]) - log_prob) > 3e-5:
        return False
    if row.sampling.temperature == 0:
        return expected[token] >= expected.max() - 1e-12 and token == int(np.argmax(expected >= expected.max() - 1e-12))
    uniform = float(uniforms(row.sampling.seed, row.stream, row.sample, row.position))
    return any(inverted(expected, uniform + by) == token for by in (0, -NEAR, NEAR))


def agrees_near(token, log_prob, kept, logits, row):
    """As `agrees`, with borders that may be a rounding away."""
    if agrees(token, log_prob, kept, logits, row):
        return True
    names = [name for name in ("top_p", "min_p", "typical_p") if getattr(row.sampling, name)]
    for factors in product((1 - NEAR, 1 + NEAR, 1.0), repeat=len(names)):
        moved = {
            name: min(1.0, getattr(row.sampling, name) * factor) for name, factor in zip(names, factors, strict=True)
        }
        if agrees(token, log_prob, kept, logits, replace(row, sampling=replace(row.sampling, **moved))):
            return True
    return False


@settings(max_examples=300)
@given(batches())
def test_any_rows_are_drawn_as_by_the_reference(batch):
    logits, rows = batch
    untouched = logits.clone()
    drawn = draw(logits, rows, keep_sets=True)
    assert torch.equal(logits, untouched)
    for number, row in enumerate(rows):
        scores = logits[number].double().numpy()
        if number in drawn.errors:
            assert isinstance(drawn.errors[number], NothingAllowed)
            assert not distribution(scores, row).any()
            continue
        token, log_prob = int(drawn.ids_M[number]), float(drawn.log_probs_M[number])
        assert agrees_near(token, log_prob, kept_ids(drawn.kept[number], logits.shape[1]), scores, row)


@settings(max_examples=100)
@given(batches(), st.randoms(use_true_random=False))
def test_a_row_has_the_same_bits_alone_and_among_any_others(batch, random):
    logits, rows = batch
    together = draw(logits, rows, keep_sets=True)
    order = random.sample(range(len(rows)), len(rows))
    shuffled = draw(logits[order], [rows[row] for row in order], keep_sets=True)
    for place, row in enumerate(order):
        alone = draw(logits[row : row + 1], [rows[row]], keep_sets=True)
        for found, at in ((shuffled, place), (alone, 0)):
            assert int(found.ids_M[at]) == int(together.ids_M[row])
            bits = [part.log_probs_M.view(torch.int32)[n].item() for part, n in ((found, at), (together, row))]
            assert bits[0] == bits[1]
            assert str(found.errors.get(at)) == str(together.errors.get(row))
            assert repr(found.kept[at]) == repr(together.kept[row])


SETTINGS = [
    {},
    {"temperature": 0},
    {"temperature": 0.7},
    {"top_k": 20},
    {"top_k": 500},
    {"top_p": 0.9},
    {"top_p": 0.9, "top_k": 60, "temperature": 1.4},
    {"min_p": 0.05},
    {"typical_p": 0.8},
    {"typical_p": 0.4, "min_p": 0.01},
    {"repetition_penalty": 1.2, "frequency_penalty": 0.1},
    {"forbidden": range(5000, 5100), "presence_penalty": 0.5},
]


def large_rows(vocabulary, count):
    generator = np.random.default_rng(0)
    seen = generator.integers(0, min(vocabulary, 5000), (count, 30), dtype=np.uint32)
    settings_ = [Sampling(**SETTINGS[row % len(SETTINGS)], seed=row) for row in range(count)]
    return [
        SampledRow(chosen, row, 1, 20, seen[row, :10], seen[row, 10:], (1,)) for row, chosen in enumerate(settings_)
    ]


@pytest.mark.parametrize("vocabulary", [5101, 16_384, 49_152])
@pytest.mark.parametrize("threads", [1, 2])
def test_large_rows_have_the_same_bits_in_any_batch_and_with_any_threads(vocabulary, threads):
    """Long rows are summed by vector instructions, in chunks of rows, and by several threads."""
    rows = large_rows(vocabulary, 36)
    logits = 3 * torch.randn(36, vocabulary, generator=torch.Generator().manual_seed(1))
    logits[::7] *= 0.1
    together = draw(logits, rows)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for row in range(36):
            alone = draw(logits[row : row + 1], [rows[row]])
            assert alone.ids_M.item() == together.ids_M[row].item()
            assert torch.equal(alone.log_probs_M, together.log_probs_M[row : row + 1])
            assert torch.equal(alone.raw_log_probs_M, together.raw_log_probs_M[row : row + 1])
    finally:
        torch.set_num_threads(before)


def test_kept_sets_come_in_chunks_of_rows_too(monkeypatch):
    rows = [replace(row, prompt=row.prompt % 400, generated=row.generated % 400) for row in large_rows(5101, 24)]
    rows = [replace(row, sampling=replace(row.sampling, forbidden=(row.stream,))) for row in rows]
    logits = torch.randn(24, 400, generator=torch.Generator().manual_seed(5))
    whole = draw(logits, rows, keep_sets=True)
    monkeypatch.setattr("stategpt.generate.sampler._CACHED_NUMBERS", 5 * 400)
    chunked = draw(logits, rows, keep_sets=True)
    assert torch.equal(whole.ids_M, chunked.ids_M)
    for found, expected in zip(chunked.kept, whole.kept, strict=True):
        assert found.ids.tolist() == expected.ids.tolist()
        assert found.is_removed == expected.is_removed


class Operations(TorchDispatchMode):
    """Counts operations of torch."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_many_different_settings_take_no_more_operations_than_a_few():
    counts = []
    for rows in (12, 96):
        logits = torch.randn(rows, 6000, generator=torch.Generator().manual_seed(2))
        with Operations() as counted:
            draw(logits, large_rows(6000, rows))
        counts.append(counted.count)
    assert counts[1] < 1.3 * counts[0]


def test_the_mean_of_draws_is_the_distribution():
    logits = torch.tensor([[0.3, 1.5, -0.2, 0.9, 2.1]])
    row = SampledRow(Sampling(temperature=1.3, top_p=0.85, logit_bias={0: 1.0}), prompt=np.array([1], dtype=np.uint32))
    expected = distribution(logits[0].numpy(), row)
    count = 20_000
    rows = [replace(row, sample=sample) for sample in range(count)]
    ids = draw(logits.expand(count, -1), rows).ids_M
    found = torch.bincount(ids, minlength=5).numpy() / count
    deviation = np.sqrt(expected * (1 - expected) / count)
    assert (abs(found - expected) <= 4 * deviation).all()


def one(logits, drawn_as=None, **settings_):
    row = SampledRow(Sampling(**settings_), **(drawn_as or {}))
    return draw(torch.tensor([logits]), [row], keep_sets=True)


def test_temperature_zero_takes_the_most_likely_token_whatever_is_typical():
    logits = [2.0] + [0.0] * 30  # the surprise of the others is nearer to the entropy
    drawn = one(logits, temperature=0, typical_p=0.05)
    assert drawn.ids_M.tolist() == [0]
    assert drawn.log_probs_M.item() == pytest.approx(torch.tensor(logits).log_softmax(0)[0].item(), abs=1e-6)
    assert one(logits, typical_p=0.05).kept[0].ids.tolist() == [1, 2]


def test_the_repetition_penalty_reads_the_prompt_and_the_others_do_not():
    seen = {"prompt": np.array([0, 1], dtype=np.uint32), "generated": [1, 1]}
    logits = [2.0, 2.0, -1.0, -1.0]
    cases = [
        ({"repetition_penalty": 2.0}, [1.0, 1.0, -1.0, -1.0]),
        ({"presence_penalty": 0.5}, [2.0, 1.5, -1.0, -1.0]),
        ({"frequency_penalty": 0.5}, [2.0, 1.0, -1.0, -1.0]),
        ({"frequency_penalty": 0.5, "repetition_penalty": 2.0, "logit_bias": {1: -4.0}}, [1.0, -5.0, -1.0, -1.0]),
    ]
    for settings_, expected in cases:
        for token in range(4):
            drawn = one(logits, seen, allowed=[token, 3], temperature=1.0, **settings_)
            expected_two = torch.tensor([expected[token], expected[3]]).log_softmax(0)
            place = 0 if drawn.ids_M.item() == token else 1
            expected_log_prob = 0.0 if token == 3 else expected_two[place].item()
            assert drawn.log_probs_M.item() == pytest.approx(expected_log_prob, abs=1e-6)


def test_a_bad_word_is_forbidden_where_its_beginning_stands_across_the_prompts_end():
    seen = {"prompt": np.array([5, 1], dtype=np.uint32), "generated": [2]}
    logits = [0.0] * 6
    for row, words, expected in (
        (seen, [[1, 2, 3], [4], [2, 2, 0], [2, 5]], {0, 1, 2}),
        (seen, [[5, 1, 2, 0], [1, 1, 2, 3], [0, 5, 1, 2, 4]], {1, 2, 3, 4, 5}),
        ({"generated": []}, [[1, 2, 3], [4]], {0, 1, 2, 3, 5}),
    ):
        assert kept_ids(one(logits, row, bad_words=words).kept[0], 6) == expected


def test_ends_are_forbidden_before_min_tokens_and_only_then():
    for generated, expected in (([0], {1, 2}), ([0, 0], {0, 1, 2})):
        drawn = one([0.0] * 3, {"generated": generated, "ends": (0,)}, min_tokens=2)
        assert kept_ids(drawn.kept[0], 3) == expected


def test_a_constraint_is_applied_before_truncation():
    mask = np.array([0b0110], dtype=np.uint32)
    drawn = one([9.0, 1.0, 0.9, 8.0], {"mask": mask}, top_k=1)
    assert drawn.ids_M.tolist() == [1]
    assert drawn.log_probs_M.tolist() == [0.0]


def test_ids_beyond_a_masks_words_are_not_allowed():
    logits = [0.0] * 40
    drawn = one(logits, {"mask": np.array([0xFFFFFFFF], dtype=np.uint32)})
    assert kept_ids(drawn.kept[0], 40) == set(range(32))
    longer = one(logits, {"mask": np.array([1, 0, 7], dtype=np.uint32)})
    assert kept_ids(longer.kept[0], 40) == {0}


BROKEN = [
    ({"forbidden": range(4)}, {}, NothingAllowed, "remove 4"),
    ({}, {"mask": np.zeros(1, dtype=np.uint32)}, NothingAllowed, "mask allows 0"),
    ({"allowed": [1], "bad_words": [[2, 1]]}, {"generated": [2]}, NothingAllowed, "bad words end here in 1"),
    ({"allowed": [1], "min_tokens": 1}, {"ends": (1,)}, NothingAllowed, "min_tokens=1"),
    ({"logit_bias": {4: 1.0}}, {}, UnknownToken, "id 4"),
    ({"repetition_penalty": 2.0}, {"prompt": np.array([9], dtype=np.uint32)}, UnknownToken, "id 9"),
    ({"presence_penalty": 2.0}, {"generated": [-1]}, UnknownToken, "id -1"),
    ({}, {"mask": np.zeros(1)}, InvalidArgument, "float64"),
    ({"temperature": 1e-44}, {}, NonFiniteLogits, "temperature"),
]


@pytest.mark.parametrize(("settings_", "drawn_as", "error", "message"), BROKEN)
def test_a_row_that_cannot_be_drawn_says_why_and_the_others_are_drawn(settings_, drawn_as, error, message):
    good = SampledRow(Sampling(top_k=2, seed=3), sample=1)
    logits = torch.tensor([[0.5, 1.0, 2.0, -1.0]] * 3)
    drawn = draw(logits, [good, SampledRow(Sampling(**settings_), **drawn_as), good], keep_sets=True)
    alone = draw(logits[:1], [good])
    assert list(drawn.errors) == [1]
    assert isinstance(drawn.errors[1], error)
    assert message in str(drawn.errors[1])
    assert drawn.ids_M.tolist() == [alone.ids_M.item(), -1, alone.ids_M.item()]
    assert drawn.log_probs_M[[0, 2]].tolist() == alone.log_probs_M.tolist() * 2
    assert math.isnan(drawn.log_probs_M[1])
    assert math.isnan(drawn.raw_log_probs_M[1])
    assert drawn.kept[1] is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("settings_", [{}, {"top_p": 0.5}, {"forbidden": (2,)}, {"temperature": 0}])
def test_logits_that_are_no_numbers_are_an_error_of_their_row(value, settings_):
    logits = torch.zeros(3, 4)
    logits[1, 2] = value
    drawn = draw(logits, [SampledRow(Sampling(**settings_))] * 3)
    assert list(drawn.errors) == [1]
    assert isinstance(drawn.errors[1], NonFiniteLogits)
    assert drawn.ids_M[[0, 2]].min() >= 0


def test_every_number_of_rows_must_have_its_logits():
    with pytest.raises(InvalidArgument, match="2 rows"):
        draw(torch.zeros(3, 4), [SampledRow(Sampling())] * 2)
    empty = draw(torch.zeros(0, 4), [])
    assert len(empty.ids_M) == 0
    assert len(empty.raw_log_probs_M) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_logits_of_other_formats_are_drawn_in_float32(dtype):
    logits = torch.randn(5, 200, generator=torch.Generator().manual_seed(3)).to(dtype)
    rows = large_rows(6000, 3)[:2] * 2 + [SampledRow(Sampling(top_k=9, repetition_penalty=1.5), generated=[3])]
    rows = [replace(row, prompt=row.prompt % 200, generated=np.asarray(row.generated) % 200) for row in rows]
    assert draw(logits, rows).ids_M.tolist() == draw(logits.float(), rows).ids_M.tolist()
