"""What tests of several kernels share."""

from collections.abc import Iterator

import pytest


@pytest.fixture
def memory_starts_as_nan() -> Iterator[None]:
    """Workspaces and outputs come from `torch.empty`, which fills them with NaN in this mode."""
    import torch

    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
