"""What each name of a precision computes in."""

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")

from stategpt.errors import ConfigError  # noqa: E402
from stategpt.model import autocast  # noqa: E402
from stategpt.model.precision import fastest, multiplies_bfloat16_faster  # noqa: E402


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


@pytest.mark.parametrize(
    ("vendor", "flags", "faster"),
    [
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16 amx_tile", True),
        ("GenuineIntel", "avx512f avx512_bf16", False),
        ("GenuineIntel", "avx512f", False),
        ("AuthenticAMD", "avx512f avx512_bf16 clzero", True),
        ("AuthenticAMD", "avx512f avx2", False),
    ],
)
def test_a_cpu_is_judged_by_its_instructions(vendor, flags, faster):
    assert multiplies_bfloat16_faster(f"vendor_id\t: {vendor}\nflags\t\t: fpu {flags}\n\n") is faster


def test_a_system_that_does_not_say_computes_in_float32():
    assert not multiplies_bfloat16_faster("")
