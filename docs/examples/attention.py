"""Attention over packed documents, a window and a shared prefix, and a picture of the tiles that are computed.

    python docs/examples/attention.py [tiles.svg]

Blue tiles need no mask, pale ones do (their visible pairs are darker), and white ones are never visited.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from stategpt.kernels.attention.blockwise import tiles
from stategpt.ops import TensorLayout, attention
from stategpt.packing import Layout

TOKENS, BLOCK, PIXELS = 256, 16, 300
FULL, MASKED, SEEN, LINE = "#2f6db5", "#dce8f5", "#8fb6de", "#c9d3de"
PANELS = (
    ("documents, end to end", Layout.packed([[37, 90, 25, 60, 44]], TOKENS), None),
    ("the same, window of 48", Layout.packed([[37, 90, 25, 60, 44]], TOKENS), 48),
    ("a prompt and its completions", Layout.shared_prefix([96], [[40, 60, 52]], TOKENS), None),
)


def visited(layout: TensorLayout, window: int | None) -> Iterator[tuple[int, int, bool]]:
    """First query, first key and whether no mask is needed, of every tile that the forward pass visits."""
    work_list = layout.work_list("queries", BLOCK, BLOCK, window)
    for first, _, steps in tiles(work_list, TOKENS, BLOCK, BLOCK):
        for step in steps:
            yield first, step.first, not step.masked


def boxes(corners: Iterable[tuple[float, float, float, float]], color: str) -> str:
    """Boxes of (query, key, queries high, keys wide) as one shape."""
    strokes = "".join(f"M{key} {query}h{wide}v{high}h-{wide}z" for query, key, high, wide in corners if wide > 0)
    return f'<path d="{strokes}" fill="{color}"/>'


def panel(left: int, title: str, layout: TensorLayout, window: int | None) -> Iterator[str]:
    """The score matrix of one layout: queries downwards, keys to the right."""
    all_tiles = list(visited(layout, window))
    seen = []
    bounds = zip(*(bound.tolist() for bound in layout.bounds(window)), strict=True)
    for query, (near_start, far_start, far_end) in enumerate(bounds):
        seen += [(query, near_start, 1, query + 1 - near_start), (query, far_start, 1, far_end - far_start)]
    grid = range(0, TOKENS + 1, BLOCK)
    yield f'<text x="{left}" y="20" font-family="sans-serif" font-size="14" fill="#222">{title}</text>'
    yield f'<g transform="translate({left} 30) scale({PIXELS / TOKENS})">'
    yield boxes(((query, key, BLOCK, min(BLOCK, TOKENS - key)) for query, key, _ in all_tiles), MASKED)
    yield boxes(seen, SEEN)
    yield boxes(((query, key, BLOCK, BLOCK) for query, key, full in all_tiles if full), FULL)
    yield boxes([*((line, 0, 0.5, TOKENS) for line in grid), *((0, line, TOKENS, 0.5) for line in grid)], LINE)
    yield "</g>"


def picture() -> str:
    """All panels, as SVG."""
    width = len(PANELS) * (PIXELS + 30) + 10
    shapes = [
        shape
        for i, (title, layout, window) in enumerate(PANELS)
        for shape in panel(10 + i * (PIXELS + 30), title, TensorLayout.of(layout), window)
    ]
    background = f'<rect width="{width}" height="{PIXELS + 45}" fill="#ffffff"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{PIXELS + 45}">'
    return "\n".join([head, background, *shapes, "</svg>", ""])


def main(path: Path | None) -> None:
    """Draws each layout's mask and checks attention against it."""
    torch.manual_seed(0)
    q = torch.randn(TOKENS, 8, 64, requires_grad=True)  # [tokens, heads, width]; four query heads a key-value head
    k, v = (torch.randn(TOKENS, 2, 64, requires_grad=True) for _ in range(2))
    for title, rows, window in PANELS:
        layout = TensorLayout.of(rows)  # once a batch; every layer uses it
        output = attention(q, k, v, layout, window=window)
        output.square().sum().backward()
        all_tiles = list(visited(layout, window))
        whole = sum(full for _, _, full in all_tiles)
        print(
            f"{title}: {len(all_tiles)} of {(TOKENS // BLOCK) ** 2} tiles are visited, {whole} of them without a mask"
        )
    if path is not None:
        path.write_text(picture(), encoding="utf-8")
        print("picture:", path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
