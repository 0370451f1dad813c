"""The room's door: judging text needs no torch."""

import subprocess
import sys

import pytest

from stategpt import evaluate


def test_importing_the_room_does_not_import_torch() -> None:
    program = "import sys, stategpt.evaluate as e; e.KneserNey; e.read_evaluations; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_runs_a_model_is_imported_when_used() -> None:
    pytest.importorskip("torch", reason="models need the train extra")
    assert evaluate.document_nats.__module__ == "stategpt.evaluate.bits"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'perplexity'"):
        _ = evaluate.perplexity
