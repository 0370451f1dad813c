"""Figures in two themes that match the page."""

import io
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the report needs the train extra")

from stategpt.report import canvas
from stategpt.report.canvas import DARK, LIGHT, Sketch, Theme, render_picture


def css_colors() -> list[dict[str, str]]:
    """The color variables of the style sheet, light and dark."""
    css = Path(canvas.__file__).with_name("report.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)
    return [dict(re.findall(r"--(\w+): (#\w+)", block)) for block in blocks]


@pytest.mark.parametrize(("theme", "block"), [(LIGHT, 0), (DARK, 1)], ids=["light", "dark"])
def test_figures_and_page_share_their_colors(theme: Theme, block: int) -> None:
    css = css_colors()[block]
    assert (css["ink"], css["muted"], css["line"], css["card"]) == (theme.ink, theme.muted, theme.line, theme.paper)
    for name in ("base", "prompted_base", "sft", "best_of_4", "rlhf", "reward"):
        assert css[name] == theme.color(name)


def test_every_text_color_is_readable_on_its_background() -> None:
    """WCAG contrast of at least 4.5 for words and of 3 for the lines and dots of a figure."""

    def luminance(color: str) -> float:
        linear = [
            v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
            for v in (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a: str, b: str) -> float:
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for theme in (LIGHT, DARK):
        assert min(contrast(theme.ink, theme.paper), contrast(theme.muted, theme.paper)) >= 4.5
        for name in ("base", "prompted_base", "sft", "best_of", "rlhf", "rl/beta_0.04", "reward"):
            assert contrast(theme.color(name), theme.paper) >= 3, (theme.name, name)


def test_a_picture_is_two_pngs_on_the_card_color_of_each_theme() -> None:
    from matplotlib.image import imread

    sketch = Sketch("x", "Title", "Caption.", lambda axes, theme: axes.plot([0, 1], [0, 1], color=theme.ink), 2.0)
    picture = render_picture(sketch)
    for png, theme in ((picture.light, LIGHT), (picture.dark, DARK)):
        pixels = imread(io.BytesIO(png))
        assert pixels.shape[:2] == (400, 960)
        corner = "#" + "".join(f"{round(float(value) * 255):02x}" for value in np.asarray(pixels)[0, 0, :3])
        assert corner == theme.paper
    assert (picture.width, picture.height) == (461, 192)


def test_dollar_signs_in_names_are_dollar_signs() -> None:
    render_picture(Sketch("x", "T", "C.", lambda axes, theme: axes.set_xlabel(r"cost in $\undefined{ and $"), 2.0))


def test_unknown_systems_have_a_color() -> None:
    assert LIGHT.color("best_of_64") == LIGHT.color("best_of")
    assert LIGHT.color("something else") == LIGHT.muted
