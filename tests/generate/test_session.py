"""Sessions: any sequence of operations gives what a fresh computation of the same text gives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="sampling needs the train extra (torch)")

from hypothesis import HealthCheck, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule  # noqa: E402

from stategpt.errors import ContextOverflow, InvalidArgument, UnknownToken  # noqa: E402
from stategpt.generate import Engine, Piece, Session  # noqa: E402
from stategpt.model import GPT, log_probs  # noqa: E402
from tiny_models import (  # noqa: E402
    CONTEXT_TOKENS,
    full_logits,
    raw_log_probs,
    some_ids,
    tiny_model,
    tiny_tokenizer,
)


@pytest.fixture(scope="module")
def model() -> GPT:
    return tiny_model()


@pytest.fixture
def engine(model: GPT) -> Engine:
    return Engine(model, tiny_tokenizer())


def leaves_nothing(engine: Engine) -> None:
    """Every page is free, and counted so."""
    engine.memory.pool.check()
    assert engine.memory.pool.used_pages == 0


def test_branches_of_a_cold_prompt_compute_it_once(engine: Engine) -> None:
    """prefilled = prompt + suffixes; the branches share the pages of the prompt."""
    prompt, suffixes = some_ids(0, 40), [some_ids(1 + branch, 3 + branch) for branch in range(8)]
    session = engine.session(prompt)
    branches = session.fork(8)
    assert engine.scheduler.counters.prefilled == 40
    for branch, suffix in zip(branches, suffixes, strict=True):
        branch.append(suffix)
    engine.sample(branches, max_tokens=4)
    counters = engine.scheduler.counters
    assert counters.prefilled == 40 + sum(map(len, suffixes))
    assert counters.decoded == 8 * 4
    assert counters.recomputed == 0
    shared = {tuple(branch.branch.sequence.pages[:2]) for branch in branches}
    assert len(shared) == 1
    for opened in (session, *branches):
        opened.close()
    leaves_nothing(engine)


def test_sessions_opened_apart_share_what_their_texts_share(engine: Engine) -> None:
    prompt = some_ids(0, 48)
    sessions = [engine.session(prompt, stream=number) for number in range(6)]
    engine.sample(sessions, max_tokens=2)
    assert engine.scheduler.counters.prefilled == 48 + 5 * 1  # each computes the last token, to draw from it
    for session in sessions:
        session.close()
    leaves_nothing(engine)


def test_scopes_share_nothing(engine: Engine) -> None:
    prompt = some_ids(0, 48)
    sessions = [engine.session(prompt, scope=scope) for scope in ("one", "two")]
    engine.sample(sessions, max_tokens=2)
    assert engine.scheduler.counters.prefilled == 2 * 48


def test_a_scope_does_not_find_what_another_has_computed(model: GPT) -> None:
    """One after the other, with prefixes kept: the same scope finds its prompt, another one does not."""
    engine = Engine(model, tiny_tokenizer(), keep_prefixes=True)
    cached = []
    for scope in ("one", "two", "two", "one"):
        handle = engine.scheduler.submit(engine.request(some_ids(0, 48), scope=scope, max_tokens=2))
        while not handle.done:
            engine.scheduler.step()
        cached.append(handle.cached_tokens)
    assert cached[:2] == [0, 0]
    assert min(cached[2:]) >= 32


def test_a_session_samples_what_a_fresh_prompt_of_its_text_gives(engine: Engine, model: GPT) -> None:
    """Greedy: after append, fork and rewind the tokens are those of the whole text."""
    text = some_ids(3, 30)
    session = engine.session(text[:10])
    session.sample(5, temperature=0)
    session.rewind(5).append(text[10:])
    (branch,) = session.fork()
    first, second = (each.sample(6, temperature=0) for each in (branch, session))
    (expected,) = Engine(model, tiny_tokenizer()).generate([text], temperature=0, max_tokens=6)
    assert first.ids.tolist() == second.ids.tolist() == expected.ids.tolist()
    np.testing.assert_allclose(first.log_probs, expected.log_probs, atol=1e-5)


def test_no_two_draws_use_the_same_numbers(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second call, a call after going back, forks and their forks: every (stream, sample, position) is new."""
    import stategpt.generate.drawing as drawing

    keys: list[tuple[int, int, int]] = []
    draw = drawing.draw

    def recorded(logits, rows, **named):  # type: ignore[no-untyped-def]
        keys.extend((row.stream, row.sample, row.position) for row in rows)
        return draw(logits, rows, **named)

    monkeypatch.setattr(drawing, "draw", recorded)
    session = engine.session(some_ids(0, 8))
    for _ in range(3):
        session.sample(3, forbidden=[0])
        session.rewind(3)
    family = [session]
    for _ in range(2):
        family += [branch for each in family for branch in each.fork(2)]
        engine.sample(family, 2, forbidden=[0])
    family += session.fork(2)  # a second fork of the same text
    engine.sample(family, 2, forbidden=[0])
    assert len(keys) == len(set(keys)) == 3 * 3 + 2 * (3 + 9 + 11)


