"""Shards, rankings, and what is no regular file in place of every file."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from changes import ODD_VALUES, dumped, flipped, json_bombs, retyped
from harness import Case, Kind
from workplace import at, sign_again

import stategpt as sg
from stategpt.artifacts import read_manifest


def _read_shards(path: Path, verify: bool) -> object:
    shards = sg.Shards.open(path)
    if verify:
        shards.verify()
    packed = sg.pack(shards, row_tokens=64)
    rows = [packed[row].tokens.tobytes() for row in range(min(len(packed), 40))]
    first = [shards.document(number).tobytes() for number in range(min(len(shards), 40))]
    return len(shards), shards.num_tokens, shards.length_histogram.tobytes(), rows, first


def _damaged(source: Path, case: Case) -> Path:
    """A copy with one of its files changed."""
    path = case.folder / source.name
    _copy(source, path)
    if not case.is_good:
        files = sorted(file for file in path.rglob("*") if file.is_file())
        file = case.draw.choice(files)
        file.write_bytes(flipped(file.read_bytes(), case.draw))
    return path


def _copy(source: Path, path: Path) -> None:
    from workplace import copy_into

    path.mkdir(parents=True)
    copy_into(source, path)


def shards_verified(case: Case) -> object:
    """Any byte of any file changed; opened and verified."""
    return _read_shards(_damaged(at("shards"), case), verify=True)


def shards_opened(case: Case) -> object:
    """The same, opened as a user does."""
    return _read_shards(_damaged(at("shards"), case), verify=False)


HISTOGRAMS = [
    [[1, 2**40]],
    [[0, 2**64 - 1]],
    [[2**40, 1]],
    [[1, 2**63]],
    [],
    [[1, 1]],
    [[-1, 1]],
    [[1, 1], [1, 1]],
    [[5]],
    7,
]


def shards_signed_again(case: Case) -> object:
    """A manifest, a header or values that are wrong under hashes that are right."""
    extra = dict(read_manifest(at("shards")).extra)
    names = sorted(file.relative_to(at("shards")) for file in at("shards").rglob("*.npy"))

    def change(folder: Path) -> None:
        """Damages one file of the folder."""
        if not case.is_good and case.number % 3 == 0:
            file = folder / case.draw.choice(names)
            content = bytearray(file.read_bytes())
            if case.draw.random() < 0.5:  # the header, which flips would seldom hit
                content[:128] = flipped(bytes(content[:128]), case.draw)
            else:
                content[128:] = flipped(bytes(content[128:]), case.draw)
            file.write_bytes(bytes(content))

    if not case.is_good and case.number % 3 == 1:
        extra = retyped(extra, case.draw)
        if not isinstance(extra, dict):
            extra = {}
    if not case.is_good and case.number % 3 == 2:
        key = case.draw.choice([name for name in extra if name == "length_histogram"] * 5 + list(extra))
        extra[key] = case.draw.choice(HISTOGRAMS if key == "length_histogram" else ODD_VALUES)
    return _read_shards(
        sign_again(at("shards"), case.folder / "shards", change, json.loads(_finite(extra))), verify=True
    )


def _finite(value: Any) -> str:
    return json.dumps(value).replace("NaN", "1e99").replace("Infinity", "1e99").replace("\\ud800", "x")


def _read_rankings(path: Path) -> object:
    rankings = sg.Rankings.read(path)
    return len(rankings), repr(rankings.summary()), [group.completions for group in list(rankings.groups)[:40]]


def rankings_flips(case: Case) -> object:
    """Bit flips and havoc: lines are rejected one by one."""
    path, good = case.folder / "rankings.jsonl", at("rankings.jsonl").read_bytes()
    path.write_bytes(good if case.is_good else flipped(good, case.draw))
    return _read_rankings(path)


def _endless_gzip() -> bytes:
    """1.5 GiB of zeros in 1.5 MB: members of one file, one after another."""
    return gzip.compress(bytes(16 << 20), mtime=0) * 96


def rankings_types(case: Case) -> object:
    """Values of other types, bombs, damaged and endless gzip."""
    lines = at("rankings.jsonl").read_bytes().splitlines()
    way = -1 if case.is_good else case.number % 4
    if way in (0, 1):
        lines[0] = dumped(retyped(json.loads(lines[0]), case.draw))
    if way == 2:
        lines[1] = case.draw.choice(json_bombs()).replace(b"\n", b" ")
    content, name = b"\n".join(lines) + b"\n", "rankings.jsonl"
    if way == 3:
        name, content = "rankings.jsonl.gz", gzip.compress(content, mtime=0)
        content = _endless_gzip() if case.number % 40 == 3 else flipped(content, case.draw)
    (case.folder / name).write_bytes(content)
    return _read_rankings(case.folder / name)


def _special(path: Path, sort: int) -> None:
    """A thing that is no regular file."""
    makers: list[Callable[[], object]] = [
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.mkdir(),
        lambda: path.symlink_to(path.name),
        lambda: path.symlink_to("missing"),
    ]
    makers[sort]()


def _readers() -> list[tuple[str, Callable[[Path], object]]]:
    from workplace import CONFIG, command, trained

    from stategpt.artifacts import Lineage, read_lines, verify
    from stategpt.config.toml import load

    def checkpoints(path: Path) -> object:
        """Loads the newest checkpoint."""
        from stategpt.train.checkpoint import load_latest_checkpoint

        return load_latest_checkpoint(path.parent.parent, *trained(), CONFIG)

    tok = sg.Tokenizer.load(at("tokenizer.json"))
    return [
        *_readers_of_user_files(),
        ("tokenizer.json", sg.Tokenizer.load),
        ("ranks.tiktoken", lambda path: sg.Tokenizer.from_tiktoken(path, "gpt4")),
        ("text.txt", lambda path: tok.encode_files([path])),
        ("text.txt", lambda path: sg.Tokenizer.train([path], vocab_size=300)),
        ("documents.jsonl", lambda path: list(_documents(path))),
        ("documents.txt", lambda path: list(_documents(path))),
        ("rankings.jsonl", _read_rankings),
        ("rankings.jsonl.gz", _read_rankings),
        ("shards/manifest.json", lambda path: _read_shards(path.parent, verify=True)),
        ("shards/shard-00000/tokens.npy", lambda path: _read_shards(path.parent.parent, verify=False)),
        ("model/config.json", lambda path: sg.GPT.from_pretrained(path.parent)),
        ("model/model.safetensors", lambda path: sg.GPT.from_pretrained(path.parent)),
        ("published/manifest.json", lambda path: verify(path.parent)),
        ("published/config.json", lambda path: verify(path.parent)),
        ("checkpoints/step-000003/state.json", checkpoints),
        ("checkpoints/step-000003/manifest.json", checkpoints),
        ("run.toml", load),
        ("run.toml", lambda path: command("plan", str(path))),
        ("run/lineage.json", lambda path: Lineage.read(path.parent).text()),
        ("lines.jsonl", read_lines),
        ("run/run.toml", lambda path: command("report", str(path.parent))),
        ("model/tokenizer.json", lambda path: command("tokenizer", "inspect", str(path.parent))),
    ]


def _readers_of_user_files() -> list[tuple[str, Callable[[Path], object]]]:
    from document_kinds import read

    from stategpt.data import formats
    from stategpt.data.sources import read_records, tokens

    def votes(path: Path) -> object:
        """Votes whose files are all the same one."""
        return formats.read_votes(path, path, path)

    names = ("a.jsonl", "a.jsonl.gz", "a.json", "a.md", "a.html", "a.warc", "a.warc.gz", "a.pdf", "a.parquet")
    sources: list[tuple[str, Callable[[Path], object]]] = [(name, lambda path: read(path.parent)) for name in names]
    return [
        *sources,
        ("a.parquet", lambda path: list(read_records(path))),
        ("a.bin", lambda path: list(tokens(path, end_of_text=0))),
        ("a.idx", lambda path: list(tokens(path.with_suffix(".bin"), end_of_text=0, format="megatron"))),
        ("chats.jsonl", formats.read_conversations),
        ("prompts.json", formats.read_prompts),
        ("hh.jsonl.zst", formats.read_ranked),
        ("votes.csv", votes),
    ]


def _documents(path: Path) -> Any:
    from stategpt.data import read_documents

    return read_documents(path)


READERS = 38
SORTS = 5


def special_files(case: Case) -> object:
    """A FIFO, an endless device, a folder, a link to itself, a link to nothing, in place of each file that is read."""
    name, read = _readers()[case.number // SORTS]
    top = name.split("/")[0]
    if "/" in name:
        _copy(at(top), case.folder / top)
        place = case.folder / name
        if not place.exists():  # a shard's folder has the name that the writer gave it
            place = sorted((case.folder / top).rglob(place.name))[0]
        place.unlink()
    else:
        place = case.folder / name
    _special(place, case.number % SORTS)
    return str(type(read(place)))


KINDS = [
    Kind(
        "FIFO, device, link, folder for every reader",
        special_files,
        (108, 77, 20, 0, 4, 0, 0, 7),
        fixed=READERS * SORTS,
        has_good=False,
    ),
    Kind("shards: opened and verified", shards_verified, (3450, 3450, 0, 0, 0, 0, 0, 0)),
    Kind("shards: opened as a user does", shards_opened, (3451, 2306, 218, 927, 0, 0, 0, 0)),
    Kind("shards: signed again", shards_signed_again, (971, 726, 222, 0, 4, 7, 10, 2)),
    Kind("rankings: flips, havoc", rankings_flips, (3300, 0, 415, 2885, 0, 0, 0, 0)),
    Kind("rankings: types, bombs, gzip", rankings_types, (1941, 100, 1814, 0, 27, 0, 0, 0)),
]
