"""Figures of the report, one file a subject; each returns only those the run has data for."""

from stategpt.report.canvas import Sketch
from stategpt.report.run_files import RunFiles

from .classification import classification_sketches
from .comparison import comparison_sketches
from .feedback import feedback_sketches
from .training import training_sketches

__all__ = ["all_sketches"]


def all_sketches(files: RunFiles) -> list[Sketch]:
    """Every figure of the report, in its order."""
    return [
        *training_sketches(files),
        *classification_sketches(files),
        *feedback_sketches(files),
        *comparison_sketches(files),
    ]
