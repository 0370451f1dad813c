"""Layouts: what each token sees, against the definition written out as a dense mask."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.errors import InvalidArgument
from stategpt.packing.layout import Layout

groups = st.lists(st.tuples(st.integers(1, 4), st.lists(st.integers(1, 4), max_size=3)), min_size=1, max_size=4)


def visible(layout: Layout) -> np.ndarray:
    """bool[N, N]: the definition, key by key."""
    seen = np.zeros((layout.num_tokens, layout.num_tokens), bool)
    for t in range(layout.num_tokens):
        seen[t, layout.segment_start[t] : layout.prefix_end[t]] = True
        seen[t, layout.branch_start[t] : t + 1] = True
    return seen


def test_packed_segments_are_causal_and_isolated_and_padding_sees_only_itself() -> None:
    layout = Layout.packed([[3, 2], [4]], row_tokens=6)
    layout.validate()
    expected = np.zeros((12, 12), bool)
    for start, length in [(0, 3), (3, 2), (5, 1), (6, 4), (10, 1), (11, 1)]:
        expected[start : start + length, start : start + length] = np.tril(np.ones((length, length), bool))
    assert (visible(layout) == expected).all()
    assert layout.position.tolist() == [0, 1, 2, 0, 1, 0, 0, 1, 2, 3, 0, 0]
    assert layout.num_rows == 2


def test_a_branch_sees_the_prefix_and_itself_and_no_other_branch() -> None:
    layout = Layout.shared_prefix([2], [[2, 1]], row_tokens=6)
    layout.validate()
    assert visible(layout).astype(int).tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]
    assert layout.position.tolist() == [0, 1, 2, 3, 2, 0]


@given(groups, st.integers(0, 3))
def test_positions_count_visible_keys_and_built_layouts_validate(rows: list, spare: int) -> None:
    row_tokens = max(prefix + sum(branches) for prefix, branches in rows) + spare
    layout = Layout.shared_prefix([prefix for prefix, _ in rows], [branches for _, branches in rows], row_tokens)
    layout.validate()
    assert (visible(layout).sum(axis=1) - 1 == layout.position).all()
    assert all(
        getattr(layout, f).dtype == np.int32 for f in ("segment_start", "prefix_end", "branch_start", "position")
    )


@given(st.lists(st.lists(st.integers(1, 5), max_size=3), min_size=1, max_size=4), st.integers(15, 17))
def test_concatenating_one_row_layouts_equals_building_the_rows_together(rows: list, row_tokens: int) -> None:
    together = Layout.packed(rows, row_tokens)
    joined = Layout.concatenate([Layout.packed([row], row_tokens) for row in rows])
    for field in dataclasses.fields(Layout):
        assert np.array_equal(getattr(together, field.name), getattr(joined, field.name))


def test_padded_is_one_segment_a_row() -> None:
    layout = Layout.padded([1, 3], row_tokens=3)
    layout.validate()
    assert layout.segment_start.tolist() == [0, 1, 2, 3, 3, 3]


@pytest.mark.parametrize(
    ("field", "token", "value", "problem"),
    [
        ("segment_start", 4, 3, "earlier row"),
        ("branch_start", 5, 6, "does not hold"),
        ("position", 2, 1, "visible keys"),
        ("segment_start", 2, 1, "does not hold"),
        ("branch_start", 1, 1, "visible keys"),
    ],
)
def test_validate_names_the_token_and_its_values(field: str, token: int, value: int, problem: str) -> None:
    layout = Layout.packed([[4], [4]], row_tokens=4)
    vector = getattr(layout, field).copy()
    vector[token] = value
    with pytest.raises(InvalidArgument, match=f"token {token} .*{problem}"):
        dataclasses.replace(layout, **{field: vector}).validate()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"segment_start": {2: 1}, "prefix_end": {2: 1}, "branch_start": {2: 1}, "position": {2: 1}},
            "inside one branch",
        ),
        ({"segment_start": {3: 0}, "prefix_end": {3: 0}, "branch_start": {3: 3}, "position": {3: 0}}, "not contiguous"),
        ({"prefix_end": {3: 3}, "branch_start": {3: 3}, "position": {3: 1}, "segment_start": {3: 2}}, None),
        ({"prefix_end": {5: 5}, "branch_start": {5: 5}, "position": {5: 1}}, None),
        ({"prefix_end": {4: 4, 5: 5}, "branch_start": {4: 4, 5: 5}, "segment_start": {4: 4, 5: 4}}, None),
    ],
)
def test_validate_accepts_forks_and_refuses_broken_structure(changes: dict, problem: str | None) -> None:
    layout = Layout.packed([[2, 2, 2]], row_tokens=6)
    edited = {}
    for field, entries in changes.items():
        edited[field] = getattr(layout, field).copy()
        for token, value in entries.items():
            edited[field][token] = value
    changed = dataclasses.replace(layout, **edited)
    if problem is None:
        changed.validate()
    else:
        with pytest.raises(InvalidArgument, match=problem):
            changed.validate()


def test_a_prefix_must_be_the_trunk_of_its_segment() -> None:
    layout = Layout.shared_prefix([1], [[1, 1, 1]], row_tokens=4)
    prefix = layout.prefix_end.copy()
    position = layout.position.copy()
    prefix[3], position[3] = 2, 2  # claims the first branch as its prefix
    with pytest.raises(InvalidArgument, match=r"token 3 .*prefix is not the start"):
        dataclasses.replace(layout, prefix_end=prefix, position=position).validate()


def test_a_blank_token_is_a_segment_of_its_own_that_sees_nothing_and_is_seen_by_nobody() -> None:
    layout = Layout.packed([[2], [3]], row_tokens=4)
    branch = layout.branch_start.copy()
    branch[[2, 7]] = 3, 8
    blanked = dataclasses.replace(layout, branch_start=branch)
    blanked.validate()
    assert not visible(blanked)[[2, 7]].any()
    assert not visible(blanked)[:, [2, 7]].any()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"branch_start": {1: 2}, "position": {1: 0}}, "does not hold"),  # inside a segment
        ({"branch_start": {2: 3}, "position": {2: 1}}, "does not hold"),
        ({"branch_start": {2: 3}, "segment_start": {3: 2}, "prefix_end": {3: 2}}, "prefix is not the start"),
        ({"branch_start": {2: 3}, "segment_start": {3: 2}, "position": {3: 1}}, "prefix is not the start"),
        ({"branch_start": {2: 3, 3: 5}}, "does not hold"),
    ],
)
def test_a_token_that_is_half_blank_or_belongs_to_a_blank_one_is_refused(changes: dict, problem: str) -> None:
    layout = Layout.packed([[2, 1, 1]], row_tokens=4)
    edited = {}
    for field, entries in changes.items():
        edited[field] = getattr(layout, field).copy()
        for token, value in entries.items():
            edited[field][token] = value
    with pytest.raises(InvalidArgument, match=problem):
        dataclasses.replace(layout, **edited).validate()


def test_the_first_of_several_wrong_tokens_is_named_with_its_values() -> None:
    layout = Layout.packed([[4], [4]], row_tokens=4)
    position, segment = layout.position.copy(), layout.segment_start.copy()
    position[2], segment[5] = 9, -(2**31)
    values = r"token 2 \(segment_start=0, prefix_end=0, branch_start=0, position=9, row_tokens=4\): position is not"
    with pytest.raises(InvalidArgument, match=values):
        dataclasses.replace(layout, position=position, segment_start=segment).validate()


@given(st.lists(st.tuples(*[st.integers(-(2**31), 2**31 - 1) | st.integers(-1, 5)] * 4), min_size=1, max_size=6))
def test_any_vectors_are_a_layout_or_an_error(entries: list) -> None:
    columns = np.array(entries, np.int32).T
    layout = Layout(columns[0], columns[1], columns[2], columns[3], len(entries))
    try:
        layout.validate()
    except InvalidArgument as error:
        assert "layout: token " in str(error)  # noqa: PT017 - either may happen
    else:
        assert (np.maximum(visible(layout).sum(axis=1) - 1, 0) == layout.position).all()


def test_bad_arguments_say_what_to_do() -> None:
    with pytest.raises(InvalidArgument, match="row 1: a segment of 3 tokens after 2 overflows row_tokens=4"):
        Layout.packed([[4], [2, 3]], row_tokens=4)
    with pytest.raises(InvalidArgument, match="row 0: a segment or branch of 0 tokens"):
        Layout.packed([[0]], row_tokens=4)
    with pytest.raises(InvalidArgument, match="row_tokens is 0"):
        Layout.packed([[1]], row_tokens=0)
    with pytest.raises(InvalidArgument, match="1 prefixes but 2"):
        Layout.shared_prefix([1], [[1], [1]], row_tokens=4)
    with pytest.raises(InvalidArgument, match=r"different row_tokens \[2, 4\]"):
        Layout.concatenate([Layout.padded([1], 2), Layout.padded([1], 4)])
    with pytest.raises(InvalidArgument, match="at least one layout"):
        Layout.concatenate([])
    with pytest.raises(InvalidArgument, match="int32 indices"):
        Layout.packed([[1]] * 2, row_tokens=2**30 + 1)
    zeros = np.zeros(3, np.int32)
    with pytest.raises(InvalidArgument, match=r"position is int64\[3\], expected int32\[3\]"):
        Layout(zeros, zeros, zeros, zeros.astype(np.int64), 3)
    with pytest.raises(InvalidArgument, match=r"branch_start is int32\[2\], expected int32\[3\]"):
        Layout(zeros, zeros, zeros[:2], zeros, 3)
    with pytest.raises(InvalidArgument, match="not a whole number of rows of 2"):
        Layout(zeros, zeros, zeros, zeros, 2)
