"""Guesses in the scheduler: fewer steps, the same samples, and nothing of a guess that was not drawn is left."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="sampling needs the train extra (torch)")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.generate import Engine, Limits  # noqa: E402
from stategpt.generate.branch import Branch  # noqa: E402
from stategpt.generate.speculation import Guesses  # noqa: E402
from tiny_models import some_ids, tiny_model, tiny_tokenizer  # noqa: E402

PAGE_BYTES = 16 * 2 * 2 * 16 * 4


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def engine_of(model, speculate, pages=None, **limits):
    kv_bytes = None if pages is None else pages * PAGE_BYTES
    return Engine(model, tiny_tokenizer(), kv_bytes=kv_bytes, limits=Limits(speculate=speculate, **limits))


def repeating(seed, tokens=24):
    """A prompt that repeats some ids, so that there is something to propose."""
    return np.tile(some_ids(seed, 6), 10)[:tokens]


def leaves_nothing(engine):
    assert not engine.scheduler.busy
    engine.memory.index.clear()
    engine.memory.pool.check()
    assert engine.memory.pool.used_pages == 0


def same(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.ids.tolist() == theirs.ids.tolist()
        assert ours.text == theirs.text
        assert ours.reason == theirs.reason
        np.testing.assert_allclose(ours.log_probs, theirs.log_probs, atol=2e-5)


SETTINGS = [
    {"temperature": 0},
    {"temperature": 0.3, "seed": 4, "n": 3},
    {"temperature": 0.5, "seed": 5, "n": 2, "top_p": 0.9, "repetition_penalty": 1.05, "frequency_penalty": 0.1},
    {"temperature": 0.3, "seed": 6, "n": 2, "stop": ["e", " k"]},
    {"temperature": 0.3, "seed": 7, "bad_words": [[40, 41]], "min_tokens": 5, "top_log_probs": 2},
]


@pytest.mark.parametrize("chosen", SETTINGS, ids=str)
def test_samples_are_those_without_guesses(model, chosen):
    prompts = [repeating(seed) for seed in range(3)] + [some_ids(9, 30)]
    plain, guessing = engine_of(model, 0), engine_of(model, 5)
    expected = plain.generate(prompts, max_tokens=40, raw_log_probs=True, **chosen)
    found = guessing.generate(prompts, max_tokens=40, raw_log_probs=True, **chosen)
    same(found, expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.raw_log_probs, theirs.raw_log_probs, atol=2e-5)
        assert [top.ids.tolist() for top in ours.top] == [top.ids.tolist() for top in theirs.top]
    counters, before = guessing.scheduler.counters, plain.scheduler.counters
    assert before.proposed == before.accepted == 0
    assert 0 <= counters.accepted <= counters.proposed
    assert counters.proposed > 0
    assert (counters.decoded, counters.prefilled) == (before.decoded, before.prefilled)
    leaves_nothing(guessing)


@pytest.mark.parametrize("chosen", [{"temperature": 0.3, "seed": 4}, {"temperature": 0.5, "seed": 5, "top_p": 0.9}])
def test_an_exact_engine_gives_the_same_bits_with_guesses(chosen):
    model = tiny_model()  # not the others': it is switched
    prompts = [repeating(seed) for seed in range(2)]
    engines = [Engine(model, tiny_tokenizer(), exact=True, limits=Limits(speculate=speculate)) for speculate in (0, 5)]
    expected, found = (engine.generate(prompts, n=2, max_tokens=30, kept_sets=True, **chosen) for engine in engines)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.ids.tolist() == theirs.ids.tolist()
        assert ours.log_probs.tobytes() == theirs.log_probs.tobytes()
        assert repr(ours.kept) == repr(theirs.kept)
    assert engines[1].scheduler.counters.proposed > 0


def test_greedy_text_that_repeats_itself_takes_fewer_steps(model):
    """Every token that was accepted is one that no step was made for."""
    plain, guessing = engine_of(model, 0), engine_of(model, 8)
    prompts = [repeating(1)]
    same(
        guessing.generate(prompts, temperature=0, max_tokens=60), plain.generate(prompts, temperature=0, max_tokens=60)
    )
    counters, before = guessing.scheduler.counters, plain.scheduler.counters
    assert counters.accepted > 10
    assert counters.prefilled == before.prefilled
    assert before.steps - counters.steps == counters.accepted


@settings(max_examples=8)
@given(st.integers(0, 500), st.integers(1, 8), st.integers(8, 14), st.integers(1, 24))
def test_guesses_take_no_pages_from_samples(seed, speculate, pages, max_tokens):
    """With so few pages that samples give theirs up: they are the same, and no guess makes one give up more."""
    model = tiny_model()
    prompts = [repeating(seed + each) for each in range(4)]
    chosen = {"temperature": 0.3, "seed": seed, "n": 2, "max_tokens": max_tokens}
    expected = engine_of(model, 0, pages).generate(prompts, **chosen)
    engine = engine_of(model, speculate, pages)
    same(engine.generate(prompts, **chosen), expected)
    leaves_nothing(engine)


def test_known_prefixes_hold_no_guess(model):
    """What is kept of a finished sample is read by the next request: keys of its tokens, of nothing else."""
    prompt = repeating(2)
    kept = Engine(model, tiny_tokenizer(), keep_prefixes=True, limits=Limits(speculate=8))
    first = kept.generate([prompt], temperature=0, max_tokens=30)[0]
    longer = np.concatenate([prompt, first.ids])
    again = kept.generate([longer], temperature=0, max_tokens=10)
    assert kept.scheduler.counters.reused >= 16
    same(again, engine_of(model, 0).generate([longer], temperature=0, max_tokens=10))


def test_sessions_continue_what_was_guessed(model):
    prompt = repeating(3)
    texts = []
    for speculate in (0, 6):
        with engine_of(model, speculate).session(prompt) as session:
            session.sample(20, temperature=0)
            session.append(some_ids(4, 5))
            session.rewind(session.length - 3)
            session.sample(15, temperature=0.2, seed=3)
            texts.append(session.ids.tolist())
    assert texts[0] == texts[1]


def test_guesses_grow_with_what_is_drawn_and_shrink_without():
    branch = Branch(np.array([5, 6] * 20, dtype=np.uint32), sequence=FakeSequence())
    guesses = Guesses()
    sizes = []
    for share in (1, 1, 1, 0, 1, 1):
        proposed = len(guesses.propose(branch, 7))
        sizes.append(proposed)
        guesses.learn(proposed, proposed * share)
    assert sizes == [2, 4, 7, 7, 1, 2]


class FakeSequence:
    length = 0


def test_the_limit_is_a_whole_number():
    with pytest.raises(InvalidArgument, match="speculate"):
        Limits(speculate=-1)
