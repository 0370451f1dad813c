"""Every shipped launch compiles with the oldest and the newest Triton, and its machine code obeys the rules.

The golden files hold what all of them took; of sources that did not change a sample is compiled again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stategpt.kernels._shared import aot, aot_page, gate, machine_code
from stategpt.kernels._shared.configs import read_table

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "triton_kernels"
GOLDEN = ROOT / "tests" / "golden" / "kernels_aot"
PAGE = ROOT / "docs" / "kernels-aot.md"
OLDEST = ROOT / ".make" / "triton-3.6.0" / "bin" / "python"
SAMPLE = 12

Document = dict[str, Any]
DOCUMENTS: list[Document] = aot_page.read(GOLDEN)
GOOD: Document = {"wants_wgmma": True, "wgmma": 32, "shared": 164864, "registers": 232, "warps": 8} | dict.fromkeys(
    ("stack", "loop_spills"), 0
)


def compiled(python: Path, folder: Path, only: str = "") -> Document:
    """What `aot.py` says, run by an interpreter, of the rows that the pattern finds."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [python, "-W", "ignore", KERNELS / "_shared" / "aot.py", "--out", folder, "--only", only]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.json")
    document: Document = json.loads(path.read_text())
    return document


def sample(document: Document) -> list[str]:
    """Names of rows: one of each kernel, then others, in an order that each change of the sources shuffles."""

    def order(name: str) -> str:
        return hashlib.sha256(f"{document['sources']} {name}".encode()).hexdigest()

    names = sorted(document["rows"], key=order)
    first_of = {(name.split()[0], name.split()[3]): name for name in reversed(names)}
    chosen = [name for name in names if name in first_of.values()]
    return [*chosen, *(name for name in names if name not in chosen)][: max(SAMPLE, len(chosen))]


def interpreter(which: str) -> tuple[Path, str]:
    """An interpreter, and the version of Triton that it has."""
    if which == "newest":
        pytest.importorskip("triton")
        return Path(sys.executable), importlib.metadata.version("triton")
    if not OLDEST.exists():
        pytest.skip(f"{OLDEST.relative_to(ROOT)} is missing; `make test` makes it")
    return OLDEST, OLDEST.parent.parent.name.removeprefix("triton-")


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a Triton that the golden files do not know compiles everything
@pytest.mark.parametrize("which", ["newest", "oldest"])
def test_launches_compile_to_what_the_golden_files_say(which: str, tmp_path: Path) -> None:
    python, version = interpreter(which)
    known = [document for document in DOCUMENTS if document["triton"] == version]
    if not known:
        assert not gate.problems(compiled(python, tmp_path)["rows"])
        return
    assert known[0]["sources"] == aot.source_hash(), "the kernels changed since; `make aot` compiles them all"
    names = sample(known[0])
    again = compiled(python, tmp_path, f"^({'|'.join(re.escape(name) for name in names)})$")
    assert again["triton"] == version
    assert again["rows"] == {name: row for name, row in known[0]["rows"].items() if name in names}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document["triton"])
def test_golden_rows_obey_the_rules_and_are_all_there(document: Document) -> None:
    assert document["sources"] == aot.source_hash(), "the kernels changed since; `make aot` compiles them all"
    assert not gate.problems(document["rows"])
    assert list(document["rows"]) == [name for name, _, _ in aot.all_variants()]


def test_two_versions_of_triton_are_pinned_and_the_page_shows_them() -> None:
    assert "3.6.0" in {document["triton"] for document in DOCUMENTS}
    assert len(DOCUMENTS) > 1
    assert PAGE.read_text() == aot_page.page(DOCUMENTS), "`make aot` writes the page"
    kernels = (ROOT / "docs" / "kernels.md").read_text()
    assert kernels == aot_page.with_summary(kernels, DOCUMENTS), "`make aot` writes the page's table"


