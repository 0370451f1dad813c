"""Tables of plain text."""

from stategpt.cli.format import listing, table


def test_columns_are_aligned() -> None:
    assert table([["", "n"], ["one", "10"]]) == "        n\n  one  10"
    assert listing([("a", "1"), ("long", "2")]) == "  a     1\n  long  2"
