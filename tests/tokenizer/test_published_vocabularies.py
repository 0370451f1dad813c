"""llama.cpp's own vocabularies: its ids of 46 to 51 texts each. `published_vocabularies.py` downloads them.

All 15 that come with ids are equal. Aquila, baichuan, gpt-neox and nomic-bert-moe have none: they are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import stategpt as sg
from stategpt import _native
from stategpt.errors import TokenizerUnsupported
from stategpt.tokenizer import HfTokenizer
from stategpt.tokenizer.gguf_vocabulary import tokenizer_json

FOLDER = Path(__file__).resolve().parents[2] / ".make" / "vocabularies"
FILES = sorted(FOLDER.glob("*.gguf"))
pytestmark = pytest.mark.skipif(not FILES, reason="run tests/tokenizer/published_vocabularies.py first (77 MB)")
LIBRARY_ONLY = {
    "baichuan",
    "bert-bge",
    "deepseek-coder",
    "deepseek-llm",
    "gemma-4",
    "llama-spm",
    "nomic-bert-moe",
    "phi-3",
}


def metadata(path: Path) -> Mapping[str, Any]:
    gguf = pytest.importorskip("gguf", reason="gguf is not installed")
    return {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_ids_are_those_of_llama_cpp(path: Path) -> None:
    pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")
    text = tokenizer_json(metadata(path))
    engines: list[sg.AnyTokenizer] = [HfTokenizer(text)]
    try:
        engines.append(sg.Tokenizer(_native.Tokenizer._from_json(text.encode())))
    except TokenizerUnsupported:
        assert path.stem in LIBRARY_ONLY
    given = path.with_name(path.name + ".inp")
    if not given.exists():
        assert all(tok.encode("Hello world 123").size for tok in engines)
        return
    texts = given.read_bytes().decode().split("\n__ggml_vocab_test__\n")
    wanted = [[int(number) for number in line.split()] for line in Path(f"{path}.out").read_text().split("\n")]
    for tok in engines:
        for each, ids in zip(texts, wanted, strict=False):
            assert tok.encode(each, special="unflagged").tolist() == ids, ascii(each)
