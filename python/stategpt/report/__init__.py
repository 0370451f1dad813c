"""The report of a run: figures and one offline HTML page, and a short text for the terminal."""

from .page import render
from .summary import summary

__all__ = ["render", "summary"]
