"""Who runs: slots for samples and pages for their keys, given in order and taken back from the youngest.

A request is waiting, or its prompt is being computed, or its samples run; what was preempted comes back before anything
new starts. A request that finds no pages keeps those behind it out, so a long prompt cannot starve.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterator

import numpy as np

from stategpt.errors import OutOfPages

from .branch import Branch
from .forward import Work
from .kv_memory import KVMemory
from .pages import PAGE_TOKENS
from .request import NO_IDS, Counters, Limits
from .row import Row
from .task import Task
from .waiting import WaitingRequests


class Admission:
    """The running samples and prompts of a scheduler, and what waits."""

    def __init__(self, memory: KVMemory, limits: Limits, counters: Counters) -> None:
        self.memory, self.limits, self.counters = memory, limits, counters
        self.waiting = WaitingRequests(limits.rows)
        """Requests with samples that have not begun and whose prompt is not being computed."""
        self.prefilling: list[Task] = []
        """Requests whose prompt is being computed, the oldest first."""
        self.rows: list[Row] = []
        """Running samples."""
        self.paused: list[Row] = []
        """Preempted samples, the oldest first."""
        self.impossible: list[tuple[Task, OutOfPages]] = []
        """Requests that find no pages although nothing else has any."""
        self._in_scope: Counter[str] = Counter()

    @property
    def empty(self) -> bool:
        """Whether nothing runs or waits."""
        return not (self.rows or self.prefilling or self.paused or len(self.waiting))

    @property
    def _idle(self) -> bool:
        return not (self.rows or self.prefilling)

    def free_slots(self) -> int:
        """Samples that may still start; a prompt that is being computed has slots for its own."""
        return self.limits.rows - len(self.rows) - sum(task.claim for task in self.prefilling)

    def admit(self) -> list[Row]:
        """Gives free slots away. -> samples that start from a prompt that is computed already."""
        started: list[Row] = []
        if not self._resume():
            return started
        progress = True
        while progress and (free := self.free_slots()) > 0 and len(self.waiting):
            progress = False
            for task in self.waiting.in_order(self._in_scope):
                count = max(1, min(task.left, free, self.waiting.quota - task.running))
                if task.stem is not None:
                    started += self.start(task, count)
                elif self._waits_for_another(task):
                    continue
                elif not self._open(task, count):
                    return started
                progress = True
                free -= count
                if free <= 0:
                    break
        return started

    def start(self, task: Task, count: int) -> list[Row]:
        """Begins `count` samples of a request whose prompt is computed."""
        rows = [task.start() for _ in range(count)]
        self.rows += rows
        self._in_scope[task.scope] += count
        if task in self.waiting and not task.left:
            self.waiting.remove(task)
        return rows

    def computed(self, task: Task) -> list[Row]:
        """Takes a request whose prompt is now computed. -> the samples that start."""
        count = min(task.claim, task.left)
        self._leave_prefilling(task)
        rows = self.start(task, count)
        if task.left:
            self.waiting.add(task)
        return rows

    def finish(self, rows: list[Row]) -> None:
        """Takes finished samples out; their pages are the caller's matter."""
        gone = set(map(id, rows))
        self.rows = [row for row in self.rows if id(row) not in gone]
        for row in rows:
            self._give_slots(row.task, 1)
            row.task.running -= 1

    def remove(self, task: Task) -> None:
        """Takes a request out, wherever it is, and gives up its pages."""
        if task in self.waiting:
            self.waiting.remove(task)
        if task in self.prefilling:
            self._leave_prefilling(task)
        for row in [*self.rows, *self.paused]:
            if row.task is task:
                row.branch.close()
        self._give_slots(task, sum(row.task is task for row in self.rows))
        self.rows = [row for row in self.rows if row.task is not task]
        self.paused = [row for row in self.paused if row.task is not task]
        task.close_stem()

    def untold_tokens(self, task: Task) -> int:
        """Tokens of a request's running samples that are in no event."""
        rows = (row for row in (*self.rows, *self.paused) if row.task is task)
        return sum(len(row.log_probs) - row.shown for row in rows)

    def _give_slots(self, task: Task, count: int) -> None:
        self._in_scope[task.scope] -= count
        if self._in_scope[task.scope] <= 0:
            del self._in_scope[task.scope]

    def _leave_prefilling(self, task: Task) -> None:
        self.prefilling.remove(task)
        self._give_slots(task, task.claim)
        task.claim = 0

    def work(self) -> list[tuple[Work, Row | Task]]:
        """What the next step computes: a token of each sample, then parts of prompts within the budget."""
        short: list[tuple[Work, Row | Task]] = []
        long: list[tuple[int, int, Branch, Row | Task]] = []
        tokens, speculate = 0, self.limits.speculate
        for row in self.rows:
            branch = row.branch
            if branch.hidden_W is not None:
                continue  # it has just started: the first draw needs nothing computed
            pending = branch.pending
            if pending <= PAGE_TOKENS:
                guessed = NO_IDS
                if speculate:
                    guessed = row.guess(min(speculate, self.limits.step_tokens - tokens - pending))
                short.append((Work(branch, pending, guessed), row))
                tokens += pending + len(guessed)
            else:
                long.append((row.task.order, pending, branch, row))
        for task in self.prefilling:
            assert task.stem is not None  # it has one as long as it is in this list
            if pending := task.stem.pending:
                long.append((task.order, pending, task.stem, task))
        if long:
            short += _divided(long, max(self.limits.step_tokens - tokens, PAGE_TOKENS))
        return short

    def preempt(self) -> Row | Task | None:
        """Takes the pages of the youngest sample, or of the youngest prompt whose samples do not run.

        -> whose; None where only one is left, which must not lose them.
        """
        row = max(self.rows, key=_age, default=None)
        stems = [*self.prefilling, *(task for task in self.waiting if task.stem is not None)]
        stem = max(stems, key=lambda task: task.order, default=None)
        if len(self.rows) + len(stems) < 2:
            return None
        order = -1 if stem is None else stem.order
        # Of one request the samples first: they share most of the prompt's pages. The last one needs them all.
        if row is not None and row.task.order >= order and (row.task.order > order or len(self.rows) > 1):
            self._pause(row)
            return row
        assert stem is not None  # one of the two is
        self._put_back(stem)
        return stem

    def _pause(self, row: Row) -> None:
        row.branch.release()
        self.rows.remove(row)
        self._give_slots(row.task, 1)
        insort(self.paused, row, key=_age)
        self.counters.preempted += 1

    def _put_back(self, task: Task) -> None:
        """Gives up a prompt's pages; it will be computed again."""
        stem = task.stem
        assert stem is not None  # the caller looked
        stem.release()
        task.kept_counts = stem.accounted, stem.computed
        task.close_stem()
        if task in self.prefilling:
            self._leave_prefilling(task)
            self.waiting.add(task)
        self.counters.preempted += 1

    def _resume(self) -> bool:
        """Brings preempted samples back while there is room. -> whether none is left."""
        while self.paused:
            row = self.paused[0]
            if self.free_slots() <= 0:
                return False
            branch = row.branch
            known = self.memory.index.open(branch.ids(), row.task.scope) if self._shares(row.task) else None
            if known is not None:
                branch.sequence.close()
                branch.sequence = known
            try:
                enough = self._reserve(branch)
            except OutOfPages as error:
                self.impossible.append((row.task, error))
                enough = False
            if not enough:
                branch.release()
                return False
            self.paused.pop(0)
            self.rows.append(row)
            self._in_scope[row.task.scope] += 1
        return True

    def _open(self, task: Task, claim: int) -> bool:
        """Finds what is known of a request's prompt and reserves pages for the rest. -> whether there are enough."""
        stem = self._known(task)
        stem.accounted = max(stem.accounted, task.kept_counts[0])
        stem.computed = max(stem.computed, task.kept_counts[1])
        try:
            enough = self._reserve(stem)
        except OutOfPages as error:
            self.impossible.append((task, error))
            enough = False
        if not enough:
            stem.close()
            return False
        if not task.saw_prompt:
            task.saw_prompt = True
            task.handle.cached_tokens = stem.sequence.length
            self.counters.reused += stem.sequence.length
        task.stem = stem
        self.waiting.remove(task)
        insort(self.prefilling, task, key=lambda each: each.order)
        task.claim = claim
        self._in_scope[task.scope] += claim
        return True

    def _known(self, task: Task) -> Branch:
        """A branch with the longest beginning of the prompt that is known: of the session, or in the index."""
        usable = len(task.prefix) if task.scored_from is None else min(task.scored_from, len(task.prefix))
        stem = None
        if task.source is not None:
            stem = task.source.fork()
            stem.prompt, stem.generated = task.prefix, []
            if stem.hidden_W is not None and stem.sequence.length < len(task.prefix):
                task.first_hidden_W = stem.hidden_W
                stem.hidden_W = None
        if self._shares(task):
            pages, length = self.memory.index.match(task.prefix[:usable], task.scope)
            if stem is None or length > stem.sequence.length:
                accounted = 0 if stem is None else stem.accounted
                computed = 0 if stem is None else stem.computed
                if stem is not None:
                    stem.close()
                stem = Branch.of_known(task.prefix, self.memory.pool, pages, length)
                stem.accounted, stem.computed = max(accounted, length), max(computed, length)
        if stem is None:
            stem = Branch.of_known(task.prefix, self.memory.pool, [], 0)
        if task.scored_from is not None and task.first_hidden_W is None:
            stem.sequence.truncate(min(stem.sequence.length, task.scored_from - 1))
        if task.samples or task.scored_from is None:
            stem.needs_last()
        return stem

    def _shares(self, task: Task) -> bool:
        """Whether known prefixes hold for it: none was forgotten since it came."""
        return task.generation == self.memory.generation

    def _reserve(self, branch: Branch) -> bool:
        """Reserves pages for what is pending, and leaves one for each running sample."""
        pool = self.memory.pool
        while True:
            try:
                branch.sequence.reserve(branch.pending)
                if self._idle or pool.free_pages >= len(self.rows):
                    return True
            except OutOfPages:
                pass
            if not self._idle:
                return False
            pinned = [task for task in self.waiting if task.stem is not None]
            if not pinned:
                raise OutOfPages(
                    f"{len(branch)} tokens need {branch.pending} more in pages, and nothing is left to be given up; "
                    "give the engine a larger kv_bytes"
                )
            self._put_back(max(pinned, key=lambda task: task.order))

    def _waits_for_another(self, task: Task) -> bool:
        """Whether another request is computing more of the same beginning than is known: it will be reused."""
        if not self._shares(task) or task.scored_from is not None or not self.prefilling:
            return False
        rivals = [other for other in self.prefilling if other.scope == task.scope and self._shares(other)]
        common = max((_common_pages(task, other) for other in rivals), default=0)
        if not common:
            return False
        held = 0 if task.source is None else task.source.sequence.length
        return common * PAGE_TOKENS > max(held, self.memory.index.match(task.prefix, task.scope)[1])


def _age(row: Row) -> tuple[int, int]:
    return row.task.order, row.sample


def _common_pages(task: Task, other: Task) -> int:
    """Whole pages with which both prompts begin; at least one token of `task` is left."""
    length = min(len(task.prefix) - 1, len(other.prefix))
    if length < PAGE_TOKENS or task.first_page != other.first_page:
        return 0
    unlike = np.flatnonzero(task.prefix[:length] != other.prefix[:length])
    return int(unlike[0] if len(unlike) else length) // PAGE_TOKENS


def _divided(long: list[tuple[int, int, Branch, Row | Task]], budget: int) -> Iterator[tuple[Work, Row | Task]]:
    """Divides a budget of tokens among prompts: equal parts, and what short ones leave goes to the longer ones.

    Of more prompts than the budget has pages the oldest are taken.
    """
    chosen = sorted(long, key=lambda entry: entry[0])[: max(1, budget // PAGE_TOKENS)]
    for number, (_, pending, branch, owner) in enumerate(sorted(chosen, key=lambda entry: entry[1])):
        tokens = min(pending, max(1, budget // (len(chosen) - number)))
        budget -= tokens
        yield Work(branch, tokens), owner
