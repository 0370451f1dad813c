"""Drawing: one style for all figures, in a light and a dark theme, without pyplot and its global state.

A figure is described by a `Sketch`: what to paint on the axes, and the words around it. `render_picture` paints it once
per theme. The page shows the one that fits the reader's color scheme; the light one is also saved as a PNG file.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stategpt.extras import require
from stategpt.visible_text import visible_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_INCHES = 4.8
DOTS_PER_INCH = 200


@dataclass(frozen=True)
class Theme:
    """Colors of one color scheme; they equal the page's."""

    name: str
    """light or dark."""
    ink: str
    """Text."""
    muted: str
    """Axis labels and tick labels."""
    line: str
    """Grid lines and axes."""
    paper: str
    """Background, the page's card color."""
    colors: Mapping[str, str]
    """Color of each thing that is drawn; the same thing has the same color in every figure."""

    def color(self, name: str) -> str:
        """Color of a system, source or stage folder; best-of-n share one, unknown names are muted."""
        group = next((group for start, group in _GROUPS.items() if name.startswith(start)), name)
        return self.colors.get(group, self.muted)


_GROUPS = {"best_of": "best_of", "rl/seed_": "rlhf", "rl/beta_": "beta", "rlhf_beta_": "beta"}
"""What systems and folders whose names begin alike are drawn as."""

_LIGHT = {
    "base": "#7b8494",
    "prompted_base": "#a68a5b",
    "sft": "#2b6cb0",
    "best_of": "#2f9477",
    "rlhf": "#c4492d",
    "beta": "#8e4ec6",
    "reward": "#b7791f",
    "baseline": "#aab2bd",
}
_DARK = {
    "base": "#98a2b3",
    "prompted_base": "#cdb07c",
    "sft": "#63a4e8",
    "best_of": "#54c5a2",
    "rlhf": "#f0846a",
    "beta": "#b98bea",
    "reward": "#e0b04c",
    "baseline": "#5d6673",
}
_ALIASES = {
    "rl": "rlhf",
    "demonstrations": "best_of",
    "reference": "best_of",
    "data": "baseline",
    "rankings": "best_of",
    "comparison": "baseline",
}


def _with_aliases(colors: Mapping[str, str]) -> dict[str, str]:
    return {**colors, **{alias: colors[name] for alias, name in _ALIASES.items()}}


LIGHT = Theme("light", "#1c2128", "#5b6573", "#e1e5ea", "#ffffff", _with_aliases(_LIGHT))
DARK = Theme("dark", "#e6e9ed", "#9ca6b3", "#2f3742", "#1a1f26", _with_aliases(_DARK))


@dataclass(frozen=True)
class Sketch:
    """A figure that can be painted in either theme."""

    name: str
    """File name without ending; also its anchor in the page."""
    title: str
    """Heading above it."""
    caption: str
    """What it shows and how to read it, plain text."""
    paint: "Callable[[Axes, Theme], None]"
    """Draws on empty axes."""
    height_inches: float = 2.9
    """Height of the figure; its width is fixed."""


@dataclass(frozen=True)
class Picture:
    """A painted sketch."""

    name: str
    """As in the sketch."""
    title: str
    """As in the sketch."""
    caption: str
    """As in the sketch; also the alternative text."""
    light: bytes
    """PNG for a light page."""
    dark: bytes
    """PNG for a dark page."""
    width: int
    """Width in CSS pixels at which one inch of the figure is 96 of them."""
    height: int
    """Height in CSS pixels."""


@contextmanager
def one_warning() -> Iterator[None]:
    """Gathers what drawing warns of (a glyph the font lacks, a label too long for its place) into one warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    gathered = [one for one in caught if issubclass(one.category, (UserWarning, RuntimeWarning))]
    for one in caught:
        if one not in gathered:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if gathered:
        first = visible_line(str(gathered[0].message))
        warnings.warn(f"{len(gathered)} warnings while the figures were drawn, the first: {first}", stacklevel=3)


def require_extra() -> None:
    """Raise `MissingExtra` unless matplotlib and jinja2 can be imported."""
    for module in ("jinja2", "matplotlib"):
        require(module, "drawing the report")


def render_picture(sketch: Sketch) -> Picture:
    """Paint `sketch` in both themes."""
    return Picture(
        name=sketch.name,
        title=sketch.title,
        caption=sketch.caption,
        light=_paint(sketch, LIGHT),
        dark=_paint(sketch, DARK),
        width=round(WIDTH_INCHES * 96),
        height=round(sketch.height_inches * 96),
    )


def _paint(sketch: Sketch, theme: Theme) -> bytes:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_style(theme)):
        figure = Figure(figsize=(WIDTH_INCHES, sketch.height_inches), dpi=DOTS_PER_INCH, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.set_axisbelow(True)
        sketch.paint(axes, theme)
        png = io.BytesIO()
        figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


def _style(theme: Theme) -> Any:  # matplotlib's own type for it lists every key of one version
    return {
        "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
        "font.size": 9.5,
        "text.color": theme.ink,
        "text.parse_math": False,  # a dollar sign in a name is a dollar sign
        "axes.edgecolor": theme.line,
        "axes.facecolor": theme.paper,
        "axes.labelcolor": theme.muted,
        "axes.labelsize": 9.5,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.unicode_minus": True,
        "figure.facecolor": theme.paper,
        "grid.color": theme.line,
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "lines.linewidth": 1.8,
        "lines.solid_capstyle": "round",
        "savefig.facecolor": theme.paper,
        "xtick.color": theme.line,
        "ytick.color": theme.line,
        "xtick.labelcolor": theme.muted,
        "ytick.labelcolor": theme.muted,
        "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
    }
