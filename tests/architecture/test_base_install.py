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
assert sg.ranking_batches(rankings, tok)[0].pairs.tolist() == [[0, 1]]
print("works")
"""
    assert run(BLOCK_EXTRAS + code, tmp_path) == "works\n"


NEED_TORCH = (
    "sg.GPT",
    "sg.Engine",
    "sg.run",
    "sg.ops",
    "sg.model",
    "sg.generate",
    "sg.train.fit",
    "sg.train.losses",
    "sg.stages.sft",
    "sg.evaluate.evaluate_base",
)


def test_a_name_that_needs_an_extra_says_which_and_how_to_get_it(tmp_path: Path) -> None:
    code = f"""
import stategpt as sg
for name in {NEED_TORCH!r}:
    try:
        eval(name)
    except sg.errors.MissingExtra as error:
        assert "torch" in str(error) and "pip install '.[train]'" in str(error), error
        print(name)
try:
    from stategpt.ops import attention
except sg.errors.MissingExtra as error:
    assert str(error).startswith("stategpt.ops needs torch, which is not installed"), error
    print("import")
"""
    assert run(BLOCK_EXTRAS + code, tmp_path).split() == [*NEED_TORCH, "import"]


def test_public_packages_are_there_at_the_first_touch_and_the_light_ones_without_torch(tmp_path: Path) -> None:
    for name in ("data.read_documents", "train", "stages", "evaluate.win_rate", "recipes.tiny_cpu", "config.RunConfig"):
        assert run(f"import stategpt as sg; print(sg.{name} is not None)", tmp_path) == "True\n"
    code = "import sys, stategpt as sg; sg.data, sg.train, sg.stages, sg.config; print('torch' in sys.modules)"
    assert run(code, tmp_path) == "False\n"


def test_tab_shows_public_names_only(tmp_path: Path) -> None:
    code = """
import stategpt as sg
for package in (sg, sg.data, sg.train, sg.stages, sg.evaluate):
    shown = {name for name in dir(package) if not name.startswith("_")}
    assert shown == set(package.__all__), (package.__name__, shown ^ set(package.__all__))
    assert package.__doc__
"""
    run(code, tmp_path)
