"""The bench of data preparation runs on any folder of texts and says what its peers lack; no seconds are asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_section_of_curation_writes_its_rows(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benches" / "peers" / "data.py"), "--quick", "--machine", "test"]
    options = ["--only", "duplicates,contamination", "--texts", str(ROOT / "docs"), "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    done = subprocess.run(
        [*command, *options], env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*-data-quick-test.json")
    made = json.loads(path.read_text())
    figures = {row["what"]: row["figure"] for row in made["rows"]}
    assert figures["F1 of pairs beside exact Jaccard 0.8"] >= 0.98
    assert figures["equal for 1, 2, 4 threads and shuffled"] == 1
    assert figures["precision on planted leaks"] >= 0.95
    assert figures["recall on planted leaks"] >= 0.9
    assert {row["section"] for row in made["rows"]} == {"duplicates", "contamination"}
    for peer in made["missing"]:
        assert peer in done.stdout
    assert "| text to signature | MB/s |" in path.with_suffix(".md").read_text()
