"""Downloads chat templates that others publish, for `test_published.py`: `python tests/data/chats/published.py`.

The wheel of TRL has stock templates with training templates beside them; the source of llama-cpp-python has those that
llama.cpp is tested with. They are put into `.make/templates` and are no part of this repository.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import urllib.request
import zipfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / ".make" / "templates"
TRL = "trl-1.16.0-py3-none-any.whl"
LLAMA = "llama_cpp_python-0.3.36.tar.gz"


def _downloaded(project: str, file: str) -> bytes:
    """A file of a project on PyPI, its hash checked."""
    asked = urllib.request.Request(
        f"https://pypi.org/simple/{project}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:
        (found,) = (entry for entry in json.load(answer)["files"] if entry["filename"] == file)
    with urllib.request.urlopen(found["url"], timeout=600) as answer:
        content: bytes = answer.read()
    assert hashlib.sha256(content).hexdigest() == found["hashes"]["sha256"], f"{file} is damaged"
    return content


def main() -> None:
    """Downloads both, 80 MB."""
    for name in ("trl", "llama.cpp"):
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(_downloaded("trl", TRL))) as wheel:
        for member in wheel.namelist():
            if member.startswith("trl/chat_templates/") and member.endswith(".jinja"):
                (FOLDER / "trl" / Path(member).name).write_bytes(wheel.read(member))
    with tarfile.open(fileobj=io.BytesIO(_downloaded("llama-cpp-python", LLAMA))) as source:
        for entry in source:
            if "/models/templates/" in entry.name and entry.name.endswith(".jinja"):
                file = source.extractfile(entry)
                assert file is not None
                (FOLDER / "llama.cpp" / Path(entry.name).name).write_bytes(file.read())
    print({name: len(list((FOLDER / name).glob("*.jinja"))) for name in ("trl", "llama.cpp")})


if __name__ == "__main__":
    main()
