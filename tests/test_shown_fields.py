"""What `help()` and `repr()` show of the public dataclasses."""

from __future__ import annotations

import dataclasses
import importlib
import pydoc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from stategpt.config import RunConfig, plan
from stategpt.shown_fields import documented, field_docs, short_repr

ROOMS = (
    "stategpt",
    "stategpt.artifacts",
    "stategpt.config",
    "stategpt.config.planner",
    "stategpt.config.toml",
    "stategpt.evaluate",
    "stategpt.generate",
    "stategpt.model",
    "stategpt.ops",
    "stategpt.pipeline",
    "stategpt.train",
)
MOST_CHARACTERS = 1000


def public_dataclasses() -> Iterator[type]:
    pytest.importorskip("torch", reason="some of them need the train extra")
    seen: set[type] = set()
    for room in ROOMS:
        module = importlib.import_module(room)
        for name in getattr(module, "__all__", [name for name in vars(module) if name[0].isupper()]):
            found = getattr(module, name)
            if dataclasses.is_dataclass(found) and isinstance(found, type) and found not in seen:
                seen.add(found)
                yield found


def test_help_explains_every_field_of_every_public_dataclass() -> None:
    checked = 0
    for section in public_dataclasses():
        if section.__module__.startswith(("stategpt.data.", "stategpt.report.")):
            continue
        told = pydoc.plain(pydoc.render_doc(section))
        names = [field.name for field in dataclasses.fields(section) if not field.name.startswith("_")]
        missing = [name for name in names if f"{name}: " not in (section.__doc__ or "")]
        assert not missing, f"{section.__module__}.{section.__name__}: {missing}"
        assert "Attributes:" in told
        checked += 1
    assert checked > 30


def test_help_of_a_class_that_is_no_dataclass_names_its_attributes() -> None:
    pytest.importorskip("torch")
    from stategpt.ops import TensorLayout

    told = pydoc.plain(pydoc.render_doc(TensorLayout))
    assert "segment_start: int32[N]" in told


@documented
@dataclass(frozen=True)
class Sample:
    """A sample.

    More of it.
    """

    values: Any
    """float32[N], what was measured; a text that is long enough to be put on a second line, which then stands further
    in."""
    note: str = ""
    """Said by people."""

    __repr__ = short_repr


def test_the_text_is_the_one_under_the_declaration() -> None:
    assert field_docs(Sample)["note"] == "Said by people."
    doc = Sample.__doc__ or ""
    assert doc.startswith("A sample.\n\nMore of it.\n\nAttributes:\n    values: float32[N], what")
    assert "\n        further in.\n    note: Said by people.\n" in doc
    assert Sample("x").__doc__ == doc


def test_a_class_whose_source_is_not_there_keeps_its_own_text() -> None:
    space: dict[str, Any] = {"documented": documented, "dataclass": dataclass}
    exec('@documented\n@dataclass\nclass Made:\n    "Just this."\n    x: int = 0\n', space)
    assert space["Made"].__doc__ == "Just this."


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.zeros((3, 4), dtype=np.float32), "float32[3, 4]"),
        ([1, 2], "[1, 2]"),
        (list(range(100_000)), "<list of 100,000>"),
        ({str(n): n for n in range(9)}, "<dict of 9>"),
        ([np.zeros(5000)], "[float64[5000]]"),
        ("a" * 5000, "..."),
    ],
)
def test_a_repr_is_short_whatever_the_fields_hold(values: Any, shown: str) -> None:
    text = repr(Sample(values, "b" * 5000))
    assert text.startswith("Sample(values=")
    assert shown in text
    assert len(text) <= 400


def test_reprs_of_the_largest_public_objects_stay_below_a_kilobyte() -> None:
    torch = pytest.importorskip("torch")
    from stategpt.config.toml import resolve
    from stategpt.generate import Completion
    from stategpt.ops import TensorLayout
    from stategpt.packing import Layout
    from stategpt.train import Loss

    ids, probabilities = np.zeros(5000, dtype=np.uint32), np.zeros(5000, dtype=np.float32)
    held = [
        RunConfig(),
        plan(RunConfig()),
        resolve(RunConfig(), {"model.depth": 9}),
        Completion(0, 1, ids, probabilities, True, "end", "word " * 5000),
        TensorLayout.of(Layout.packed([[5000]], 5000)),
        Loss(torch.zeros(5000)),
    ]
    for value in held:
        assert len(repr(value)) <= MOST_CHARACTERS, type(value)
    assert repr(held[3]).startswith("Completion(prompt_index=0, sample_index=1, ids=uint32[5000]")