def test_the_same_operations_with_the_same_seed_give_the_same_tokens(model: GPT) -> None:
    def tokens(seed: int, stream: int = 0) -> list[list[int]]:
        engine = Engine(model, tiny_tokenizer())
        session = engine.session(some_ids(0, 20), stream=stream)
        branches = session.fork(3)
        found = engine.sample(branches, 6, seed=seed)
        branches[1].rewind(2).append(some_ids(5, 4))
        found += engine.sample([*branches, session], 6, seed=seed)
        return [completion.ids.tolist() for completion in found]

    assert tokens(1) == tokens(1)
    assert tokens(1) != tokens(2)
    assert tokens(1) != tokens(1, stream=1)
    assert len({tuple(ids) for ids in tokens(1)[:3]}) == 3


def test_draws_do_not_depend_on_the_sessions_sampled_with(engine: Engine) -> None:
    def opened() -> list[Session]:
        return [engine.session(some_ids(number, 10 + 7 * number), stream=number) for number in range(5)]

    together = engine.sample(opened(), 8, seed=3)
    alone = [session.sample(8, seed=3) for session in opened()]
    assert [c.ids.tolist() for c in together] == [c.ids.tolist() for c in alone]


def test_a_score_is_the_log_probability_of_the_whole_text_and_changes_nothing(engine: Engine, model: GPT) -> None:
    session, continuation = engine.session(some_ids(0, 18)), some_ids(1, 9)
    for _ in range(2):
        whole = np.concatenate([session.ids, continuation])
        for tokens in (1, 9):
            expected = raw_log_probs(model, whole[: session.length + tokens], session.length)
            np.testing.assert_allclose(session.score(continuation[:tokens]), expected, atol=1e-4)
        assert session.length == len(whole) - 9
        session.sample(4)
    before = engine.scheduler.counters.copy()
    session.score(continuation)
    assert (engine.scheduler.counters - before).prefilled == 8  # the last token predicts nothing that is wanted
    session.close()
    leaves_nothing(engine)


def test_a_context_can_be_filled_and_not_exceeded(engine: Engine) -> None:
    session = engine.session(some_ids(0, CONTEXT_TOKENS - 4))
    with pytest.raises(ContextOverflow, match="92 tokens and 5 more exceed the context of 96"):
        session.append(some_ids(1, 5))
    completion = session.sample(50, forbidden=[0])
    assert (len(completion.ids), completion.reason, session.length) == (4, "length", CONTEXT_TOKENS)
    with pytest.raises(ContextOverflow, match="no token can follow"):
        session.sample(1)
    assert len(session.rewind(3).score(some_ids(2, 3))) == 3


def test_a_session_refuses_what_it_cannot_do(engine: Engine, model: GPT) -> None:
    session = engine.session("Return")
    with pytest.raises(InvalidArgument, match="tokens is 99, and the session has"):
        session.rewind(99)
    with pytest.raises(InvalidArgument, match="a session comes twice"):
        engine.sample([session, session])
    with pytest.raises(InvalidArgument, match="of another engine"):
        Engine(model, tiny_tokenizer()).sample([session])
    with pytest.raises(InvalidArgument, match="n is 0"):
        session.fork(0)
    with pytest.raises(UnknownToken, match="holds id 300"):
        session.append([300])
    with pytest.raises(InvalidArgument, match="no setting of sampling is named 'min_q'; did you mean 'min_p'"):
        session.sample(3, min_q=0.1)
    with pytest.raises(InvalidArgument, match="has no ids"):
        session.rewind(session.length).sample(3)
    session.close()
    session.close()
    for use in (session.sample, session.fork, lambda: session.append("a"), lambda: session.score("a")):
        with pytest.raises(InvalidArgument, match="the session was closed"):
            use()
    leaves_nothing(engine)


