"""SIGTERM ends a run with 75 wherever it comes; no signal is lost."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.config import OptimConfig  # noqa: E402
from stategpt.train import loop  # noqa: E402
from stategpt.train.interruption import SignalGuard, Termination  # noqa: E402


def test_sigterm_ends_work_outside_of_loops_with_75() -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        mine = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as ended, Termination():
            os.kill(os.getpid(), signal.SIGTERM)
        assert ended.value.code == 75
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_whose_exception_was_lost_ends_the_next_check() -> None:
    with Termination() as termination:
        termination.check()
        with contextlib.suppress(SystemExit):  # as the interpreter does in a destructor
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit) as ended:
            termination.check()
    assert ended.value.code == 75


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_second_signal_ends_a_loop_at_once_as_its_kind_does(
    number: signal.Signals, error: type[BaseException]
) -> None:
    with SignalGuard() as interruption:
        os.kill(os.getpid(), number)
        assert interruption.requested == number
        with pytest.raises(error):
            os.kill(os.getpid(), number)


def test_other_threads_keep_the_handlers_of_the_process() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with Termination() as termination:
            seen.append(signal.getsignal(signal.SIGTERM))
            termination.check()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


class OneStep:
    """The shortest task: one step on one weight."""

    name, steps, loss_unit = "one", 1, "loss_nats_per_token"

    def __init__(self, model: Any) -> None:
        self.model = model

    def updates(self, step: int) -> list[list[int]]:
        return [[step]]

    def weight(self, batch: int) -> float:
        return 1.0

    def tokens(self, batch: int) -> int:
        return 1

    def loss(self, batch: int) -> loop.Loss:
        return loop.Loss(self.model(torch.ones(1, 1)).sum())

    def step_metrics(self) -> dict[str, float]:
        return {}

    def ended(self) -> str:
        return ""

    def kept(self) -> dict[str, torch.Tensor]:
        return {}


def test_a_signal_after_the_last_step_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def progress(*_: Any) -> Iterator[Callable[[int, str], None]]:
        yield lambda done, note: None
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop, "progress", progress)
    model = torch.nn.Linear(1, 1)
    settings = loop.LoopSettings(OptimConfig(learning_rate=0.1), tmp_path, "b3:cc")
    with pytest.raises(SystemExit) as ended:
        loop.fit(OneStep(model), model, settings)
    assert ended.value.code == 75
