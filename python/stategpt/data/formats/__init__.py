"""Formats of published preferences, each a reader that gives `Rankings` with every line accounted for."""

from stategpt.data.formats.chosen_rejected import read_chosen_rejected
from stategpt.data.formats.votes import read_votes

__all__ = ["read_chosen_rejected", "read_votes"]
