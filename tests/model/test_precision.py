"""What each name of a precision computes in."""

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")

from stategpt.errors import ConfigError  # noqa: E402
from stategpt.model import autocast  # noqa: E402
from stategpt.model.precision import fastest  # noqa: E402


def product_dtype(precision) -> torch.dtype:
    with autocast(precision, "cpu"):
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def test_matrix_products_run_in_the_precision_named():
    assert product_dtype("float32") == torch.float32
    assert product_dtype("bfloat16") == torch.bfloat16


def test_auto_is_the_one_that_is_faster_here():
    assert product_dtype("auto") == getattr(torch, fastest("cpu"))


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="'fp8' is not one of auto, bfloat16, float32"):
        autocast("fp8", "cpu")
