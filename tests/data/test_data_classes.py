"""What a notebook and `help()` show of data classes: short, and every field with its shape."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest

from stategpt.data import RankedGroup, Rankings, Rejected, write_shards
from stategpt.data.lines import Line
from stategpt.data.ranking_batch import RankingBatch, ranking_batches
from stategpt.packing import Batch, Layout, Loader, Mixture, Row, TokenizedDocument, pack
from stategpt.packing.packed import LeftOut
from stategpt.tokenizer import Ragged, Tokenizer

MOST_CHARS = 1000
OWN = (
    Batch, TokenizedDocument, RankedGroup, Layout, Ragged, Rankings, Rejected, Row, LeftOut, Line, RankingBatch,
)  # fmt: skip


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.__name__)
def test_help_says_what_every_field_is(kind: type) -> None:
    text = inspect.getdoc(kind) or ""
    assert "Attributes:" in text
    described = text.split("Attributes:")[1]
    names = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else kind._fields
    for name in names:
        assert f"{name}: " in described, f"{kind.__name__}.{name}"


def test_help_of_rankings_shows_a_record() -> None:
    for word in ('"prompt"', '"completions"', '"rank"', "ended", "read_chosen_rejected"):
        assert word in (inspect.getdoc(Rankings) or "")


def test_whatever_is_in_it_a_repr_is_short(tmp_path: Path) -> None:
    from stategpt.config.control import CONTROL_TOKENS

    tok = Tokenizer.train(["abc"], vocab_size=300, special_tokens=list(CONTROL_TOKENS))
    shards = write_shards([TokenizedDocument(np.arange(20, 250))] * 200, tok, tmp_path / "data", source="s" * 5000)
    packed = pack(shards, 64)
    mixture = Mixture({f"{'name' * 40}{number}": (packed, 1.0) for number in range(60)})
    completions = [{"text": "yes" * 900, "rank": 1}, {"text": "no\x1b" * 900, "rank": 2}]
    records = [{"id": f"{number}" * 300, "prompt": "why" * 900, "completions": completions} for number in range(90)]
    rankings = Rankings.read([*records, {"x" * 3000: 1}])
    ranked = ranking_batches(rankings, tok)[0]
    layout = Layout.packed([[3, 2]] * 500, 8)
    shown = [
        shards, packed, mixture, packed[0], packed.batch(0, 50), Loader(mixture, 8), packed.rejected, layout, rankings,
        rankings.groups[0], ranked, Ragged.of([[1, 2, 3]] * 900), TokenizedDocument(np.arange(20, 250)),
    ]  # fmt: skip
    for value in shown:
        assert len(repr(value)) < MOST_CHARS, type(value).__name__
        assert "\x1b" not in repr(value)
