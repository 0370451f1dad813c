"""What holds for all tests: one thread, and Triton's interpreter where there is no GPU.

One thread: their models are so small that a second one only waits for the first. In a variable, not by
`torch.set_num_threads`: it also holds for the processes that tests start, whose results are compared bit for bit with
those of this one, and costs nothing where torch is not imported. A value set outside stays.

The interpreter: `@triton.jit` reads TRITON_INTERPRET when a kernel is imported, so it must be set before any test
module is, and without importing torch to ask for a device: the device file of the first GPU answers as well.

Several workers: what takes long begins first, so that no worker is left alone with it at the end.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
if not Path("/dev/nvidia0").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Hypothesis asserts milliseconds for each example and seconds for drawing it, unless it is told not to.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker of `pytest -n`, slow tests and groups come before the others."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not (item.get_closest_marker("slow") or item.get_closest_marker("xdist_group")))


@pytest.fixture
def require_backend() -> Callable[[str], None]:
    """Skips a test whose backend is the Triton kernels where these do not take CPU tensors."""

    def require(backend: str) -> None:
        if backend == "triton":
            interpreter = pytest.importorskip("stategpt.kernels._shared.interpreter")
            if not interpreter.INTERPRETED:
                pytest.skip("kernels on CPU tensors need TRITON_INTERPRET=1")

    return require
