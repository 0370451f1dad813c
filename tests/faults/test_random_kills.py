"""kill -9 at random times, again and again: nothing acknowledged is lost, nothing half-written is ever seen."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROUNDS = int(os.environ.get("STATEGPT_KILL_ROUNDS", "12"))


def test_what_was_acknowledged_survives_every_kill(tmp_path: Path, publisher_in: Callable[[Path], Any]) -> None:
    publisher = publisher_in(tmp_path)
    chance = random.Random(0)
    acknowledged = 0
    for _ in range(ROUNDS):
        with subprocess.Popen(
            publisher.command(acknowledged + 1, count=0), stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            first = child.stdout.readline()  # it is publishing now
            time.sleep(chance.uniform(0, 0.03))
            child.send_signal(signal.SIGKILL)
            versions = [int(line) for line in (first + child.stdout.read()).splitlines()]
        assert versions, "the publisher ended before its first version"
        acknowledged = versions[-1]
        found = publisher.found()
        assert found.folder in (acknowledged, acknowledged + 1), found
        assert found.file is not None
        assert found.file in (acknowledged % 251, (acknowledged + 1) % 251), found
        assert set(found.log) >= set(versions), "a durable line is missing"
    publisher.publish(acknowledged + 1)
    assert publisher.found().leftovers == []
