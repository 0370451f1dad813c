"""Pairs that a reward model is judged by, from a rankings file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.errors import RankingError
from stategpt.evaluate import RankedPairs


def record(number: int, points: list[int], pairs: list[list[int]]) -> dict[str, Any]:
    ranks = [sorted(set(points), reverse=True).index(point) + 1 for point in points]
    return {
        "id": f"validation-{number}",
        "prompt": "What does `a.b` do?",
        "completions": [
            {"text": "x" * place, "rank": rank, "ended": True, "score": point}
            for place, (rank, point) in enumerate(zip(ranks, points, strict=True), start=1)
        ],
        "pairs": pairs,
        "meta": {"module": f"module{number}"},
    }


def written(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "validation.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    return path


def test_pairs_index_all_completions_of_the_file(tmp_path: Path) -> None:
    read = RankedPairs.read(written(tmp_path, record(0, [3, 3], []), record(1, [1, 5, 4], [[1, 0], [2, 0]])))
    assert (read.winners.tolist(), read.losers.tolist()) == ([3, 4], [2, 2])
    assert read.margins.tolist() == [4, 3]
    assert read.lengths.tolist() == [1, 2, 1, 2, 3]
    assert read.modules == ["module1", "module1"]


def test_a_file_without_a_clear_pair_names_itself_its_counts_and_the_settings(tmp_path: Path) -> None:
    path = written(tmp_path, record(0, [3, 3], []), record(1, [4, 3, 4], []), {"id": "bad"})
    expected = (
        r"validation\.jsonl: no clear pair in 2 groups of 5 completions, 1 records rejected: .*rankings\.tie_below"
    )
    with pytest.raises(RankingError, match=expected):
        RankedPairs.read(path)


@pytest.mark.parametrize("change", [{"meta": {}}, {"meta": None}, {"completions": [{"text": "a", "rank": 1}] * 3}])
def test_a_record_without_points_or_module_is_a_ranking_error(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(RankingError, match=r"validation\.jsonl"):
        RankedPairs.read(written(tmp_path, record(0, [1, 5, 4], [[1, 0], [2, 0]]) | change))
