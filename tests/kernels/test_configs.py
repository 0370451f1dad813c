"""The tables of launches: the most specific entry wins, and no key has two of them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from stategpt.kernels._shared.configs import MAX_ENTRIES, Launch, NoLaunch, Table, architecture, read_table

KERNELS = Path(__file__).parents[2] / "triton_kernels"
TABLES = sorted(KERNELS.glob("*/configs.json"))


def table(**launches: int) -> Table:
    """Entries of one kernel, `sm_90__64` standing for the key sm_90/*/64; the number is the block of queries."""
    keys = {tuple(part or "*" for part in key.split("__")): value for key, value in launches.items()}
    return Table(("arch", "width"), {key: {"f": Launch(value, 16, 4, 1)} for key, value in keys.items()})


def both_match(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Is there a key that both match?"""
    return all(a == b or "*" in (a, b) for a, b in zip(one, other, strict=True))


def undecided(entries: dict[tuple[str, ...], object]) -> list[str]:
    """Pairs of entries with as many stars that one key matches, but for keys that a more specific entry serves."""
    found = []
    for one, other in itertools.combinations(entries, 2):
        meet = tuple(b if a == "*" else a for a, b in zip(one, other, strict=True))
        if both_match(one, other) and one.count("*") == other.count("*") and meet not in entries:
            found.append(f"{'/'.join(one)} and {'/'.join(other)}")
    return found


def test_the_entry_with_the_fewest_stars_wins() -> None:
    found = table(__=16, sm_90__=32, sm_90__64=64)
    assert found.find(arch="sm_90", width="64")["f"].block_q == 64
    assert found.find(arch="sm_90", width="80")["f"].block_q == 32
    assert found.find(arch="sm_80", width="64")["f"].block_q == 16


def test_a_star_matches_everything_and_a_name_itself_only() -> None:
    found = table(sm_90__=32)
    assert found.find(arch="sm_90", width="anything")["f"] == Launch(32, 16, 4, 1)
    with pytest.raises(NoLaunch, match=r"no launch for sm_80/64 \(arch/width\)"):
        found.find(arch="sm_80", width="64")


def test_a_field_that_is_not_given_is_named() -> None:
    with pytest.raises(KeyError, match="width"):
        table(sm_90__=32).find(arch="sm_90")


def test_a_launch_is_read_in_the_order_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "configs.json"
    path.write_text(json.dumps({"fields": ["arch"], "entries": {"sm_90": {"f": [128, 64, 8, 2]}}}))
    launch = read_table(path).find(arch="sm_90")["f"]
    assert (launch.block_q, launch.block_k, launch.warps, launch.stages) == (128, 64, 8, 2)
    assert launch.numbers() == [128, 64, 8, 2]


@pytest.mark.parametrize(
    ("capability", "expected"), [((8, 0), "sm_80"), ((8, 9), "sm_80"), ((9, 0), "sm_90"), ((10, 0), "sm_90")]
)
def test_a_device_is_served_by_an_architecture(capability: tuple[int, int], expected: str) -> None:
    assert architecture(*capability) == expected


def test_a_chip_with_the_shared_memory_of_a_consumer_gets_small_launches() -> None:
    assert architecture(12, 0) == "sm_80"


def test_there_are_at_most_forty_entries_over_all_operations() -> None:
    assert TABLES
    assert sum(len(read_table(path).entries) for path in TABLES) <= MAX_ENTRIES


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.parent.name)
def test_no_key_has_two_equally_specific_entries(path: Path) -> None:
    assert not undecided(read_table(path).entries)


def test_equally_specific_entries_are_found() -> None:
    assert undecided(table(sm_90__=16, __64=32).entries) == ["sm_90/* and */64"]
    assert not undecided(table(sm_90__=16, __64=32, sm_90__64=64).entries)
    assert not undecided(table(sm_90__=16, sm_80__=32).entries)


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.parent.name)
def test_every_entry_has_the_parts_of_a_key_and_every_kernel(path: Path) -> None:
    found = read_table(path)
    kernels = {frozenset(launches) for launches in found.entries.values()}
    assert len(kernels) == 1, "entries differ in the kernels they name"
    assert {len(key) for key in found.entries} == {len(found.fields)}


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.parent.name)
def test_tiles_warps_and_stages_are_what_triton_takes(path: Path) -> None:
    for launches in read_table(path).entries.values():
        for launch in launches.values():
            assert all(n > 0 and n & (n - 1) == 0 for n in (launch.block_q, launch.block_k, launch.warps))
            assert launch.warps <= 8
            assert 1 <= launch.stages <= 4
