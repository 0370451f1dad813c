"""The scheduler: what it computes, in which order, what happens when something fails, and that nothing is left over."""

from __future__ import annotations

import random
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="sampling needs the train extra (torch)")

from stategpt.errors import (  # noqa: E402
    ContextOverflow,
    EngineError,
    InvalidArgument,
    OutOfPages,
    QueueFull,
    UnknownToken,
)
from stategpt.generate import Engine, Event, Handle, Limits, Request, Sampling, scheduler  # noqa: E402
from stategpt.generate.masks_ahead import MasksAhead  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from tiny_models import (  # noqa: E402
    CONTEXT_TOKENS,
    raw_log_probs,
    some_ids,
    tiny_model,
    tiny_tokenizer,
)

PAGE_BYTES = 16 * 2 * 2 * 16 * 4
"""Of the tiny model: 16 positions, keys and values, 2 layers, 2 heads of 8, float32."""


@pytest.fixture(scope="module")
def model() -> GPT:
    return tiny_model()


def engine_of(model: GPT, pages: int | None = None, **limits: int) -> Engine:
    kv_bytes = None if pages is None else pages * PAGE_BYTES
    return Engine(model, tiny_tokenizer(), kv_bytes=kv_bytes, limits=Limits(**limits))


def leaves_nothing(engine: Engine) -> None:
    """No request, and every page is free."""
    assert not engine.scheduler.busy
    assert engine.scheduler._queue.empty
    assert not engine.scheduler._queue._in_scope
    engine.memory.index.clear()
    engine.memory.pool.check()
    assert engine.memory.pool.used_pages == 0


Samples = dict[tuple[int, int], list[Event]]


def run(engine: Engine, steps: int = 2000) -> Samples:
    """Steps until nothing is left. -> the events of each sample."""
    found: Samples = defaultdict(list)
    for _ in range(steps):
        if not engine.scheduler.busy:
            return found
        for event in engine.scheduler.step():
            found[event.handle.number, event.sample].append(event)
    raise AssertionError(f"not done after {steps} steps")


def ids_of(events: Sequence[Event]) -> list[int]:
    return [int(token) for event in events for token in event.ids]


def test_samples_of_a_cold_prompt_compute_it_once(model: GPT) -> None:
    engine = engine_of(model)
    completions = engine.generate([some_ids(0, 50)], n=64, max_tokens=5, forbidden=[0])
    counters = engine.scheduler.counters
    assert (counters.prefilled, counters.decoded, counters.recomputed) == (50, 64 * 5, 0)
    assert len({tuple(completion.ids) for completion in completions}) > 32
    leaves_nothing(engine)


def test_requests_that_begin_alike_compute_the_beginning_once_also_when_they_come_together(model: GPT) -> None:
    """16 cold requests with 64 common tokens: what the first computes, the others wait for."""
    engine, common = engine_of(model), some_ids(0, 64)
    prompts = [np.concatenate([common, some_ids(1 + number, 4)]) for number in range(16)]
    found = engine.generate(prompts, max_tokens=4, temperature=0)
    assert engine.scheduler.counters.prefilled == 64 + 16 * 4
    assert [completion.usage.cached_tokens for completion in found] == [0] + [64] * 15
    leaves_nothing(engine)
    for number in (0, 7, 15):
        (alone,) = engine.generate([prompts[number]], max_tokens=4, temperature=0)
        assert alone.ids.tolist() == found[number].ids.tolist()


@pytest.mark.parametrize(
    ("pages", "limits"),
    [
        (None, {"rows": 1}),
        (None, {"rows": 3, "step_tokens": 1}),
        (None, {"rows": 64, "step_tokens": 17}),
        (8, {"rows": 8}),
        (13, {"rows": 64, "step_tokens": 40}),
    ],
)
def test_results_do_not_depend_on_limits_chunks_or_memory(
    model: GPT, pages: int | None, limits: dict[str, int]
) -> None:
    prompts = [some_ids(number, 3 + 9 * number) for number in range(8)]
    expected = engine_of(model).generate(prompts, n=3, seed=4, max_tokens=12)
    engine = engine_of(model, pages, **limits)
    found = engine.generate(prompts, n=3, seed=4, max_tokens=12)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.ids.tolist() == theirs.ids.tolist()
        assert (ours.prompt_index, ours.sample_index, ours.reason) == (
            theirs.prompt_index, theirs.sample_index, theirs.reason,
        )  # fmt: skip
        np.testing.assert_allclose(ours.log_probs, theirs.log_probs, atol=1e-5)
    if pages is not None:
        assert engine.scheduler.counters.preempted > 0
    leaves_nothing(engine)


