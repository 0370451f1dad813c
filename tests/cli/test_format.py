"""Numbers as people read them."""

import pytest

from stategpt.cli.format import listing, size, table


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 KB"), (25.3e9, "25.3 GB"), (5e18, "5e+06 TB")]
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


def test_columns_are_aligned() -> None:
    assert table([["", "n"], ["one", "10"]]) == "        n\n  one  10"
    assert listing([("a", "1"), ("long", "2")]) == "  a     1\n  long  2"