def test_every_entry_of_attention_is_compiled_with_every_kernel() -> None:
    table = read_table(KERNELS / "attention" / "configs.json")
    names = list(DOCUMENTS[0]["rows"])
    for key, launches in table.entries.items():
        for kernel in launches:
            pattern = rf"^attention {key[0]} \w+ {kernel} {re.escape('/'.join(key[2:]))} "
            assert any(re.search(pattern, name) for name in names), pattern


def test_an_exception_that_nothing_needs_is_removed() -> None:
    rows = [(name, row) for document in DOCUMENTS for name, row in document["rows"].items()]
    spilling = [name for name, row in rows if row["stack"]]
    assert not gate.unused(spilling)
    assert all(len(entry.reason.split()) > 5 for entry in gate.ALLOWED)


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("attention sm_90 bf16 forward x", {"wgmma": 0}, "no wgmma"),
        ("attention sm_90 bf16 forward x", {"shared": 227 * 1024 + 1}, "shared memory"),
        ("attention sm_80 bf16 forward x", {"wants_wgmma": False}, "164864 bytes of shared memory of 101376"),
        ("attention sm_90 bf16 forward x", {"registers": 255, "warps": 16}, "255 registers x 512 threads"),
        ("attention sm_90 bf16 forward x", {"stack": 8}, "8 bytes spilled with 0 accesses in loops"),
        ("attention sm_90 bf16 forward x", {"loop_spills": 1}, "0 bytes spilled with 1 accesses in loops"),
    ],
)
def test_the_rules_find_what_they_are_there_for(name: str, change: dict[str, Any], expected: str) -> None:
    assert not gate.problems({"attention sm_90 bf16 forward x": GOOD}, ())
    (problem,) = gate.problems({name: {**GOOD, **change}}, ())
    assert expected in problem


def test_an_exception_allows_as_much_as_it_says() -> None:
    allowed = [gate.Allowed("forward 256", 40, 3, "for this test")]
    name, other = "attention sm_90 bf16 forward 256 plain", "attention sm_90 bf16 forward 64 plain"
    spilling = {**GOOD, "stack": 40, "loop_spills": 3}
    assert not gate.problems({name: spilling}, allowed)
    assert gate.problems({name: {**spilling, "stack": 48}}, allowed)
    assert gate.problems({name: {**spilling, "loop_spills": 4}}, allowed)
    assert gate.problems({other: spilling}, allowed)
    assert gate.unused([other], allowed) == ["forward 256"]


def test_instructions_and_loops_are_counted() -> None:
    code = """
        /*0000*/   STL [R1], R2 ;
.L_x_1:
        /*0010*/   HGMMA.64x64x16.F32.BF16 R24, gdesc[UR8], !UPT ;
        /*0020*/   @P0 LDL R2, [R1] ;
        /*0030*/   @!UP1 UTMALDG.2D [UR8], [UR4] ;
        /*0040*/   LDL.LU R3, [R1+0x4] ;
        /*0050*/   @P1 BRA `(.L_x_1) ;
        /*0060*/   STL [R1+0x8], R2 ;
.L_x_2:
        /*0070*/   BRA `(.L_x_2);
"""
    counted = machine_code.count(code.splitlines())
    assert {name: n for name, n in counted.items() if n} == {"wgmma": 1, "tma_loads": 1, "spills": 4, "loop_spills": 2}


def test_the_sample_has_every_kernel_and_follows_the_sources() -> None:
    names = [f"op sm_90 bf16 {kernel} {number}" for kernel in ("a", "b", "c") for number in range(50)]
    chosen = sample({"sources": "1", "rows": dict.fromkeys(names)})
    assert len(chosen) == len(set(chosen)) == SAMPLE
    assert {name.split()[3] for name in chosen} == {"a", "b", "c"}
    assert chosen != sample({"sources": "2", "rows": dict.fromkeys(names)})


def test_interpreted_kernels_are_refused() -> None:
    pytest.importorskip("triton")
    command = [sys.executable, KERNELS / "_shared" / "aot.py"]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    assert "TRITON_INTERPRET is set" in done.stderr
