"""Prints the tokens of a text, in color on a terminal: tokens above their ids, one tint per pre-token."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from stategpt.tokenizer import AnyTokenizer
    from stategpt.tokenizer.inspection import TokenView

# Tints that pre-tokens take in turn, and the style of special tokens.
_TINTS = ("black on #a9cdf0", "black on #f4d58d", "black on #b5dbae", "black on #e3bfe0")
_SPECIAL = "bold white on #a33b5b"


def show_tokens(tok: AnyTokenizer, text: str, console: Console | None = None) -> None:
    """Prints the tokens of a text: colored on a terminal, else as a table."""
    from rich.console import Console

    from stategpt.tokenizer.inspection import token_views

    console = console or Console()
    views = token_views(tok, text)
    if console.is_terminal:
        for line in _lines(views, console.width):
            console.print(line, no_wrap=True, overflow="crop", crop=True)
    else:
        # The token is the last column, since some characters are wider than others.
        print(f"{'id':>7} {'bytes':>5} {'piece':>5}  token")
        for view in views:
            print(f"{view.id:>7} {len(view.data):>5} {view.piece:>5}  {view.shown}")
    count, size = len(views), len(text.encode())
    pieces = len({view.piece for view in views})
    print(f"{count:,} tokens, {pieces:,} pieces, {size:,} bytes, {size / max(count, 1):.2f} bytes per token")


def _lines(views: list[TokenView], width: int) -> list[Text]:
    """Returns pairs of lines no wider than `width`: tokens, and their ids below."""
    from rich.cells import cell_len
    from rich.text import Text

    lines: list[Text] = []
    filled = width
    for place, view in enumerate(views):
        cells = max(cell_len(view.shown), len(str(view.id)))
        if filled + cells + 1 > width:
            lines += [Text(), Text()]
            filled = 0
        style = _SPECIAL if view.special else _TINTS[view.piece % len(_TINTS)]
        lines[-2].append(view.shown + " " * (cells - cell_len(view.shown)), style)
        lines[-1].append(str(view.id).ljust(cells), "dim")
        # The gap has the tint of the pre-token if the next token belongs to it too.
        continues = place + 1 < len(views) and views[place + 1].piece == view.piece and not view.special
        lines[-2].append(" ", style if continues else "")
        lines[-1].append(" ")
        filled += cells + 1
    return lines
