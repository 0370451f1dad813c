"""The split by group: independent of order, every side filled, shared groups on one side, big groups in training."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt.data.splitting import SIDES, GroupSplit, min_groups, require_groups, sides_of
from stategpt.errors import CorpusError

GROUPS = st.lists(st.text(max_size=6), min_size=3, max_size=60).filter(lambda names: len(set(names)) >= 3)
SHARES = st.tuples(st.floats(0.01, 0.4), st.floats(0.01, 0.4))


@given(GROUPS, SHARES, st.integers(0, 2**40), st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter_and_every_side_has_a_group(
    groups: list[str], shares: tuple[float, float], seed: int, shuffling: random.Random
) -> None:
    sides = sides_of(groups, *shares, seed)
    assert set(sides) == set(groups)
    assert set(sides.values()) == set(SIDES)
    shuffled = list(groups)
    shuffling.shuffle(shuffled)
    assert sides_of(shuffled, *shares, seed) == sides


@given(GROUPS, SHARES, st.integers(0, 99))
def test_a_side_stays_within_its_share_unless_one_group_is_more(
    groups: list[str], shares: tuple[float, float], seed: int
) -> None:
    counts = Counter(groups)
    sides = sides_of(groups, *shares, seed)
    for side, share in zip(SIDES[1:], shares, strict=True):
        held = [group for group in counts if sides[group] == side]
        assert sum(counts[group] for group in held) <= share * len(groups) + 1e-9 or len(held) == 1


@given(st.integers(200, 3000), st.integers(0, 99))
@settings(max_examples=20)
def test_groups_of_equal_size_reach_the_shares_within_one(count: int, seed: int) -> None:
    held = Counter(sides_of(map(str, range(count)), 0.04, 0.12, seed).values())
    assert 0 <= 0.04 * count - held["validation"] < 1
    assert 0 <= 0.12 * count - held["test"] < 1


def test_a_group_with_most_of_the_records_is_trained_on() -> None:
    groups = ["big"] * 900 + [f"small {n}" for n in range(100)]
    for seed in range(30):
        sides = sides_of(groups, 0.04, 0.12, seed)
        assert sides["big"] == "train"
        assert 35 <= sum(side == "validation" for side in sides.values()) <= 40


@given(
    st.dictionaries(st.sampled_from("abcd"), st.sets(st.integers(0, 80), min_size=25), min_size=1),
    st.integers(0, 9),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60)
def test_inputs_that_share_groups_have_them_on_one_side(
    inputs: dict[str, set[int]], seed: int, shuffling: random.Random
) -> None:
    def decided(named: list[tuple[str, list[int]]]) -> dict[int, str]:
        split = GroupSplit(0.04, 0.12, seed)
        for name, groups in named:
            for group in groups:
                split.add(name, str(group))
        sides = split.decide()
        return {group: sides.of(str(group)) for _, groups in named for group in groups}

    named = [(name, sorted(groups)) for name, groups in inputs.items()]
    try:
        found = decided(named)
    except CorpusError:
        return  # the inputs share so much that one is left without a side
    for groups in inputs.values():
        assert {found[group] for group in groups} == set(SIDES)
    shuffling.shuffle(named)
    assert decided([(name, shuffling.sample(groups, len(groups))) for name, groups in named]) == found


def test_what_is_pinned_is_held_out_of_every_input() -> None:
    split = GroupSplit(0.1, 0.1, 0)
    for group in range(40):
        split.add("sft.data", str(group))
        if group % 2:
            split.add("rankings.data", str(group))
    for group in (3, 5, 100):
        split.pin(str(group), "test")
    sides = split.decide()
    assert [sides.of(str(group)) for group in (3, 5, 100)] == ["test"] * 3
    with pytest.raises(KeyError):
        sides.of("unknown")


def test_an_input_whose_groups_are_all_held_out_is_an_error() -> None:
    split = GroupSplit(0.1, 0.1, 0)
    for group in range(5):
        split.add("sft.data", str(group))
        split.pin(str(group), "test")
    with pytest.raises(CorpusError, match=r"sft\.data: no group is left for train.*evaluate\.prompts"):
        split.decide()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_groups_cannot_be_split(count: int) -> None:
    split = GroupSplit(0.3, 0.3, 0)
    split.add("other", "x")
    split.add("other", "y")
    split.add("other", "z")
    if count:
        for group in range(count):
            split.add("notes", str(group))
        with pytest.raises(CorpusError, match=rf"notes has {count} groups?, .* at least 3: {3 - count} missing"):
            split.decide()


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (1, r"sources\.a has 1 group, too little .* at least 25 groups, 24 more than there are\. Give at least 2 more"),
        (5, r"has 5 groups.*20 more than there are\. Give 20 more, or set both shares to at least 0\.2"),
        (20, r"has 20 groups.*5 more than there are\. Give 5 more, or set both shares to at least 0\.05"),
    ],
)
def test_too_little_data_gives_the_minimum_and_what_is_missing(groups: int, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        require_groups("sources.a", groups, 0.04, 0.12)
    require_groups("sources.a", 25, 0.04, 0.12)


@given(st.floats(0.001, 0.5), st.floats(0.001, 0.4))
def test_the_minimum_is_where_each_share_is_a_group(validation: float, test: float) -> None:
    least = min_groups(validation, test)
    assert least * min(validation, test) >= 1 - 1e-6
    assert least == 3 or (least - 1) * min(validation, test) < 1


def test_the_split_is_the_same_in_every_process() -> None:
    sides = sides_of("abcdefghij", 0.2, 0.2, 7)
    assert {side: "".join(group for group in sides if sides[group] == side) for side in SIDES} == {
        "train": "cdeghi",
        "validation": "bf",
        "test": "aj",
    }


@given(
    st.sets(st.integers(0, 99), min_size=30),
    st.sets(st.integers(0, 99), min_size=9, max_size=40),
    st.integers(0, 9),
)
def test_settled_groups_keep_their_side(chats: set[int], documents: set[int], seed: int) -> None:
    split, alone = (GroupSplit(0.1, 0.1, seed) for _ in range(2))
    for group in chats:
        split.add("chats", f"{group}")
        alone.add("chats", f"{group}")
    settled, expected = split.settle(), alone.decide()
    for group in (*documents, *range(100, 140)):
        split.add("documents", f"{group}")
    decided = split.decide()
    assert {group: settled.of(f"{group}") for group in chats} == {group: expected.of(f"{group}") for group in chats}
    assert {group: decided.of(f"{group}") for group in chats} == {group: expected.of(f"{group}") for group in chats}
