"""The order in which requests get their turn: scopes by turns, a scope's requests by arrival.

A request runs at most `quota` samples while others wait, so one with a million samples does not keep them out. Of the
requests below their quota the oldest comes first: samples of one prompt run together and read its keys once.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterator

from .task import Task


class WaitingRequests:
    """Requests with samples that have not begun."""

    def __init__(self, rows: int) -> None:
        self.quota = max(1, rows // 8)
        self._by_scope: dict[str, list[Task]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Task]:
        for tasks in self._by_scope.values():
            yield from tasks

    def __contains__(self, task: Task) -> bool:
        return any(each is task for each in self._by_scope.get(task.scope, ()))

    def add(self, task: Task) -> None:
        """Enters a request at its place by age."""
        insort(self._by_scope.setdefault(task.scope, []), task, key=lambda each: each.order)
        self._count += 1

    def remove(self, task: Task) -> None:
        """Takes a request out."""
        tasks = self._by_scope[task.scope]
        tasks.remove(task)
        if not tasks:
            del self._by_scope[task.scope]
        self._count -= 1

    def in_order(self, running: Counter[str]) -> Iterator[Task]:
        """Yields the requests, those first whose scope runs least; `running` may change between two of them."""
        places = dict.fromkeys(self._by_scope, 0)
        queues = {scope: self._sorted(tasks) for scope, tasks in self._by_scope.items()}
        while places:
            scope = min(places, key=lambda each: (running[each], queues[each][places[each]].order))
            task = queues[scope][places[scope]]
            places[scope] += 1
            if places[scope] == len(queues[scope]):
                del places[scope]
            yield task

    def _sorted(self, tasks: list[Task]) -> list[Task]:
        """By age, those at their quota last."""
        if len(tasks) == 1 or all(task.running < self.quota for task in tasks):
            return list(tasks)
        return sorted(tasks, key=lambda task: (max(0, task.running - self.quota + 1), task.order))
