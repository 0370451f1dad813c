"""Reads everything a corpus is made of, and counts what is not kept, by reason."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

from stategpt.config import CorpusConfig
from stategpt.data.sources.python_library.extension_modules import ExtensionModules, read_extension_modules
from stategpt.data.sources.python_library.parsing import ParsedFile, UnusableSourceError, decode, parse
from stategpt.data.sources.python_library.records import Entry
from stategpt.data.sources.python_library.source_files import (
    SourceFile,
    SourceFiles,
    interpreter_files,
    path_files,
)
from stategpt.errors import CorpusError

C_GROUP = "c_modules"
Text = tuple[str, str]
"""A document and its unit."""


def source_files(config: CorpusConfig) -> SourceFiles:
    """The files that `config` names. Raises `CorpusError` when a folder or package has none."""
    return path_files(config.paths) if config.paths else interpreter_files()


@dataclass(slots=True)
class Reading:
    """What was read, in order of preference, and what was not kept."""

    files: SourceFiles
    modules: ExtensionModules = field(default_factory=ExtensionModules)
    code: list[Text] = field(default_factory=list)
    comments: list[Text] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    groups: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    dropped: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    unusable: list[dict[str, str]] = field(default_factory=list)
    digests: set[bytes] = field(default_factory=set)

    @classmethod
    def of(cls, config: CorpusConfig) -> Reading:
        """Read C modules (of the interpreter's library) and files.

        Raises `CorpusError` for a missing, unreadable or empty folder, and for a bad file of the user's own.
        """
        reading = cls(source_files(config))
        if not config.paths:
            reading._add_modules(read_extension_modules())
        with warnings.catch_warnings():
            # Parsing warns of "\d" in other people's strings; as an error it would make good files unreadable.
            warnings.simplefilter("ignore")
            for file in reading.files.files:
                reading._add_file(file)
        return reading

    def distinct_documents(self, texts: Iterable[Text], source: str) -> list[Text]:
        """`texts` without exact repetitions and what cannot be written as UTF-8 (lone surrogates)."""
        first: dict[str, str] = {}
        for text, unit in texts:
            if self._is_new(text, text in first, source):
                first[text] = unit
        return list(first.items())

    def distinct_entries(self) -> list[Entry]:
        """Entries whose docstring no earlier one has, whatever the name: twins would leak between the splits."""
        first: dict[str, Entry] = {}
        for entry in self.entries:
            if self._is_new(entry.document, entry.text in first, "docstrings"):
                first[entry.text] = entry
        return list(first.values())

    def _is_new(self, document: str, seen: bool, source: str) -> bool:
        reason = "lone_surrogate" if not _is_utf8(document) else "duplicate" if seen else ""
        if reason:
            self.dropped[source][reason] += 1
        return not reason

    def _add_modules(self, modules: ExtensionModules) -> None:
        self.modules = modules
        self.entries += modules.entries
        size = sum(len(entry.document.encode()) for entry in modules.entries)
        counts = {"modules": len(modules.read), "docstrings": len(modules.entries), "docstring_bytes": size}
        self.groups[C_GROUP].update(counts)

    def _add_file(self, file: SourceFile) -> None:
        try:
            raw = file.path.read_bytes()
            self.groups[file.group].update(files=1, bytes=len(raw))
            digest = blake2b(raw, digest_size=16).digest()
            if digest in self.digests:
                self.dropped["files"]["identical_to_another"] += 1
                return
            self.digests.add(digest)
            self._add(file, parse(decode(raw), file.module, file.unit))
        except OSError as error:
            self._refuse(file, "unreadable", error.strerror or str(error))
        except UnusableSourceError as error:
            self._refuse(file, error.reason, str(error))

    def _add(self, file: SourceFile, parsed: ParsedFile) -> None:
        if parsed.code:
            self.code.append((parsed.code, file.unit))
        else:
            self.dropped["code"]["empty"] += 1
        self.comments += [(block, file.unit) for block in parsed.comments]
        self.entries += parsed.entries
        self.dropped["comments"]["no_words"] += parsed.wordless_comments
        self.dropped["docstrings"]["empty"] += parsed.empty_docstrings
        self.groups[file.group].update(
            code_bytes=len(parsed.code.encode()),
            comments=len(parsed.comments),
            comment_bytes=sum(len(block.encode()) for block in parsed.comments),
            docstrings=len(parsed.entries),
            docstring_bytes=sum(len(entry.document.encode(errors="surrogatepass")) for entry in parsed.entries),
        )

    def _refuse(self, file: SourceFile, reason: str, detail: str) -> None:
        if file.strict:
            raise CorpusError(
                f"{file.path}: {reason.replace('_', ' ')}: {detail}. Repair the file or move it out of corpus.paths."
            )
        self.dropped["files"][reason] += 1
        self.unusable.append({"file": file.shown, "reason": reason, "detail": detail})


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
