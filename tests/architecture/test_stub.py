"""`_native.pyi` is a contract: names, signatures and docs of the compiled module."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = "tests/architecture/stub_allowlist.txt"


@pytest.mark.slow
def test_the_stub_matches_the_binary() -> None:
    pytest.importorskip("mypy", reason="mypy is not installed (extra: dev)")
    command = [sys.executable, "-m", "mypy.stubtest", "stategpt._native", "--concise", "--allowlist", ALLOWED]
    environment = {**os.environ, "MYPYPATH": str(ROOT / "python")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
