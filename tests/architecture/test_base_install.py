"""The base install alone: importing costs numpy only, and tokenizer, packing and rankings work without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BLOCK_EXTRAS = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "triton", "transformers", "tokenizers", "matplotlib", "jinja2"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
"""


def run(code: str, folder: Path) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_the_standard_library_and_numpy_only(tmp_path: Path) -> None:
    code = """
import json, sys
before = set(sys.modules)
import stategpt
loaded = {name.split(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(loaded - set(sys.stdlib_module_names) - {"stategpt", "numpy"})))
"""
    assert json.loads(run(code, tmp_path)) == []


def test_tokenizer_packing_and_rankings_work_without_torch(tmp_path: Path) -> None:
    code = """
import stategpt as sg
documents = [f"the document number {i} says {i * i}" for i in range(40)]
tok = sg.Tokenizer.train(documents, vocab_size=320, special_tokens=list(sg.config.CONTROL_TOKENS))
assert tok.decode(tok.encode("the document")) == "the document"
shards = sg.write_shards(documents, tok, "shards")
rows = sg.Mixture({"all": (sg.pack(shards, row_tokens=64), 1.0)}, seed=0)
batch = next(iter(sg.Loader(rows, batch_rows=2)))
batch.layout.validate()
assert batch.tokens.shape == (128,)
ranked = [{"text": "good", "rank": 1}, {"text": "bad", "rank": 2}]
rankings = sg.Rankings.read([{"id": "a", "prompt": "why?", "completions": ranked}])
assert rankings.batches(tok)[0].pairs.tolist() == [[0, 1]]
print("works")
"""
    assert run(BLOCK_EXTRAS + code, tmp_path) == "works\n"


def test_a_name_that_needs_an_extra_says_which(tmp_path: Path) -> None:
    code = """
import stategpt as sg
for name in ("GPT", "Engine", "run"):
    try:
        getattr(sg, name)
    except sg.errors.MissingExtra as error:
        assert "stategpt[train]" in str(error), error
        print(name)
"""
    assert run(BLOCK_EXTRAS + code, tmp_path).split() == ["GPT", "Engine", "run"]
