"""The report of a run: figures as PNGs and one HTML page that holds everything, offline.

Only files of the run folder are read. What a run does not have is said to be missing, never filled in. The template
escapes all values, and the page's policy allows no script and no outside file: text of a model or a corpus stays text.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from stategpt.artifacts import publish_file
from stategpt.artifacts.measurements import refuse_links
from stategpt.config.stage_names import STAGES

from .canvas import Picture, one_warning, render_picture, require_extra
from .figures import all_sketches
from .glossary import glossary
from .run_files import RunFiles
from .views.classification import classification
from .views.comparison import comparison
from .views.feedback import feedback
from .views.inputs import inputs
from .views.learning import learning
from .views.material import material
from .views.overview import overview
from .views.provenance import provenance

_HERE = Path(__file__).parent
_TRAINED = tuple(stage.name for stage in STAGES[1:])
SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("stages", "Stages", ()),
    ("gates", "Gates", _TRAINED),
    ("data", "Data", ()),
    ("pretraining", "Pretraining", ("pretrain",)),
    ("classification", "Classification", ("classify",)),
    ("sft", "SFT", ("sft",)),
    ("reward", "Rankings and reward", ("rankings", "reward")),
    ("rl", "RL", ("rl",)),
    ("comparison", "Side by side", ("compare",)),
    ("variety", "Variety", ("compare",)),
    ("answers", "Answers", ("compare",)),
    ("origin", "Origin", ()),
    ("glossary", "Glossary", ()),
)
"""Sections of the page: anchor, label, and the stages of which the run needs one to have it (none: always)."""


def render(run_folder: str | Path) -> Path:
    """Write report/index.html of a run, finished or not, and its figures beside it as PNGs; return the page's path.

    Raises `MissingExtra` without matplotlib and jinja2, and what `RunFiles` raises for a file that is not what it was.
    """
    require_extra()
    files = RunFiles(Path(run_folder))
    folder = files.root / "report"
    refuse_links(files.root)
    with one_warning():
        pictures = [render_picture(sketch) for sketch in all_sketches(files)]
    for picture in pictures:
        publish_file(folder / f"{picture.name}.png", picture.light)
    page = folder / "index.html"
    publish_file(page, render_page(files, pictures).encode("utf-8", "replace"))
    return page


def render_page(files: RunFiles, pictures: list[Picture]) -> str:
    """The page as text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html.j2").render(
        css=Markup((_HERE / "report.css").read_text(encoding="utf-8")),
        pictures={picture.name: _inlined(picture) for picture in pictures},
        glossary=glossary(files.names, files.stages),
        names=files.names,
        stages=files.stages,
        sections=_sections(files),
        overview=overview(files),
        inputs=inputs(files),
        material=material(files),
        learning=learning(files),
        classification=classification(files),
        feedback=feedback(files),
        comparison=comparison(files),
        provenance=provenance(files),
    )


def _sections(files: RunFiles) -> list[tuple[str, str]]:
    """Anchor and label of each section of the page: those of stages that the run does not have are left out."""
    return [
        (anchor, label)
        for anchor, label, stages in SECTIONS
        if not stages or set(stages) & files.stages or (anchor == "gates" and files.gates)
    ]


def _inlined(picture: Picture) -> dict[str, Any]:
    return {
        "name": picture.name,
        "title": picture.title,
        "caption": picture.caption,
        "light_uri": _data_uri(picture.light),
        "dark_uri": _data_uri(picture.dark),
        "width": picture.width,
        "height": picture.height,
    }


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
