"""The rankings stage: what it samples from and what it keeps."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.config import override  # noqa: E402
from stategpt.data import PythonLibrary, write_library  # noqa: E402
from stategpt.errors import RankingError  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.stages.inputs import Inputs  # noqa: E402
from stategpt.stages.rankings import _publish_records  # noqa: E402


def test_rankings_without_a_clear_pair_are_not_kept(inputs: Inputs, model: GPT, library: PythonLibrary) -> None:
    """Published ones would lock `rankings.tie_below`, which the error says to lower."""
    write_library(library, inputs.folder.corpus, fingerprint="b3:corpus")
    inputs.publish_model("sft", model.save_pretrained, "config", ())
    changes = {"rankings.tie_below": 10_000, "rankings.prompts": 2, "rankings.validation_prompts": 2}
    inputs = replace(inputs, run=override(inputs.run, {**changes, "rankings.completions": 2}))
    published = inputs.folder.stage("rankings") / "records"
    with pytest.raises(RankingError, match=r"no clear pair in the 2 train rankings.*Lower rankings\.tie_below"):
        _publish_records(inputs, published, "b3:rankings", ())
    assert not published.exists()
