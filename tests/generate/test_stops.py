"""Stop strings over text that comes in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="sampling needs the train extra (torch)")

from stategpt.errors import InvalidArgument
from stategpt.generate import StopFilter


def letter_by_letter(text: str, stops: list[str]) -> tuple[str, bool]:
    """The text before the stop string that is complete first; of those, the longest."""
    for end in range(1, len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            return text[: end - max(map(len, ending))], True
    return text, False


@given(
    pieces=st.lists(st.text("ab\n", max_size=4), max_size=8),
    stops=st.lists(st.text("ab\n", min_size=1, max_size=3), max_size=3),
)
def test_pieces_join_to_the_text_before_the_first_stop_however_it_is_cut(pieces, stops):
    watched = StopFilter(stops)
    shown = "".join(watched.push(piece) for piece in pieces)
    shown += watched.finish()
    assert (shown, watched.stopped) == letter_by_letter("".join(pieces), stops)


def test_only_what_could_begin_a_stop_waits():
    watched = StopFilter(["\nUser:"])
    assert watched.push("Fine.\nUs") == "Fine."
    assert watched.push("eful") == "\nUseful"
    assert watched.push("!\nUser") == "!"
    assert watched.push(": hi") == ""
    assert watched.stopped
    assert watched.push("more") == ""
    assert watched.finish() == ""


def test_without_stops_nothing_waits():
    assert StopFilter([]).push("at once") == "at once"


def test_an_empty_stop_is_refused():
    with pytest.raises(InvalidArgument, match="would stop at once"):
        StopFilter(["\n", ""])