def test_a_failure_leaves_sessions_as_they_were(engine: Engine, model: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = [engine.session(some_ids(number, 20)) for number in range(3)]
    calls = itertools.count()
    step = model.step

    def failing(*arguments):  # type: ignore[no-untyped-def]
        if next(calls) == 3:
            raise RuntimeError("a worker died")
        return step(*arguments)

    monkeypatch.setattr(model, "step", failing)
    with pytest.raises(RuntimeError, match="a worker died"):
        engine.sample(sessions, 8)
    assert [session.length for session in sessions] == [20, 20, 20]
    assert not engine.scheduler.busy
    assert len(engine.sample(sessions, 8, forbidden=[0])) == 3
    assert [session.length for session in sessions] == [28, 28, 28]


def test_weights_that_change_between_calls_are_noticed(model: GPT) -> None:
    """Also without a version: a fused optimizer writes into the storage."""
    trained = tiny_model()
    engine = Engine(trained, tiny_tokenizer())
    session = engine.session(some_ids(0, 40))
    session.sample(3, temperature=0)
    session.rewind(3)
    other = tiny_model(1)
    for target, source in zip(trained.parameters(), other.parameters(), strict=True):
        target.detach().numpy()[...] = source.detach().numpy()
    found = session.sample(6, temperature=0)
    expected = Engine(other, tiny_tokenizer()).generate([some_ids(0, 40)], temperature=0, max_tokens=6)[0]
    assert found.ids.tolist() == expected.ids.tolist()
    np.testing.assert_allclose(found.log_probs, expected.log_probs, atol=1e-5)


def test_sessions_give_up_their_pages_when_there_are_no_others(model: GPT) -> None:
    """A pool for two texts, six sessions: the texts are computed again, and the tokens are the same."""
    roomy, tight = Engine(model, tiny_tokenizer()), Engine(model, tiny_tokenizer(), kv_bytes=13 * 16 * 2 * 2 * 16 * 4)

    def tokens(engine: Engine) -> list[list[int]]:
        sessions = [engine.session(some_ids(number, 60), stream=number) for number in range(6)]
        found = [session.sample(10, seed=5, forbidden=[0]) for _ in range(2) for session in sessions]
        for session in sessions:
            session.close()
        return [completion.ids.tolist() for completion in found]

    assert tight.memory.pool.pages == 13
    assert tokens(tight) == tokens(roomy)
    assert tight.scheduler.counters.recomputed > 0 == roomy.scheduler.counters.recomputed
    leaves_nothing(tight)


def test_finished_samples_of_a_batch_give_up_their_pages_too(model: GPT) -> None:
    """Four texts of four pages each at their end, three at a time, in fourteen pages."""
    roomy, tight = (
        Engine(model, tiny_tokenizer()),
        Engine(model, tiny_tokenizer(), kv_bytes=14 * 16 * 2 * 2 * 16 * 4, batch_rows=3),
    )

    def tokens(engine: Engine) -> list[list[int]]:
        sessions = [engine.session(some_ids(number, 45), stream=number) for number in range(4)]
        found = engine.sample(sessions, 19, seed=5, forbidden=list(engine.end_ids))
        again = engine.sample(sessions[:2], 5, seed=6, forbidden=list(engine.end_ids))
        for session in sessions:
            session.close()
        return [completion.ids.tolist() for completion in (*found, *again)]

    assert tight.memory.pool.pages == 14
    assert tokens(tight) == tokens(roomy)
    leaves_nothing(tight)


class SessionOperations(RuleBasedStateMachine):
    """Random operations on sessions of one engine with few pages; the texts are also kept as plain lists."""

    sessions = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.model = tiny_model(context_tokens=64)
        self.engine = Engine(self.model, tiny_tokenizer(), kv_bytes=14 * 16 * 2 * 2 * 16 * 4, batch_rows=3)
        self.open: dict[Session, list[int]] = {}

    @rule(target=sessions, seed=st.integers(0, 3), tokens=st.integers(1, 40))
    def opens(self, seed: int, tokens: int):  # type: ignore[no-untyped-def]
        session = self.engine.session(some_ids(seed, tokens))
        self.open[session] = some_ids(seed, tokens).tolist()
        return session

    @rule(session=sessions, seed=st.integers(0, 3), tokens=st.integers(1, 20))
    def appends(self, session: Session, seed: int, tokens: int) -> None:
        ids = self.open[session]
        if len(ids) + tokens <= 64:
            session.append(some_ids(seed, tokens))
            ids += some_ids(seed, tokens).tolist()

    @rule(target=sessions, session=sessions, n=st.integers(1, 3))
    def forks(self, session: Session, n: int):  # type: ignore[no-untyped-def]
        copies = session.fork(n)
        self.open |= {copy: list(self.open[session]) for copy in copies}
        return multiple(*copies)

    @rule(session=sessions, tokens=st.integers(0, 30))
    def goes_back(self, session: Session, tokens: int) -> None:
        ids = self.open[session]
        tokens = min(tokens, len(ids) - 1)
        session.rewind(tokens)
        del ids[len(ids) - tokens :]

    @rule(chosen=st.lists(sessions, min_size=1, max_size=4, unique=True), seed=st.integers(0, 9), n=st.integers(1, 20))
    def samples(self, chosen: list[Session], seed: int, n: int) -> None:
        chosen = [session for session in chosen if len(self.open[session]) < 64]
        for session, completion in zip(chosen, self.engine.sample(chosen, n, seed=seed, temperature=0.7), strict=True):
            ids = self.open[session]
            whole = [*ids, *completion.ids.tolist()]
            expected = log_probs(full_logits(self.model, whole)[len(ids) - 1 : -1], 0.7, self.engine.control.forbidden)
            chosen_ids = torch.from_numpy(completion.ids.astype(np.int64))[:, None]
            np.testing.assert_allclose(completion.log_probs, expected.gather(1, chosen_ids)[:, 0].numpy(), atol=1e-4)
            ids[:] = whole

    @rule(session=sessions, seed=st.integers(0, 3), tokens=st.integers(1, 10))
    def scores(self, session: Session, seed: int, tokens: int) -> None:
        ids, continuation = self.open[session], some_ids(seed, tokens)
        if len(ids) + tokens <= 64:
            expected = raw_log_probs(self.model, [*ids, *continuation.tolist()], len(ids))
            np.testing.assert_allclose(session.score(continuation), expected, atol=1e-4)

    @rule(session=consumes(sessions))
    def closes(self, session: Session) -> None:
        session.close()
        del self.open[session]

    @invariant()
    def texts_are_what_was_done(self) -> None:
        for session, ids in self.open.items():
            assert session.ids.tolist() == ids
        self.engine.memory.pool.check()

    def teardown(self) -> None:
        for session in self.open:
            session.close()
        leaves_nothing(self.engine)


TestSessionOperations = SessionOperations.TestCase
TestSessionOperations.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_sampled_continuation_comes_in_pieces_that_join_to_it(engine: Engine) -> None:
    """And is the one that is sampled without looking on."""
    pieces: list[Piece] = []
    told, silent = engine.session("Return the"), engine.session("Return the")
    settings = {"max_tokens": 12, "seed": 3, "raw_log_probs": True, "stop": ["zq"], "top_log_probs": 2}
    completion, other = told.sample(on_piece=pieces.append, **settings), silent.sample(**settings)
    assert len(pieces) > 3
    assert "".join(piece.text for piece in pieces) == completion.text == other.text
    for field in ("ids", "log_probs", "raw_log_probs"):
        joined = np.concatenate([getattr(piece, field) for piece in pieces])
        assert joined.tolist() == getattr(completion, field).tolist() == getattr(other, field).tolist()
    assert [len(completion.top), completion.reason] == [len(other.top), other.reason]
    assert told.ids.tolist() == silent.ids.tolist()
    told.close()
    silent.close()


def test_who_listens_can_end_a_sample_and_the_session_is_as_before(engine: Engine) -> None:
    session = engine.session("Return the")
    before = session.ids.tolist()

    def interrupted(piece: Piece) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.sample(max_tokens=8, on_piece=interrupted)
    assert session.ids.tolist() == before
    assert not engine.scheduler.busy
    session.close()
    leaves_nothing(engine)
