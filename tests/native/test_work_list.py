"""The attention work list: every visible pair in one step, and no mask only where nothing is hidden."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
import pytest

from stategpt import _native
from stategpt.errors import InvalidArgument
from stategpt.packing.layout import Layout

QUERY_FIELDS = (
    "q0",
    "far_lo",
    "far_hi",
    "near_lo",
    "far_steps",
    "far_full_lo",
    "far_full_hi",
    "near_full_lo",
    "near_full_hi",
    "steps",
)
KEY_FIELDS = ("k0", "q_lo", "full_lo", "full_hi", "steps")


def with_blanks(layout: Layout, tokens: list[int]) -> Layout:
    """`layout` with single tokens blanked: they must be segments of their own."""
    vectors = {name: getattr(layout, name).copy() for name in ("segment_start", "prefix_end", "branch_start")}
    for token in tokens:
        vectors["branch_start"][token] = token + 1
    return dataclasses.replace(layout, **vectors)


LAYOUTS = {
    "causal": Layout.packed([[60]], 60),
    "packed": Layout.packed([[7, 20, 3], [1, 25]], 31),
    "shared": Layout.shared_prefix([17, 9], [[8, 9, 3], [11, 11]], 40),
    "blank": with_blanks(Layout.packed([[5, 1, 1, 20, 1]], 30), [5, 6, 27, 28, 29]),
    "nothing seen": with_blanks(Layout.packed([[]], 9), list(range(9))),
    "empty": Layout.packed([], 9),
}
CASES = [
    (name, blocks, window) for name in LAYOUTS for blocks in [(8, 8), (16, 4), (3, 11)] for window in (None, 1, 10)
]


def visible(layout: Layout, window: int | None) -> np.ndarray:
    """bool[N, N]: query, key; the definition."""
    token = np.arange(layout.num_tokens)
    query, key = token[:, None], token[None, :]

    def of(vector: np.ndarray) -> np.ndarray:
        return vector[:, None]

    seen = ((key >= of(layout.segment_start)) & (key < of(layout.prefix_end))) | (
        (key >= of(layout.branch_start)) & (key <= query)
    )
    distance = layout.position[:, None] - layout.position[None, :]
    return seen if window is None else seen & (distance < window)


def work_list(
    layout: Layout, tiles: Literal["queries", "keys"], block_q: int = 8, block_k: int = 8, window: int | None = None
) -> np.ndarray:
    """The list as it comes."""
    vectors = (layout.segment_start, layout.prefix_end, layout.branch_start, layout.position)
    return _native.attention_work_list(*vectors, layout.row_tokens, tiles, block_q, block_k, window)


def check_order(tiles: np.ndarray, tokens: int, block: int) -> None:
    order = sorted(tiles.tolist(), key=lambda tile: (-tile[-1], tile[0]))
    assert tiles.dtype == np.int32
    assert tiles.tolist() == order
    assert sorted(tiles[:, 0].tolist()) == list(range(0, tokens, block))


@pytest.mark.parametrize(("name", "blocks", "window"), CASES)
def test_tiles_of_queries_cover_what_is_seen_and_full_steps_hide_nothing(
    name: str, blocks: tuple[int, int], window: int | None
) -> None:
    layout, (block_q, block_k) = LAYOUTS[name], blocks
    seen = visible(layout, window)
    tiles = work_list(layout, "queries", block_q, block_k, window)
    assert tiles.shape[1] == len(QUERY_FIELDS)
    check_order(tiles, layout.num_tokens, block_q)
    for row in tiles.tolist():
        tile = dict(zip(QUERY_FIELDS, row, strict=True))
        rows = seen[tile["q0"] : tile["q0"] + block_q]
        covered = np.zeros(layout.num_tokens + block_k, int)
        full = []
        for step in range(tile["steps"]):
            far = step < tile["far_steps"]
            lo = tile["far_lo"] + step * block_k if far else tile["near_lo"] + (step - tile["far_steps"]) * block_k
            hi = min(lo + block_k, tile["far_hi"]) if far else lo + block_k
            covered[lo:hi] += 1
            whole = rows[:, lo : lo + block_k]
            if hi - lo == block_k and whole.shape[1] == block_k and whole.all():
                full.append(step)
        assert (covered[: layout.num_tokens][rows.any(axis=0)] == 1).all()
        assert covered.max(initial=0) <= 1
        ranges = [(tile["far_full_lo"], tile["far_full_hi"]), (tile["near_full_lo"], tile["near_full_hi"])]
        assert full == [step for lo, hi in ranges for step in range(lo, hi)]


@pytest.mark.parametrize(("name", "blocks", "window"), CASES)
def test_tiles_of_keys_reach_from_the_first_query_to_the_last_and_full_steps_hide_nothing(
    name: str, blocks: tuple[int, int], window: int | None
) -> None:
    layout, (block_q, block_k) = LAYOUTS[name], blocks
    seen = visible(layout, window)
    tiles = work_list(layout, "keys", block_q, block_k, window)
    assert tiles.shape[1] == len(KEY_FIELDS)
    check_order(tiles, layout.num_tokens, block_k)
    for row in tiles.tolist():
        tile = dict(zip(KEY_FIELDS, row, strict=True))
        columns = seen[:, tile["k0"] : tile["k0"] + block_k]
        queries = np.flatnonzero(columns.any(axis=1))
        assert tile["steps"] == (-(-(queries[-1] + 1 - queries[0]) // block_q) if len(queries) else 0)
        assert not len(queries) or tile["q_lo"] == queries[0]

        def is_full(step: int, tile: dict[str, int] = tile, columns: np.ndarray = columns) -> bool:
            lo = tile["q_lo"] + step * block_q
            return lo + block_q <= layout.num_tokens and bool(columns[lo : lo + block_q].all())

        marked = list(range(tile["full_lo"], tile["full_hi"]))
        full = [step for step in range(tile["steps"]) if is_full(step)]
        assert set(marked) <= set(full)
        # A window leaves gaps between the branches of one prefix; there one stretch is marked.
        assert marked == full or (name == "shared" and window is not None)


def test_vectors_that_do_not_lie_side_by_side_are_read_as_they_are() -> None:
    layout = LAYOUTS["shared"]
    every_second = {
        name: np.repeat(getattr(layout, name), 2)[::2]
        for name in ("segment_start", "prefix_end", "branch_start", "position")
    }
    strided = dataclasses.replace(layout, **every_second)
    strided.validate()
    assert np.array_equal(work_list(strided, "queries"), work_list(layout, "queries"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tiles": "rows"}, 'tiles is "rows": it is "queries" or "keys"'),
        ({"block_q": 0}, "block_q is 0: a block holds 1 to 2"),
        ({"block_k": -3}, "block_k is -3: a block holds 1 to 2"),
        ({"window": 0}, "window is 0: a window holds at least 1 key"),
    ],
)
def test_an_argument_out_of_range_is_named_with_what_is_accepted(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        work_list(LAYOUTS["packed"], **{"tiles": "queries", **changes})


@pytest.mark.parametrize("tiles", ["queries", "keys"])
def test_a_layout_that_contradicts_itself_has_no_work_list(tiles: Literal["queries", "keys"]) -> None:
    layout = LAYOUTS["packed"]
    position = layout.position.copy()
    position[3] = 7
    with pytest.raises(InvalidArgument, match=r"layout: token 3 \(segment_start=0, .*visible keys"):
        work_list(dataclasses.replace(layout, position=position), tiles)


def test_vectors_must_be_as_long_as_each_other_and_whole_rows() -> None:
    zeros = np.zeros(4, np.int32)
    with pytest.raises(InvalidArgument, match=r"branch_start is int32\[3\]: .* must be int32\[4\]"):
        _native.attention_work_list(zeros, zeros, zeros[:3], zeros, 4, "queries", 8, 8, None)
    with pytest.raises(InvalidArgument, match=r"position is int32\[5\]: .* must be int32\[4\]"):
        _native.validate_attention_layout(zeros, zeros, zeros, np.zeros(5, np.int32), 4)
    for row_tokens in (0, 3):
        with pytest.raises(InvalidArgument, match=f"row_tokens is {row_tokens}: .*4 tokens a whole number of rows"):
            _native.validate_attention_layout(zeros, zeros, zeros, zeros, row_tokens)


def test_the_kernels_and_torch_know_the_lists_widths() -> None:
    tiles = pytest.importorskip("stategpt.kernels._shared.tiles")
    assert (len(QUERY_FIELDS), len(KEY_FIELDS)) == (tiles.QUERY_TILE_FIELDS, tiles.KEY_TILE_FIELDS)
