"""What a user writes and what is made of it: the TOML file of a run, the curated folder and the corpus."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path

from changes import dumped, flipped, json_bombs, retyped
from harness import Case, Kind
from workplace import ROOT, at, command, copy_into, sign_again

from stategpt.config.toml import load
from stategpt.data.corpus import read_corpus
from stategpt.data.curation import read_curated
from stategpt.pipeline import build_data

TOML = """
seed = 0

[corpus]
validation_share = 0.1
test_share = 0.1
max_rejected_share = 0.01
on_change = "refuse"

[sources.docs]
paths = ["files/docs/**/*.md"]
share = 0.5
group = "document"
max_epochs = 4.0

[sources.notes]
paths = ["files/notes.jsonl"]
text = "body"
id = "id"
share = 0.5
invalid_text = "replace"

[curate]
clean = true
rules = ["c4", "-c4_sentences_min"]
min_characters = 20
exact_duplicates = true
near_duplicates = true
near_duplicate_threshold = 0.8
pii = "replace"
decontaminate = true


[sft]
data = ["files/chats.jsonl", "files/alpaca.json"]
too_long = "keep_last_turns"
loss_on = "all"

[rankings]
data = ["files/hh.jsonl"]

[evaluate]
prompts = ["files/prompts.jsonl"]
"""
ODD_TEXTS = (
    *("0", "-1", "1", "0.5", "nan", "inf", "-inf", "1e308", "1e-320", "9223372036854775807", "9" * 4000, "true"),
    *('""', '" "', '"x"', '"\\u0000"', '"../x"', '"/dev/zero"', '"/"', '"**"', '"["', '"~"', '"' + "a/" * 3000 + '"'),
    *("[]", "[[]]", "{}", '["x", 1]', '[""]', '["**"]', '["files"]', '["files/*"]', '["/proc/self/*"]', "{a = 1}"),
    *("[" + '"x",' * 50_000 + "]", '"""' + "x\n" * 1000 + '"""', "1979-05-27", '["files/docs/page0.md"]', '"module:f"'),
)


def _user_folder(case: Case, text: str) -> Path:
    copy_into(at("user"), case.folder)
    path = case.folder / "mine.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return path


def _plan(case: Case, text: str) -> object:
    path = _user_folder(case, text)
    found = repr(load(path)).replace(str(case.folder), "")
    return found, command("plan", str(path))[0]


def toml_flips(case: Case) -> object:
    """Bytes changed."""
    content = TOML.encode() if case.is_good else flipped(TOML.encode(), case.draw)
    return _plan(case, content.decode(errors="replace"))


def toml_values(case: Case) -> object:
    """A line left out, twice, in another section, or with another value."""
    lines = TOML.strip().splitlines()
    for _ in range(0 if case.is_good else case.draw.choice((1, 1, 2))):
        place = case.draw.choice([number for number, line in enumerate(lines) if line])
        way, line = case.draw.randrange(8), lines[place]
        if way == 0:
            del lines[place]
        elif way == 1:
            lines.insert(case.draw.randrange(len(lines)), line)
        elif " = " in line:
            lines[place] = f"{line.partition(' = ')[0]} = {case.draw.choice(ODD_TEXTS)}"
        else:
            lines[place] = case.draw.choice(
                ("[sources]", "[sources.x.y]", '[sources."a/b"]', "[[sources]]", "[x]", "[rl]")
            )
    return _plan(case, "\n".join(lines))


def _changed_file(case: Case, source: Path, way: int) -> Callable[[Path], object]:
    """What damages one file of a published folder: bytes, or rows with values of other types."""
    names = sorted(
        path.relative_to(source) for path in source.rglob("*") if path.is_file() and path.name != "manifest.json"
    )
    name = case.draw.choice(names)

    def change(folder: Path) -> None:
        """Damages the file."""
        content = (folder / name).read_bytes()
        if way == 0 or not content.strip() or name.suffix not in (".json", ".jsonl"):
            content = flipped(content or b"x", case.draw)
        elif way == 1:
            content = case.draw.choice(json_bombs()) + b"\n"
        elif name.suffix == ".json":
            content = dumped(retyped(json.loads(content), case.draw))
        else:
            lines = content.splitlines()
            place = case.draw.randrange(len(lines))
            lines[place] = dumped(retyped(json.loads(lines[place]), case.draw))
            content = b"\n".join(lines) + b"\n"
        (folder / name).write_bytes(content)

    return change


def _read_all(folder: Path, name: str) -> object:
    if name == "corpus":
        corpus = read_corpus(folder)
        return repr(corpus), [
            repr(list(split.of(side))) for split in corpus.sources.values() for side in ("train", "test")
        ]
    curated = read_curated(folder)
    return (
        repr(curated.summary),
        [repr(list(curated.documents(source))) for source in curated.summary.sources],
        [repr(each) for each in curated.removed()],
    )


def _published(name: str) -> Callable[[Case], object]:
    def attempt(case: Case) -> object:
        """A file changed under the manifest of before."""
        folder = case.folder / name
        folder.mkdir()
        copy_into(at(f"built/{name}"), folder)
        if not case.is_good:
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            file = case.draw.choice(files)
            file.write_bytes(flipped(file.read_bytes() or b"x", case.draw))
        return _read_all(folder, name)

    return attempt


def _signed_again(name: str) -> Callable[[Case], object]:
    def attempt(case: Case) -> object:
        """A file changed, and a manifest that fits it."""
        source = at(f"built/{name}")
        change = (lambda folder: None) if case.is_good else _changed_file(case, source, case.number % 4)
        return _read_all(sign_again(source, case.folder / name, change), name)

    return attempt


def data_commands(case: Case) -> object:
    """`stategpt data stats` and `verify` on a run whose corpus or curation is changed and signed again."""
    out, name = case.folder / "run", case.draw.choice(("corpus", "curation"))
    out.mkdir()
    copy_into(at("built"), out)
    source = out / name
    if not case.is_good:
        changed = sign_again(source, case.folder / "changed", _changed_file(case, source, 1 + case.number % 3))
        for path in sorted(source.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        source.rmdir()
        changed.rename(source)
    toml = _user_folder(case, TOML)
    said = [command("data", word, str(toml), "--out", str(out))[1] for word in ("stats", "verify")]
    return [text.replace(str(case.folder), "") for text in said]


def inspect(case: Case) -> object:
    """`stategpt data inspect` on files of chats and preferences that are changed."""
    toml = _user_folder(case, TOML)
    if not case.is_good:
        path = case.folder / "files" / case.draw.choice(("chats.jsonl", "alpaca.json", "hh.jsonl", "prompts.jsonl"))
        lines = path.read_bytes().splitlines()
        if case.number % 2:
            place = case.draw.randrange(len(lines))
            lines[place] = dumped(retyped(json.loads(lines[place]), case.draw))
            path.write_bytes(b"\n".join(lines) + b"\n")
        else:
            path.write_bytes(flipped(path.read_bytes(), case.draw))
    said = command("data", "inspect", str(toml), "--out", str(case.folder / "none"), "--corpus.max_rejected_share", "1")
    return said[1].replace(str(case.folder), "")


def make_user_files() -> None:
    """Files of a user, and the curated folder and the corpus that are made of them."""
    writer = runpy.run_path(str(ROOT / "tests" / "user_files.py"))["Writer"](at("user") / "files")
    writer.everything(40)
    writer.lines("prompts.jsonl", ({"prompt": f"Question {number}?", "reference": "Yes."} for number in range(5)))
    path = at("user") / "mine.toml"
    path.write_text(TOML, encoding="utf-8")
    build_data(load(path), at("built"))


KINDS = [
    Kind("a user's TOML: flips, havoc", toml_flips, share=0.5),
    Kind("a user's TOML: values, sections", toml_values, share=0.5),
    Kind("curated folder: flips", _published("curation")),
    Kind("curated folder: signed again", _signed_again("curation")),
    Kind("corpus of a user: flips", _published("corpus")),
    Kind("corpus of a user: signed again", _signed_again("corpus")),
    Kind("`stategpt data stats`, `verify` on changed folders", data_commands, share=0.3),
    Kind("`stategpt data inspect` on changed files", inspect, share=0.3, timeout_s=60),
]
