"""The names of the package: each is there, and loads what defines it at its first use."""

from __future__ import annotations

import pytest

from stategpt.generate import constraints


@pytest.mark.parametrize("name", constraints.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(constraints, name).__name__ == name
