"""A scheduler that writes what it is told, step by step, and can be told to fail: for tests of the HTTP side."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stategpt.data import ChatTemplate
from stategpt.errors import ConstraintError, OutOfPages, QueueFull
from stategpt.serve.asks import Ask, Served
from tiny_models import tiny_tokenizer

LETTERS = "abcdefgh"


class Script:
    """What all schedulers of a test share: faults to come, and what happened."""

    def __init__(self) -> None:
        self.raise_in_step: list[BaseException] = []
        self.fail_next: list[Exception] = []
        self.full = False
        self.endless = False
        self.texts: list[str] = []
        self.reason = "length"
        self.may_step = threading.Event()
        self.may_step.set()
        self.may_compile = threading.Event()
        self.embedded = 0
        self.made: list[ScriptedScheduler] = []

    @property
    def running(self) -> int:
        return sum(len(each.open) for each in self.made[-1:])


class ScriptedScheduler:
    """Each sample writes the letters from its number on, one a step, up to max_tokens; or the texts of the script."""

    def __init__(self, script: Script) -> None:
        self.script, self.open = script, {}
        self.cancelled = 0
        script.made.append(self)

    @property
    def busy(self) -> bool:
        return bool(self.open)

    def submit(self, ask: Ask) -> Any:
        if self.script.full:
            raise QueueFull("4 requests wait already")
        handle = SimpleNamespace(ask=ask, written=0, cached_tokens=0, prompt_log_probs=None, untold_tokens=0)
        self.open[id(handle)] = handle
        return handle

    def cancel(self, handle: Any) -> None:
        self.cancelled += self.open.pop(id(handle), None) is not None

    def step(self) -> Sequence[Any]:
        self.script.may_step.wait(60)
        if self.script.raise_in_step:
            raise self.script.raise_in_step.pop()
        events = []
        for handle in list(self.open.values()):
            if self.script.fail_next:
                del self.open[id(handle)]
                events.append(
                    SimpleNamespace(handle=handle, sample=-1, error=self.script.fail_next.pop(), finished=None)
                )
                continue
            events += self._written(handle)
        return events

    def _written(self, handle: Any) -> list[Any]:
        if self.script.endless:  # as slow as a small model: a step that takes no time fills the server's queues
            threading.Event().wait(0.002)
        ask, first = handle.ask, handle.written
        texts = self.script.texts
        last = not self.script.endless and first + 1 == (len(texts) or ask.max_tokens)
        if last:
            del self.open[id(handle)]
        handle.written += 1
        return [
            SimpleNamespace(
                handle=handle, sample=sample, ids=np.array([first]), top=(), error=None,
                text=texts[first] if texts else LETTERS[(first + sample) % 8],
                log_probs=np.zeros(1), raw_log_probs=np.zeros(1), finished=self.script.reason if last else None,
            )
            for sample in range(ask.n)
        ]  # fmt: skip


def scripted(script: Script, name: str = "tiny") -> Served:
    """A model of the script."""
    tok = tiny_tokenizer()

    def compile(kind: str, content: Any) -> Any:
        if content == "slow":
            script.may_compile.wait(60)
        if content == "bad":
            raise ConstraintError("the pattern is bad")
        return content

    def embed(texts: Sequence[NDArray[np.uint32]]) -> NDArray[np.float32]:
        script.may_step.wait(60)
        script.embedded += len(texts)
        return np.array([[float(len(ids))] for ids in texts], dtype=np.float32)

    return Served(
        name=name, tok=tok, chat=ChatTemplate.own(tok), context_tokens=4096, begin=None,
        new_scheduler=lambda: ScriptedScheduler(script), new_request=lambda ask: ask, compile=compile, embed=embed,
        gauges=lambda scheduler: {"running": len(scheduler.open), "waiting": 0, "cancelled": scheduler.cancelled},
    )  # fmt: skip


def no_pages() -> OutOfPages:
    return OutOfPages("a prompt of 90 tokens needs 6 pages; 2 are free")