def test_a_step_computes_no_more_than_its_budget_and_decodes_first(model: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(model, step_tokens=32)
    sizes: list[int] = []
    step = model.step
    monkeypatch.setattr(model, "step", lambda tokens, *rest: (sizes.append(len(tokens)), step(tokens, *rest))[1])
    running = engine.scheduler.submit(engine.request(some_ids(0, 4), max_tokens=20, forbidden=[0]))
    engine.scheduler.step()
    late = engine.scheduler.submit(engine.request(some_ids(1, 80), max_tokens=2))
    tokens: Counter[int] = Counter()
    for _ in range(3):
        events = engine.scheduler.step()
        tokens.update(event.handle.number for event in events)
    assert sizes[1:4] == [32, 32, 19]  # a token of the running sample each, and 31, 31 and 18 of the prompt
    assert tokens == {running.number: 3, late.number: 1}
    run(engine)
    leaves_nothing(engine)


def test_a_long_prompt_does_not_hold_up_short_ones(model: GPT) -> None:
    engine = engine_of(model, step_tokens=32)
    long = engine.scheduler.submit(engine.request(some_ids(0, 90), max_tokens=1))
    short = [engine.scheduler.submit(engine.request(some_ids(1 + n, 8), max_tokens=1)) for n in range(3)]
    order = [event.handle.number for event in engine.scheduler.step()]
    assert engine.scheduler.counters.prefilled == 32, "what a short prompt leaves of the budget goes to the long one"
    order += [event.handle.number for _ in range(5) for event in engine.scheduler.step()]
    assert order == [*(handle.number for handle in short), long.number]


def test_scopes_take_turns_and_a_large_request_leaves_room(model: GPT) -> None:
    """Rows for 8; a million samples of one scope, then one request of another and a second of the same."""
    engine = engine_of(model, rows=8)
    many = engine.scheduler.submit(
        replace(engine.request(some_ids(0, 8), scope="a", max_tokens=9, forbidden=[0]), n=10**6)
    )
    for _ in range(3):
        engine.scheduler.step()
    assert engine.scheduler.running == 8
    others = [
        engine.scheduler.submit(engine.request(some_ids(1 + n, 8), scope=scope, max_tokens=2))
        for n, scope in enumerate(["b", "a"])
    ]
    for _ in range(24):
        engine.scheduler.step()
    assert all(handle.done for handle in others)
    assert not many.done
    assert engine.memory.pool.used_pages < 8 * 3
    engine.scheduler.cancel(many)
    leaves_nothing(engine)


def test_the_oldest_requests_of_a_scope_come_first(model: GPT) -> None:
    engine = engine_of(model, rows=4)
    handles = [engine.scheduler.submit(engine.request(some_ids(n, 8), max_tokens=2, forbidden=[0])) for n in range(12)]
    done = [number for number, _ in run(engine)]
    assert done == [handle.number for handle in handles]


def test_a_full_queue_refuses_and_takes_again_later(model: GPT) -> None:
    engine = engine_of(model, rows=1, waiting=3)
    request = engine.request(some_ids(0, 8), max_tokens=2)
    handles = [engine.scheduler.submit(request) for _ in range(3)]
    with pytest.raises(QueueFull, match=r"3 requests wait, as many as limits\.waiting allows"):
        engine.scheduler.submit(request)
    engine.scheduler.step()
    handles.append(engine.scheduler.submit(request))
    assert len(run(engine)) == 4
    assert all(handle.done for handle in handles)
    assert len(engine.generate([some_ids(0, 8)] * 9, max_tokens=2)) == 9  # a call waits for room
    leaves_nothing(engine)


def test_a_request_that_never_fits_is_refused_and_the_next_one_runs(model: GPT) -> None:
    engine = engine_of(model, pages=3)
    with pytest.raises(OutOfPages, match="take 4 pages of 16 tokens, the engine has 3; lower max_tokens"):
        engine.scheduler.submit(engine.request(some_ids(0, 40), max_tokens=9))
    with pytest.raises(OutOfPages):
        engine.generate([some_ids(0, 40)], max_tokens=9)
    assert len(engine.generate([some_ids(0, 40)], n=5, max_tokens=8, forbidden=[0])) == 5  # exactly full, one by one
    leaves_nothing(engine)


def test_requests_no_model_could_take_are_refused(model: GPT) -> None:
    submit = engine_of(model).scheduler.submit
    with pytest.raises(ContextOverflow, match=f"the prompt has {CONTEXT_TOKENS} tokens"):
        submit(Request(some_ids(0, CONTEXT_TOKENS)))
    with pytest.raises(UnknownToken, match="holds id 300"):
        submit(Request(np.array([300], dtype=np.uint32)))
    with pytest.raises(InvalidArgument, match="has no ids"):
        submit(Request(np.array([], dtype=np.uint32)))
    with pytest.raises(InvalidArgument, match="vector of uint32"):
        submit(Request([1, 2]))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="n is 0"):
        submit(Request(some_ids(0, 4), n=0))
    with pytest.raises(InvalidArgument, match="rows is 0"):
        Limits(rows=0)


