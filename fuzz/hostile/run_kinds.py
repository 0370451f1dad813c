"""Run folders, run.toml, the command line and the public functions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from changes import dumped, flipped, json_bombs, retyped
from data_kinds import _copy
from harness import Case, Kind
from workplace import TEXTS, at, command, finished_run, small_run, trained

import stategpt as sg
from stategpt.artifacts import Lineage
from stategpt.config.schema import setting_types
from stategpt.config.toml import load
from stategpt.ops import TensorLayout, attention


def _diamonds(count: int) -> dict[str, Any]:
    """A graph whose ways from first to last double with each step."""
    nodes = [{"id": "n0", "kind": "x", "path": "p0", "parents": [], "fingerprints": {}}]
    for number in range(count):
        above = nodes[-1]["id"]
        for side in "ab":
            nodes.append(
                {
                    "id": f"{number}{side}",
                    "kind": "x",
                    "path": f"{number}{side}",
                    "parents": [above],
                    "fingerprints": {},
                }
            )
        nodes.append(
            {
                "id": f"n{number + 1}",
                "kind": "x",
                "path": f"p{number + 1}",
                "parents": [f"{number}a", f"{number}b"],
                "fingerprints": {},
            }
        )
    return {"schema_version": 1, "nodes": nodes}


def lineage(case: Case) -> object:
    """lineage.json of other types, with cycles, unknown parents, exponentially many ways."""
    good: Any = json.loads(at("run/lineage.json").read_bytes())
    content = dumped(good)
    if not case.is_good:
        way = case.number % 5
        content = dumped(retyped(good, case.draw))
        if way == 3:
            content = case.draw.choice(json_bombs())
        elif way == 4 and case.number % 10 == 4:
            content = dumped(_diamonds(40))
        elif way == 4 and good["nodes"]:
            node = case.draw.choice(good["nodes"])
            node["parents"] = [case.draw.choice(good["nodes"])["id"], case.draw.choice(("x", node["id"]))]
            content = dumped(good)
    (case.folder / "lineage.json").write_bytes(content)
    found = Lineage.read(case.folder)
    return found.text(), len(found.chains())


def report(case: Case) -> object:
    """A file of a run folder changed, or its values of other types; then `stategpt report`."""
    folder = case.folder / "run"
    _copy(at("run"), folder)
    if not case.is_good:
        files = [file for file in sorted(folder.rglob("*")) if file.suffix in (".json", ".jsonl", ".toml")]
        file = case.draw.choice(files)
        content = file.read_bytes()
        if file.suffix == ".json" and case.draw.random() < 0.6:
            content = dumped(retyped(json.loads(content), case.draw))
        elif file.suffix == ".jsonl" and content.strip() and case.draw.random() < 0.6:
            lines = content.splitlines()
            number = case.draw.randrange(len(lines))
            lines[number] = dumped(retyped(json.loads(lines[number]), case.draw))
            content = b"\n".join(lines) + b"\n"
        elif case.draw.random() < 0.2:
            content = case.draw.choice(json_bombs())
        else:
            content = flipped(content, case.draw)
        file.write_bytes(content)
    command("report", str(folder))
    return (folder / "report" / "index.html").read_bytes().replace(str(case.folder).encode(), b"")


def run_again(case: Case) -> object:
    """A file of a finished run removed or changed, then the run again: refused, or the models of before."""
    folder = case.folder / "run"
    shutil.copytree(at("finished"), folder, symlinks=True)
    if not case.is_good:
        files = [file for file in sorted(folder.rglob("*")) if file.is_file() and "report" not in file.parts]
        file = case.draw.choice(files)
        if case.number % 2:
            file.unlink()
        else:
            file.write_bytes(flipped(file.read_bytes() or b"\n", case.draw))
    sg.run(small_run(), out=folder)
    return [path.read_bytes() for path in sorted(folder.glob("*/model/model.safetensors"))]


def toml_flips(case: Case) -> object:
    """Bit flips and havoc in run.toml."""
    path, good = case.folder / "run.toml", at("run.toml").read_bytes()
    path.write_bytes(good if case.is_good else flipped(good, case.draw))
    return repr(load(path))


TOML_BOMBS = [
    "x=" + "[" * 100_000,
    "x=" + "[" * 3_000 + "]" * 3_000,
    "x=" + "{a=" * 5_000 + "1" + "}" * 5_000,
    "seed = " + "9" * 5_000,
    "seed = " + "9" * 4_000,
    "a." * 100_000 + "b = 1",
    "a." * 300 + "b = 1",
    "a" * 1_000_000 + " = 1",
    "[" + "a." * 50_000 + "b]",
    "[rl]\n" + "x" * 100_000 + " = 1",
    "\n".join(f"key{number} = 1" for number in range(50_000)),
    "\n".join(f"[section{number}]" for number in range(50_000)),
    'name = "' + "x" * 5_000_000 + '"',
    'name = "/etc/x"',
    'name = "../../x"',
    'name = "a\\u0000b"',
    'name = "\\u001b]0;title\\u0007"',
    "seed = nan",
    "[rl]\nbeta = inf",
    "[rl]\nbeta = -nan",
    "[model]\ndepth = 9223372036854775807",
    "[model]\ndepth = 1979-05-27",
    "[corpus]\nproportions = 5",
    "[corpus.proportions]\n" + "\n".join(f"k{number} = 0.1" for number in range(10_000)),
    "\ufeffseed = 1",
    "seed = 1\nseed = 2",
    "rl = 5",
    "",
    "\x00",
    "=" * 100_000,
]


def toml_bombs(case: Case) -> object:
    """TOML that is deep, long, wide, or names what it must not."""
    path = case.folder / "run.toml"
    path.write_text(TOML_BOMBS[case.number], encoding="utf-8")
    return command("plan", str(path))[0]


ABSURD = (
    "0",
    "-1",
    "1",
    "1e308",
    "-1e308",
    "nan",
    "inf",
    "1e-320",
    "2147483648",
    "9223372036854775808",
    "18446744073709551616",
    "1" + "0" * 30,
    "9" * 5_000,
    "",
    " ",
    "x",
    "true",
    "[]",
    "{}",
    "\u0000",
    "../x",
    "a,b,c",
    "0.5",
    "1e5",
)


def plan_absurd(case: Case) -> object:
    """`stategpt plan tiny_cpu --SECTION.KEY VALUE`, one or two settings at a time."""
    words = ["plan", "tiny_cpu"]
    for _ in range(1 if case.is_good else case.draw.choice((1, 1, 2))):
        if not case.is_good:
            words += [f"--{case.draw.choice(sorted(setting_types()))}", case.draw.choice(ABSURD)]
    return command(*words)


COMMAND_BOMBS: list[list[str]] = [
    ["plan", "tiny_cpu", "--" + "a." * 50_000 + "b", "1"],
    ["plan", "tiny_cpu", "--" + "x" * 100_000, "1"],
    ["plan", "tiny_cpu", "--seed", "9" * 100_000],
    ["plan", "x" * 100_000],
    ["plan", "\u0000"],
    ["plan", "/dev/zero"],
    ["plan", "a/" * 3_000],
    ["report", "\u0000"],
    ["report", "x" * 100_000],
    ["explain", "\u0000"],
    ["explain", "/dev/zero"],
    ["tokenizer", "inspect", "/dev/zero"],
    ["tokenizer", "encode", "/dev/zero", "x"],
    ["tokenizer", "inspect", "\u0000"],
    ["x" * 100_000],
    ["\u001b]0;title\u0007"],
    ["plan", "tiny_cpu", *(["--seed", "1"] * 5_000)],
    ["run", "tiny_cpu", "--out", "\u0000"],
    ["plan", "tiny_cpu", "--seed"],
    [],
]


def command_bombs(case: Case) -> object:
    """Arguments that are long, deep, of other characters, or devices."""
    return command(*COMMAND_BOMBS[case.number])[0]


def _with_whole_numbers(number: int) -> list[Callable[[], object]]:
    """Calls that take a size, an id, a place or a number of things."""
    tok, packed, model, layout, mixture = _objects()
    shards, q = sg.Shards.open(at("shards")), torch.zeros(8, 2, 8)
    return [
        lambda: sg.Tokenizer.train(TEXTS, vocab_size=number),
        lambda: sg.Tokenizer.train(TEXTS, vocab_size=300, min_frequency=number),
        lambda: sg.Tokenizer.train(TEXTS, vocab_size=300, threads=number),
        lambda: sg.Tokenizer.train(TEXTS, vocab_size=300, memory_limit=number),
        lambda: tok.decode([number]),
        lambda: tok.encode("text", max_tokens=number),
        lambda: tok.encode_batch(["text"], threads=number),
        lambda: sg.pack(shards, row_tokens=number),
        lambda: packed[number],
        lambda: packed.batch(number, 2),
        lambda: packed.batch(0, number),
        lambda: shards.document(number),
        lambda: mixture[number],
        lambda: next(sg.Loader(mixture, batch_rows=number)),
        lambda: next(sg.Loader(mixture, batch_rows=2, start=number)),
        lambda: sg.Layout.padded([number], 8),
        lambda: sg.Layout.padded([8], number),
        lambda: sg.Layout.packed([[number]], 8),
        lambda: sg.Engine(model, tok, batch_rows=number).generate(["a"], max_tokens=2),
        *(lambda key=key: sg.Engine(model, tok).generate(["a"], **{"max_tokens": 2, key: number}) for key in SAMPLING),
        lambda: attention(q, q, q, layout, window=number),
        lambda: sg.GPTConfig(vocab_size=number),
    ]


SAMPLING = ("n", "max_tokens", "seed", "top_k")


def _with_reals(real: float) -> list[Callable[[], object]]:
    """Calls that take a real number."""
    tok, packed, model, layout, _ = _objects()
    q = torch.zeros(8, 2, 8)
    return [
        lambda: sg.Engine(model, tok).generate(["a"], max_tokens=2, temperature=real),
        lambda: sg.Engine(model, tok).generate(["a"], max_tokens=2, top_p=real),
        lambda: sg.Mixture({"a": (packed, real)}, seed=0)[0],
        lambda: attention(q, q, q, layout, scale=real),
        lambda: attention(q, q, q, layout, softcap=real),
    ]


def _with_other_values() -> list[Callable[[], object]]:
    """Calls with texts that are none, names that are taken, things that are missing or too large."""
    tok, q = sg.Tokenizer.load(at("tokenizer.json")), torch.zeros(8, 2, 8)
    return [
        lambda: sg.Tokenizer.train(TEXTS, vocab_size=300, special_tokens=["\ud800"]),
        lambda: sg.Tokenizer.train(TEXTS, vocab_size=300, special_tokens=[""]),
        lambda: sg.Tokenizer.train(TEXTS, vocab_size=300, special_tokens=["a", "a"]),
        lambda: sg.Tokenizer.train(
            TEXTS, vocab_size=2_000_000, special_tokens=[f"<{number}>" for number in range(1_000_000)]
        ),
        lambda: sg.Tokenizer.train(["\ud800"], vocab_size=300),
        lambda: sg.Tokenizer.train(TEXTS, vocab_size=300, pattern="(a+)+$"),
        lambda: sg.Tokenizer.train(TEXTS, vocab_size=300, pattern="(" * 5_000),
        lambda: tok.encode("\ud800"),
        lambda: len(tok.encode("a" * 400_000_000)),
        lambda: sg.write_shards(["x"], tok, "/proc/x/y"),
        lambda: sg.write_shards([sg.TokenizedDocument(np.array([2**31], np.uint32))], tok, at("made")),
        lambda: sg.Mixture({}, seed=0),
        lambda: sg.Rankings.read([{"a": object()}]),
        lambda: sg.Rankings.read(at("")),
        lambda: sg.Shards.open("\u0000"),
        lambda: sg.GPT.from_pretrained("\u0000"),
        lambda: attention(q, q, q, TensorLayout.of(sg.Layout.padded([4], 4))),
    ]


@cache
def _objects() -> tuple[sg.Tokenizer, sg.Packed, sg.GPT, TensorLayout, sg.Mixture]:
    """What the calls are made on: small, and whole. Each child makes them once."""
    packed = sg.pack(sg.Shards.open(at("shards")), row_tokens=64)
    layout = TensorLayout.of(sg.Layout.padded([8], 8))
    mixture = sg.Mixture({"a": (packed, 1.0)}, seed=0)
    return sg.Tokenizer.load(at("tokenizer.json")), packed, trained()[0].eval(), layout, mixture


def _calls() -> list[Callable[[], object]]:
    """Public functions with sizes that no memory holds, numbers out of range, ids that are none."""
    whole = [call for number in WHOLE_NUMBERS for call in _with_whole_numbers(number)]
    real = [call for number in REALS for call in _with_reals(number)]
    return [*whole, *real, *_with_other_values()]


WHOLE_NUMBERS = (0, -1, 2**31, 2**34, 2**40, 2**62, 2**63, 2**64)
REALS = (0.0, -1.0, float("nan"), float("inf"), 1e308)
CALLS = 8 * 25 + 5 * 5 + 17


def public_calls(case: Case) -> object:
    """One call of `_calls`."""
    calls = _calls()
    assert len(calls) == CALLS
    return str(type(calls[case.number]()))


KINDS = [
    Kind("lineage.json: types, graphs", lineage, (606, 170, 205, 0, 230, 0, 0, 1)),
    Kind("run folder, then `stategpt report`", report, (542, 0, 470, 0, 72, 0, 0, 0), share=0.3, timeout_s=90),
    Kind("run folder, then `stategpt run`", run_again, (198, 113, 83, 0, 2, 0, 0, 0), share=0.1, timeout_s=300),
    Kind("run.toml: flips, havoc", toml_flips, (2500, 1247, 1253, 0, 0, 0, 0, 0)),
    Kind("run.toml: bombs", toml_bombs, (30, 15, 10, 0, 3, 0, 0, 2), fixed=len(TOML_BOMBS), has_good=False),
    Kind("`stategpt plan --SECTION.KEY VALUE`", plan_absurd, (2500, 0, 2404, 0, 96, 0, 0, 0)),
    Kind("command line: bombs", command_bombs, (9, 0, 3, 0, 4, 0, 0, 2), fixed=len(COMMAND_BOMBS), has_good=False),
    Kind(
        "public functions: absurd arguments",
        public_calls,
        (85, 49, 10, 0, 17, 1, 7, 1),
        fixed=CALLS,
        has_good=False,
        timeout_s=60,  # the first case of a child makes the objects
    ),
]


def needs_finished_run(kinds: list[Kind]) -> bool:
    """Is `run_again` among them?"""
    return any(kind.attempt is run_again for kind in kinds)


def make_finished_run() -> Path:
    """See `workplace.finished_run`."""
    return finished_run()
