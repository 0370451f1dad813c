"""Downloads vocabularies that llama.cpp is tested with: `python tests/tokenizer/published_vocabularies.py`.

They are in the source of llama-cpp-python on PyPI (77 MB), most of them with texts and the ids of these. They are put
into `.make/vocabularies` and are no part of this repository; `test_published_vocabularies.py` reads them.
"""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data" / "chats"))
from published import LLAMA, _downloaded  # type: ignore[import-not-found]

FOLDER = Path(__file__).resolve().parents[2] / ".make" / "vocabularies"


def main() -> None:
    """Downloads them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(_downloaded("llama-cpp-python", LLAMA))) as source:
        for entry in source:
            if "/models/ggml-vocab-" in entry.name:
                file = source.extractfile(entry)
                assert file is not None
                (FOLDER / Path(entry.name).name.removeprefix("ggml-vocab-")).write_bytes(file.read())
    print(len(list(FOLDER.glob("*.gguf"))), "vocabularies")


if __name__ == "__main__":
    main()