def test_a_cancelled_request_frees_its_pages_at_once_at_any_point(model: GPT) -> None:
    for steps in range(8):
        engine = engine_of(model, step_tokens=20)
        handle = engine.scheduler.submit(engine.request(some_ids(0, 50), n=5, max_tokens=10, forbidden=[0]))
        other = engine.scheduler.submit(engine.request(some_ids(1, 10), max_tokens=3))
        for _ in range(steps):
            engine.scheduler.advance()
        engine.scheduler.cancel(handle)
        engine.scheduler.cancel(handle)
        assert handle.done
        assert handle.cancelled
        assert all(event.handle is other for event in engine.scheduler.step())
        run(engine)
        assert engine.scheduler.counters.cancelled == 1
        leaves_nothing(engine)


def test_an_error_of_the_model_ends_those_in_the_step_and_nobody_else(
    model: GPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(model, rows=2)
    handles = [engine.scheduler.submit(engine.request(some_ids(n, 8), max_tokens=4)) for n in range(3)]
    with monkeypatch.context() as broken:
        broken.setattr(model, "step", lambda *_: (_ for _ in ()).throw(MemoryError("no memory")))
        events = engine.scheduler.step()
    assert [event.handle for event in events] == handles[:2]
    for event in events:
        assert isinstance(event.error, EngineError)
        assert isinstance(event.error.__cause__, MemoryError)
        assert "MemoryError: no memory" in str(event.error)
        assert event.handle.done
        assert event.handle.error is event.error
    assert {number for number, _ in run(engine)} == {handles[2].number}
    assert engine.scheduler.counters.failed == 2
    leaves_nothing(engine)


def test_a_call_raises_what_the_module_raised_and_cancels_its_requests(
    model: GPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(model, rows=2)
    with monkeypatch.context() as broken:
        broken.setattr(model, "unembed", lambda *_: (_ for _ in ()).throw(KeyError("logits")))
        with pytest.raises(KeyError, match="logits"):
            engine.generate([some_ids(n, 8) for n in range(9)])
        broken.setattr(model, "unembed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            engine.generate([some_ids(n, 8) for n in range(9)])
    leaves_nothing(engine)
    assert len(engine.generate([some_ids(0, 8)])) == 1


def test_rows_without_an_id_left_fail_alone(model: GPT) -> None:
    engine = engine_of(model)
    everything = tuple(range(300))
    bad = engine.scheduler.submit(Request(some_ids(0, 8), Sampling(forbidden=everything)))
    good = engine.scheduler.submit(engine.request(some_ids(1, 8), max_tokens=3, forbidden=[0]))
    events = run(engine)
    assert bad.error is not None
    assert len(ids_of(events[good.number, 0])) == 3
    leaves_nothing(engine)


def test_events_join_to_the_completion(model: GPT) -> None:
    """n = 4, with stop strings: text, ids and log-probabilities of the events are those of `generate`."""
    engine, prompt = engine_of(model), some_ids(0, 12)
    pieces = defaultdict(list)
    for piece in engine.stream_samples([prompt], 4, max_tokens=12, stop=["e"], raw_log_probs=True):
        pieces[piece.sample_index].append(piece)
    for completion in engine.generate([prompt], 4, max_tokens=12, stop=["e"], raw_log_probs=True):
        found = pieces[completion.sample_index]
        assert "".join(piece.text for piece in found) == completion.text
        assert [int(token) for piece in found for token in piece.ids] == completion.ids.tolist()
        for name in ("log_probs", "raw_log_probs"):
            joined = np.concatenate([getattr(piece, name) for piece in found])
            np.testing.assert_allclose(joined, getattr(completion, name), atol=1e-5)
        assert [piece.reason for piece in found] == [None] * (len(found) - 1) + [completion.reason]
    leaves_nothing(engine)


def test_streams_that_are_left_free_their_pages(model: GPT) -> None:
    engine = engine_of(model)
    for stream in (engine.stream("Return", forbidden=[0]), engine.stream_samples(["Return"], 3)):
        next(stream)
        stream.close()
        leaves_nothing(engine)
    engine.stream("never read")
    leaves_nothing(engine)


def test_calls_inside_a_stream_share_the_batch_and_keep_their_results_apart(model: GPT) -> None:
    engine, prompts = engine_of(model), [some_ids(n, 12) for n in range(3)]
    expected = ["".join(engine.stream(prompts[0], max_tokens=20, forbidden=[0]))]
    expected += [c.text for c in engine.generate(prompts[1:], max_tokens=6, first_stream=1, forbidden=[0])]
    found, text = [], ""
    for piece in engine.stream(prompts[0], max_tokens=20, forbidden=[0]):
        text += piece
        found = found or [c.text for c in engine.generate(prompts[1:], max_tokens=6, first_stream=1, forbidden=[0])]
    assert [text, *found] == expected
    leaves_nothing(engine)


def test_stop_ids_end_a_sample_and_are_left_out_of_its_text(model: GPT) -> None:
    engine, tok = engine_of(model), tiny_tokenizer()
    chosen = [20, 21, 22]
    found = engine.generate([some_ids(0, 8)], n=30, allowed=chosen, stop_ids=[21], max_tokens=6)
    assert {completion.reason for completion in found} == {"stop", "length"}
    for completion in found:
        stopped = completion.reason == "stop"
        assert (completion.ids[-1] == 21) == stopped
        assert 21 not in completion.ids[:-1]
        assert completion.text == tok.decode(completion.ids[: len(completion.ids) - stopped])
    long = engine.generate([some_ids(0, 8)], n=30, allowed=chosen, stop_ids=[21], max_tokens=6, min_tokens=4)
    assert min(len(completion.ids) for completion in long) == 5


def test_log_probabilities_of_prompts_and_alternatives(model: GPT) -> None:
    engine = engine_of(model, step_tokens=16)
    prompts = [some_ids(0, 40), some_ids(0, 40)]
    found = engine.generate(prompts, n=2, max_tokens=5, prompt_log_probs=True, raw_log_probs=True, top_log_probs=3)
    for completion in found:
        assert completion.prompt_log_probs is not None
        assert np.isnan(completion.prompt_log_probs[0])
        np.testing.assert_allclose(completion.prompt_log_probs[1:], raw_log_probs(model, prompts[0], 1), atol=1e-4)
        whole = np.concatenate([prompts[0], completion.ids])
        np.testing.assert_allclose(completion.raw_log_probs, raw_log_probs(model, whole, 40), atol=1e-4)
        assert [len(top.ids) for top in completion.top] == [3] * len(completion.ids)
        for token, raw, top in zip(completion.ids, completion.raw_log_probs, completion.top, strict=True):
            assert all(np.diff(top.log_probs) <= 0)
            assert raw <= top.log_probs[0] + 1e-6
            if token in top.ids:
                assert raw == pytest.approx(top.log_probs[top.ids.tolist().index(token)], abs=1e-6)
    assert found[0].usage == (40, 0, len(found[0].ids))
    (without,) = engine.generate(prompts[:1], max_tokens=5)
    assert without.prompt_log_probs is None
    assert not len(without.raw_log_probs)
    leaves_nothing(engine)


def test_scores_are_those_of_the_whole_text(model: GPT) -> None:
    engine = engine_of(model, step_tokens=16)
    prompts = [some_ids(0, 33)] * 3 + [some_ids(1, 20)]
    continuations = [some_ids(2, 1), some_ids(3, 7), some_ids(4, 63), some_ids(5, 4)]
    for prompt, continuation, found in zip(prompts, continuations, engine.score(prompts, continuations), strict=True):
        expected = raw_log_probs(model, np.concatenate([prompt, continuation]), len(prompt))
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert engine.scheduler.counters.prefilled < 33 + 1 + 33 + 7 + 33 + 63 + 24  # the common prompt once
    with pytest.raises(ContextOverflow):
        engine.score([some_ids(0, 90)], [some_ids(1, 7)])
    with pytest.raises(InvalidArgument, match="2 prompts and 1 continuations"):
        engine.score(prompts[:2], continuations[:1])
    leaves_nothing(engine)


def test_padding_of_a_rounded_up_vocabulary_is_never_drawn(model: GPT) -> None:
    padded = tiny_model(padding=84)
    engine = engine_of(padded)
    handle = engine.scheduler.submit(Request(some_ids(0, 8), Sampling(temperature=30.0), n=40, max_tokens=8))
    drawn = {token for events in run(engine).values() for token in ids_of(events)}
    assert max(drawn) < tiny_tokenizer().vocab_size
    assert len(drawn) > 100
    assert handle.error is None
    assert len(engine.score([some_ids(0, 8)], [some_ids(1, 3)])[0]) == 3
    np.testing.assert_allclose(
        engine.score([some_ids(0, 8)], [some_ids(1, 3)])[0],
        raw_log_probs(padded, np.concatenate([some_ids(0, 8), some_ids(1, 3)]), 8),
        atol=1e-4,
    )


def test_known_prefixes_end_with_a_call_unless_they_are_kept(model: GPT) -> None:
    prompt = some_ids(0, 50)
    for keep, cached in ((False, 0), (True, 48)):
        trained = tiny_model()
        engine = Engine(trained, tiny_tokenizer(), keep_prefixes=keep)
        first, second = (engine.generate([prompt], max_tokens=2, temperature=0)[0] for _ in range(2))
        assert [first.usage.cached_tokens, second.usage.cached_tokens] == [0, cached]
        for target, source in zip(trained.parameters(), tiny_model(1).parameters(), strict=True):
            target.detach().numpy()[...] = source.detach().numpy()  # no version is raised
        (third,) = engine.generate([prompt], max_tokens=2, temperature=0)
        (expected,) = Engine(tiny_model(1), tiny_tokenizer()).generate([prompt], max_tokens=2, temperature=0)
        assert third.usage.cached_tokens == 0
        assert third.ids.tolist() == expected.ids.tolist()
        np.testing.assert_allclose(third.log_probs, expected.log_probs, atol=1e-5)


def test_pages_of_a_stream_from_before_training_are_not_used_after_it() -> None:
    trained, prompt = tiny_model(), some_ids(0, 50)
    engine = engine_of(trained, step_tokens=20)
    stream = engine.stream(prompt, forbidden=[0])
    run = iter(stream)
    next(run)
    with torch.no_grad():
        for target, source in zip(trained.parameters(), tiny_model(1).parameters(), strict=True):
            target.copy_(source)
    (found,) = engine.generate([prompt], max_tokens=3, temperature=0)
    (expected,) = Engine(tiny_model(1), tiny_tokenizer()).generate([prompt], max_tokens=3, temperature=0)
    assert found.usage.cached_tokens == 0
    np.testing.assert_allclose(found.log_probs, expected.log_probs, atol=1e-5)


class Script:
    """A constraint for tests: at each place either one forced id or a set to choose from; may fail at a place."""

    def __init__(self, places: Sequence[int | set[int]], fails_at: int = -1, taken: tuple[int, ...] = ()) -> None:
        self.places, self.fails_at, self.taken = list(places), fails_at, list(taken)

    @property
    def complete(self) -> bool:
        return self.finished

    @property
    def finished(self) -> bool:
        return len(self.taken) == len(self.places)

    def mask(self) -> NDArray[np.uint32]:
        words = np.zeros(10, dtype=np.uint32)
        place = self.places[len(self.taken)]
        for token in {place} if isinstance(place, int) else place:
            words[token // 32] |= np.uint32(1 << token % 32)
        return words

    @property
    def thoughts(self) -> None:
        return None

    @property
    def reserved_tokens(self) -> int:
        return 0

    def forced(self) -> NDArray[np.uint32]:
        found = []
        for place in self.places[len(self.taken) :]:
            if not isinstance(place, int):
                break
            found.append(place)
        return np.array(found, dtype=np.uint32)

    def advance(self, token: int) -> None:
        if len(self.taken) == self.fails_at:
            raise RuntimeError("no such rule")
        place = self.places[len(self.taken)]
        assert token == place if isinstance(place, int) else token in place
        self.taken.append(token)

    def fork(self) -> Script:
        return Script(self.places, self.fails_at, tuple(self.taken))

    def rewind(self, tokens: int) -> None:
        del self.taken[len(self.taken) - tokens :]


def test_masks_are_computed_while_the_model_computes(model: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads wait for the model's step, and the step for them: one after the other would never end."""
    places = [20, {30, 31}, {32, 33}, {34, 35}]
    calls, met = 0, []
    in_model, in_mask = threading.Event(), threading.Event()
    run = scheduler.run_step

    def step(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:  # no sample runs in the first step, which computes the prompt
            met.append(in_mask.wait(20))
            in_model.set()
        return run(*arguments)

    class Slow(Script):
        def mask(self) -> NDArray[np.uint32]:
            if threading.current_thread() is not threading.main_thread():
                in_mask.set()
                met.append(in_model.wait(20))
            return super().mask()

        def fork(self) -> Slow:
            return Slow(self.places, self.fails_at, tuple(self.taken))

    monkeypatch.setattr(scheduler, "run_step", step)
    found = engine_of(model, mask_threads=2).generate([some_ids(0, 8)], n=2, constraint=Slow(places), max_tokens=9)
    assert [one.reason for one in found] == ["constraint"] * 2
    assert len(met) > 2
    assert all(met)
    monkeypatch.undo()
    later = engine_of(model).generate([some_ids(0, 8)], n=2, constraint=Script(places), max_tokens=9)
    assert [one.ids.tolist() for one in later] == [one.ids.tolist() for one in found]


def test_threads_for_masks_are_a_limit_and_by_default_those_of_the_device() -> None:
    cpu, other = torch.device("cpu"), torch.device("meta")
    found = [
        MasksAhead.of(limits, device)._threads
        for limits in (Limits(), Limits(mask_threads=5))
        for device in (cpu, other)
    ]
    assert found == [0, 2, 5, 5]
    with pytest.raises(InvalidArgument):
        Limits(mask_threads=-1)


def test_a_mask_that_fails_ahead_ends_its_own_request_alone(model: GPT) -> None:
    class Broken(Script):
        def mask(self) -> NDArray[np.uint32]:
            if len(self.taken) == 2:
                raise RuntimeError("no mask")
            return super().mask()

        def fork(self) -> Broken:
            return Broken(self.places, self.fails_at, tuple(self.taken))

    engine = engine_of(model, mask_threads=1)
    handles = [
        engine.scheduler.submit(engine.request(some_ids(number, 8), constraint=made, max_tokens=9))
        for number, made in enumerate([Broken([{30, 31}] * 5), Script([{30, 31}] * 5)])
    ]
    while engine.scheduler.busy:
        engine.scheduler.step()
    assert "no mask" in str(handles[0].error)
    assert handles[1].error is None


def test_constraints_mask_force_and_finish(model: GPT) -> None:
    engine = engine_of(model)
    places = [20, 21, {30, 31, 32}, 22, *range(40, 75), {33, 34}]
    found = engine.generate([some_ids(0, 8)], n=6, constraint=Script(places), max_tokens=60, raw_log_probs=True)
    for completion in found:
        assert completion.reason == "constraint"
        assert not completion.ended
        for token, place in zip(completion.ids.tolist(), places, strict=True):
            assert token == place if isinstance(place, int) else token in place
        forced = [isinstance(place, int) for place in places]
        assert (completion.log_probs[forced] == 0).all()
        assert np.isnan(completion.raw_log_probs).tolist() == forced
    assert len({tuple(completion.ids) for completion in found}) > 1
    counters = engine.scheduler.counters
    assert (counters.decoded, counters.forced, counters.prefilled) == (6 * 2, 6 * 38, 8)
    (cut,) = engine.generate([some_ids(0, 8)], constraint=Script(places), max_tokens=9)
    assert (len(cut.ids), cut.reason) == (9, "length")
    (whole,) = engine.generate([some_ids(0, 8)], constraint=Script([20, 21]), max_tokens=9)
    assert (whole.ids.tolist(), whole.reason) == ([20, 21], "constraint")
    (stopped,) = engine.generate([some_ids(0, 8)], constraint=Script(places), stop=[tiny_tokenizer().decode([41, 42])])
    assert stopped.reason == "stop"
    assert stopped.ids.tolist()[-1] == 42
    leaves_nothing(engine)


def test_a_constraint_that_fails_ends_its_request_alone(model: GPT) -> None:
    for place in (0, 2, 3):
        engine = engine_of(model)
        bad = engine.scheduler.submit(
            engine.request(some_ids(0, 8), n=3, constraint=Script([20, 21, {30, 31}, 22, {33}], place))
        )
        good = engine.scheduler.submit(engine.request(some_ids(1, 8), max_tokens=5, forbidden=[0]))
        events = run(engine)
        assert isinstance(bad.error, EngineError)
        assert "no such rule" in str(bad.error)
        assert len(ids_of(events[good.number, 0])) == 5
        leaves_nothing(engine)
    with pytest.raises(InvalidArgument, match="constraint is of type str"):
        engine.generate(["a"], constraint="json")  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_results_are_right_and_nothing_is_left(
    model: GPT, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random requests, cancellations and failures of the model, with few pages and small steps."""
    dice = random.Random(seed)
    kept = bool(seed % 2)
    engine = Engine(
        model, tiny_tokenizer(), kv_bytes=dice.choice([9, 14, 30]) * PAGE_BYTES, keep_prefixes=kept,
        limits=Limits(rows=dice.choice([2, 5, 12]), step_tokens=dice.choice([8, 24, 100]), waiting=12),
    )  # fmt: skip
    reference = engine_of(model)
    step = model.step

    def may_fail(*arguments: torch.Tensor) -> torch.Tensor:
        if dice.random() < 0.015:
            raise RuntimeError("a worker died")
        return step(*arguments)

    def request() -> Request:
        common = some_ids(dice.randrange(2), 32)
        ids = np.concatenate([common[: dice.randrange(33)], some_ids(dice.randrange(5), dice.randrange(1, 40))])
        constraint = Script([{20, 21}, 22, {23, 24, 25}, 26, {27, 28}]) if dice.random() < 0.2 else None
        return engine.request(
            ids, dice.randrange(1, 5), max_tokens=dice.randrange(1, 24), stream=dice.randrange(9),
            scope=dice.choice("ab"), seed=dice.randrange(3), temperature=dice.choice([0.0, 0.7, 1.0]),
            constraint=constraint, stop=["e"] if dice.random() < 0.3 else [],
        )  # fmt: skip

    open_: list[Handle] = []
    events: Samples = defaultdict(list)
    handles: dict[int, Handle] = {}
    with monkeypatch.context() as broken:
        broken.setattr(model, "step", may_fail)
        for turn in range(250):
            if turn < 150 and dice.random() < 0.4:
                try:
                    handle = engine.scheduler.submit(request())
                except QueueFull:
                    continue
                handles[handle.number] = handle
                open_.append(handle)
            if open_ and dice.random() < 0.05:
                engine.scheduler.cancel(open_.pop(dice.randrange(len(open_))))
            for event in engine.scheduler.step():
                events[event.handle.number, event.sample].append(event)
            engine.memory.pool.check()
        for _ in range(3000):
            if not engine.scheduler.busy:
                break
            for event in engine.scheduler.step():
                events[event.handle.number, event.sample].append(event)
    leaves_nothing(engine)
    outcomes = Counter()
    for number, handle in handles.items():
        assert handle.done
        outcomes["cancelled" if handle.cancelled else "failed" if handle.error else "finished"] += 1
        if handle.cancelled or handle.error:
            continue
        alone = reference.scheduler.submit(handle.request)
        for (_, sample), expected in run(reference).items():
            assert ids_of(events[number, sample]) == ids_of(expected), (handle, sample)
            assert "".join(e.text for e in events[number, sample]) == "".join(e.text for e in expected)
            assert events[number, sample][-1].finished == expected[-1].finished
        assert alone.done
    assert outcomes["finished"] > 10
    assert outcomes["failed"]
