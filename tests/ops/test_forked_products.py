"""A process that was forked has no threads of the pool: native products and attention stay in its own thread there."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="the operations need the train extra (torch)")

_FORKED = """
import os, signal
import numpy as np
from stategpt import _native

draw = np.random.default_rng(0)
codes = draw.integers(-127, 128, (4096, 64)).astype(np.int8)
matrices = _native.Int8Matrices([(codes, np.ones(4096, dtype=np.float32))])
x = draw.standard_normal((4, 64), dtype=np.float32)
logits = draw.standard_normal((64, 8192), dtype=np.float32)
rows, ones = np.arange(64), np.ones(64, dtype=np.float32)

def results():
    drawn, _ = _native.draw(logits, rows, ones, np.linspace(0, 0.99, 64), rows[:2], 4)
    return matrices.multiply(x, 4).tobytes() + drawn.tobytes()

if BEFORE:
    expected = results()  # the pool's threads run now
child = os.fork()
if child == 0:
    signal.alarm(20)  # a child that waits for threads would wait forever
    found = results()
    os._exit(0 if not BEFORE or found == expected else 1)
_, status = os.waitpid(child, 0)
assert status == 0, f"the child ended with {status}"
assert not BEFORE or results() == expected
"""


@pytest.mark.parametrize("before", [True, False], ids=["pool was used", "pool is new"])
def test_a_forked_process_computes_with_its_own_thread(before):
    code = f"BEFORE = {before}\n{_FORKED}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
