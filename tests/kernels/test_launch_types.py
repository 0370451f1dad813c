"""What the launchers hand to Triton on a GPU is what the gate compiles ahead of time: types, constants, alignment.

A number that is 1, a stride or an address that 16 does not divide makes Triton compile another kernel than the gate
saw, in the middle of a run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="launchers need the train extra (torch)")
pytest.importorskip("triton", reason="launchers need the train extra (triton)")

from stategpt.kernels._shared.variants import Variant
from stategpt.kernels.attention import signatures as attention
from stategpt.kernels.paged_attention import signatures as paged_attention

pytestmark = pytest.mark.xdist_group("launches")

RECORDER = Path(__file__).with_name("recorded_launches.py")
Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """What `recorded_launches.py` prints."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, RECORDER]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def of(rows: list[Row], operation: str) -> list[Row]:
    return [row for row in rows if row["operation"] == operation]


def alike(row: Row, variants: Iterable[Variant]) -> list[Variant]:
    """The gate's variants of the row's kernel, architecture and type."""
    return [v for v in variants if (v.kernel, v.arch, v.dtype) == (row["kernel"], row["arch"], row["dtype"])]


def arguments_that_differ(row: Row, variant: Variant) -> list[str]:
    """Types and alignment of what is no constant, `launched / compiled`."""
    types = [
        f"{name}: {row['signature'][name]} / {kind}"
        for name, kind in variant.signature.items()
        if row["signature"][name] != kind
    ]
    unlike = sorted(set(row["aligned"]) ^ set(variant.aligned))
    return types + [f"{name}: {'' if name in row['aligned'] else 'not '}divisible by 16 / otherwise" for name in unlike]


def differences(row: Row, variant: Variant) -> list[str]:
    """All that tells the launch from what was compiled."""
    found = arguments_that_differ(row, variant)
    for name in {**row["constants"], **variant.constants}:
        launched, compiled = row["constants"].get(name), variant.constants.get(name)
        if launched != compiled:
            found.append(f"{name}: {launched} / {compiled}")
    options = [variant.warps, variant.stages, True]
    return found if row["options"] == options else [*found, f"options: {row['options']} / {options}"]


def test_every_launch_of_attention_was_compiled(rows: list[Row]) -> None:
    variants = list(attention.variants())
    for row in of(rows, "attention"):
        nearest = min((differences(row, variant) for variant in alike(row, variants)), key=len)
        assert not nearest, (row["arch"], row["dtype"], row["kernel"], row["call"])


def test_arguments_of_paged_attention_are_those_compiled_whatever_batch_table_and_group(rows: list[Row]) -> None:
    """Of its constants the gate compiles some combinations, each branch at its costliest; arguments must always fit."""
    variants = list(paged_attention.variants())
    for row in of(rows, "paged_attention"):
        whole = row["constants"].get("WHOLE")
        same = [variant for variant in alike(row, variants) if variant.constants.get("WHOLE") == whole]
        assert same
        for variant in same:
            assert not arguments_that_differ(row, variant), (row["arch"], row["dtype"], row["kernel"], row["call"])


@pytest.mark.parametrize("operation", [attention, paged_attention], ids=["attention", "paged_attention"])
def test_everything_that_the_gate_compiles_is_launched(rows: list[Row], operation: Any) -> None:
    launched = of(rows, operation.__name__.split(".")[-2])
    for variant in operation.variants():
        same = [row for row in launched if alike(row, [variant])]
        nearest = min((differences(row, variant) for row in same), key=len)
        assert not nearest, (variant.arch, variant.dtype, variant.kernel, variant.label)


def test_twenty_packings_and_lengths_take_one_kernel_each(rows: list[Row]) -> None:
    compiled = Counter((row["arch"], row["call"], row["kernel"]) for row in of(rows, "packings"))
    assert len(compiled) == 2 * (4 + 4 + 3)  # with one pass there is no backward_q
    assert set(compiled.values()) == {1}
