"""Whether this machine's libraries allow exact mode: tests of it are skipped elsewhere, with the reason."""

from __future__ import annotations

from functools import cache

import pytest

SHAPES = ((192, 320), (512, 192), (48, 97), (33, 7), (1, 1), (64, 40), (40, 56), (20, 30))
"""Inputs and outputs of products in the tests."""


@cache
def why_not_exact() -> str:
    """What `NotExact` says here; empty where exact mode is possible."""
    import torch

    from stategpt.errors import NotExact
    from stategpt.model.exact import require_exact_functions
    from stategpt.ops.row_products import verified_sizes

    try:
        require_exact_functions(torch.get_num_threads())
        for inputs, outputs in SHAPES:
            verified_sizes(inputs + -inputs % 16, outputs, torch.get_num_threads())
    except NotExact as error:
        return str(error)
    return ""


def needs_exact_machine() -> pytest.MarkDecorator:
    """Skips where exact mode is refused."""
    return pytest.mark.skipif(bool(why_not_exact()), reason=f"no exact mode on this machine: {why_not_exact()}")
