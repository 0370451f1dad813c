"""The unchanged inputs that the cases change: one of each sort, made once, small."""

from __future__ import annotations

import io
import json
import os
import runpy
import shutil
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from harness import Refused

import stategpt as sg
from stategpt.artifacts import publish_folder, read_manifest, write_lineage
from stategpt.config import GPTConfig, OptimConfig
from stategpt.config.control import CONTROL_TOKENS
from stategpt.config.toml import dump
from stategpt.model.gguf_export import save_gguf
from stategpt.recipes import smoke_cpu
from stategpt.train.checkpoint import LoopState, save_checkpoint
from stategpt.train.optimizers import build_optimizer

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "b3:" + 64 * "0"
TEXTS = [
    f"Document {number} says: it's {number * 37} o'clock.\n\tdef f(x): return x + {number}\n" for number in range(40)
]
SHAPE = GPTConfig(vocab_size=320, depth=1, width=16, heads=2, kv_heads=1, head_dim=8, mlp_width=16, context_tokens=32)
GGUF_TOKENIZER = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": ["a", "b", "c"]}
GGUF_HEADER_BYTES = 1500
"""Of model.gguf: all of them are metadata or directory."""

_place = Path()


def at(name: str) -> Path:
    """The unchanged input of this name."""
    return _place / name


def set_place(folder: Path) -> None:
    """Where the inputs lie; called before any child is forked."""
    global _place
    _place = folder


def trained() -> tuple[sg.GPT, torch.optim.Optimizer]:
    """A model and its optimizer after one step."""
    torch.manual_seed(0)
    model = sg.GPT(SHAPE)
    optimizer = build_optimizer(model, OptimConfig(learning_rate=1e-2))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return model, optimizer


def make_all() -> None:
    """Makes every input below `at("")`."""
    tok = sg.Tokenizer.train(TEXTS, vocab_size=320, special_tokens=CONTROL_TOKENS)
    tok.save(at("tokenizer.json"))
    sg.write_shards(TEXTS, tok, at("shards"), max_tokens=400)
    records = [
        {"id": f"r{n}", "prompt": f"Question {n}?", "completions": [f"Yes {n}.", "No.", "Maybe."], "ranks": [1, 2, 2]}
        for n in range(20)
    ]
    at("rankings.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    model, optimizer = trained()
    at("model").mkdir()
    model.save_pretrained(at("model"))
    save_gguf(model, at("model.gguf"), GGUF_TOKENIZER, "{{ messages }}")
    tok.save(at("model/tokenizer.json"))
    publish_folder(at("published"), lambda folder: copy_into(at("model"), folder), kind="model")
    save_checkpoint(at("checkpoints"), model, optimizer, LoopState(step=2, tokens=20), CONFIG)
    save_checkpoint(at("checkpoints"), model, optimizer, LoopState(step=3, tokens=30), CONFIG)
    at("run.toml").write_text(dump(smoke_cpu()), encoding="utf-8")
    write_run_folder = runpy.run_path(str(ROOT / "tests" / "report" / "run_folder.py"))["write_run_folder"]
    write_run_folder(at("run"))
    write_lineage(at("run")) if not at("run/lineage.json").exists() else None


def finished_run() -> Path:
    """A finished run of the smallest recipe, made at first use: about a minute."""
    folder = at("finished")
    if not folder.exists():
        sg.run(small_run(), out=folder.with_name("finished.made"))
        folder.with_name("finished.made").rename(folder)
    return folder


def small_run() -> sg.RunConfig:
    """The smallest recipe on the corpus that the tests write."""
    corpus = at("corpus")
    if not corpus.exists():
        runpy.run_path(str(ROOT / "tests" / "small_corpus.py"))["write_small_corpus"](corpus)
    recipe = smoke_cpu(str(corpus))
    # Long enough that its samples can be ranked.
    return replace(recipe, pretrain=replace(recipe.pretrain, tokens=60 * 4 * 128), rl=replace(recipe.rl, steps=2))


def copy_into(source: Path, folder: Path) -> None:
    """The files of a folder, into one that exists."""
    shutil.copytree(source, folder, dirs_exist_ok=True, symlinks=True)


def sign_again(source: Path, final: Path, change: Callable[[Path], object], extra: Any = None) -> Path:
    """A copy of a published folder with `change` made and a manifest that fits it, as an attacker can write."""

    def write(folder: Path) -> None:
        """Copies the folder and changes it."""
        copy_into(source, folder)
        (folder / "manifest.json").unlink()
        change(folder)

    manifest = read_manifest(source)
    publish_folder(
        final,
        write,
        kind=manifest.kind,
        fingerprints=manifest.fingerprints,
        parents=manifest.parents,
        extra=manifest.extra if extra is None else extra,
    )
    return final


def command(*words: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """A command line; raises `Refused` where it ends with an explained error."""
    from stategpt.cli import main

    os.environ.update(environment or {})
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(io.StringIO()):
        try:
            code = main(list(words))
        except SystemExit as exit_:  # argparse
            code = exit_.code if isinstance(exit_.code, int) else 1
    if code != 0:
        raise Refused(f"exit status {code}")
    return code, said.getvalue()
