"""Any order of opening, appending, forking, going back, closing and evicting equals a fresh computation of the ids."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pages need the train extra (torch)")

from hypothesis import settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule  # noqa: E402

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.errors import ContextOverflow, OutOfPages  # noqa: E402
from stategpt.generate.pages import PAGE_TOKENS, PagedSequence, PagedStep, PagePool, PrefixIndex  # noqa: E402
from stategpt.generate.pages.memory import SlotPages, TransposedPages  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402

SHAPE = GPTConfig(vocab_size=7, depth=2, width=16, heads=2, kv_heads=1, head_dim=8, mlp_width=24, context_tokens=60)
torch.manual_seed(0)
MODEL = GPT(SHAPE).eval()
TEXTS = np.random.default_rng(0).integers(0, 7, (3, 100))
"""Prompts are beginnings of these, so that many begin alike."""


class Session:
    """A sequence and the ids that it should hold."""

    def __init__(self, sequence: PagedSequence, ids: list[int], scope: str) -> None:
        self.sequence, self.ids, self.scope = sequence, ids, scope


class Sessions(RuleBasedStateMachine):
    """Sessions over a pool that is too small for all of them, and an index that shares their beginnings."""

    layout: type = TransposedPages
    some = st.integers(0, 99)
    scopes = st.sampled_from(["", "key"])

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(SHAPE, pages=14, layout=self.layout)
        self.pool.memory.storage.fill_(torch.nan)  # what was never written is never seen
        self.index = PrefixIndex(self.pool, limit=8)
        self.open: list[Session] = []
        self.computed = 0

    def pick(self, which: int) -> Session:
        return self.open[which % len(self.open)]

    def shown(self) -> list[tuple[int, list[int]]]:
        return [(session.sequence.length, session.sequence.pages) for session in self.open]

    def append(self, parts: list[tuple[Session, list[int]]]) -> bool:
        """One step for several sessions, whose hidden states are those of a fresh computation; false: no room."""
        before, used, known = self.shown(), self.pool.used_pages, self.index.pages
        try:
            step = PagedStep(self.pool, [(session.sequence, len(ids)) for session, ids in parts])
        except (OutOfPages, ContextOverflow):
            assert self.shown() == before
            assert self.pool.used_pages == used - (known - self.index.pages)  # room was made, and was not enough
            return False
        stream = torch.tensor([token for _, ids in parts for token in ids])
        with torch.inference_mode():
            hidden = MODEL.step(stream, step.position_N, step)
            step.commit()
            self.computed += len(stream)
            for (session, ids), found in zip(parts, hidden.split([len(ids) for _, ids in parts]), strict=True):
                session.ids += ids
                count = len(session.ids)
                fresh = MODEL.hidden(torch.tensor(session.ids), TensorLayout.of(Layout.packed([[count]], count)))
                torch.testing.assert_close(found, fresh[-len(ids) :], rtol=1e-5, atol=1e-5)
        return True

    @rule(text=st.integers(0, 2), length=st.integers(1, 50), scope=scopes)
    def start(self, text: int, length: int, scope: str) -> None:
        ids = TEXTS[text, :length].tolist()
        sequence = self.index.open(ids, scope)
        session = Session(sequence, ids[: sequence.length], scope)
        if self.append([(session, ids[sequence.length :])]):
            self.open.append(session)
        else:
            sequence.close()

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def append_to_several(self, data: st.DataObject) -> None:
        """Several sessions in one step: some with one token, some with more."""
        count = data.draw(st.integers(1, min(4, len(self.open))))
        chosen = data.draw(st.permutations(range(len(self.open))))[:count]
        token = st.integers(0, 6)
        tokens = st.lists(token, min_size=1, max_size=1) | st.lists(token, min_size=2, max_size=20)
        self.append([(self.open[number], data.draw(tokens)) for number in chosen])

    @precondition(lambda self: self.open)
    @rule(which=some, count=st.integers(1, 3))
    def fork(self, which: int, count: int) -> None:
        session = self.pick(which)
        used = self.pool.used_pages
        self.open += [Session(session.sequence.fork(), list(session.ids), session.scope) for _ in range(count)]
        assert self.pool.used_pages == used

    @precondition(lambda self: self.open)
    @rule(which=some, tokens=st.integers(0, 40))
    def rewind(self, which: int, tokens: int) -> None:
        session = self.pick(which)
        length = max(len(session.ids) - tokens, 0)
        session.sequence.truncate(length)
        del session.ids[length:]

    @precondition(lambda self: self.open)
    @rule(which=some)
    def remember(self, which: int) -> None:
        session = self.pick(which)
        self.index.insert(session.ids, session.sequence.pages, session.scope)

    @precondition(lambda self: self.open)
    @rule(which=some)
    def close(self, which: int) -> None:
        session = self.open.pop(which % len(self.open))
        session.sequence.close()
        session.sequence.close()

    @rule(pages=st.integers(0, 4))
    def evict(self, pages: int) -> None:
        self.index.evict(pages)

    @precondition(lambda self: self.open)
    @rule(which=some, tokens=st.integers(1, 20))
    def give_up_a_step(self, which: int, tokens: int) -> None:
        """Pages are reserved, written in the first layer, and the step is dropped."""
        try:
            step = PagedStep(self.pool, [(self.pick(which).sequence, tokens)])
        except (OutOfPages, ContextOverflow):
            return
        noise = torch.full((tokens, 1, 8), torch.nan)
        step.attend(0, torch.zeros(tokens, 2, 8), noise, noise, {})

    @invariant()
    def nothing_leaks(self) -> None:
        self.pool.check()
        for session in self.open:
            assert session.sequence.length == len(session.ids)
            assert len(session.sequence.pages) >= -(-len(session.ids) // PAGE_TOKENS)

    def teardown(self) -> None:
        for session in self.open:
            session.sequence.close()
        self.index.clear()
        assert self.pool.used_pages == 0
        self.pool.check()


class SessionsInSlots(Sessions):
    """The same in the layout of a GPU."""

    layout = SlotPages


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=40, stateful_step_count=30)
TestSessionsInSlots = SessionsInSlots.TestCase
TestSessionsInSlots.settings = settings(max_examples=25, stateful_step_count=30)
