"""What is measured: every job of every axis, in the order in which rounds are interleaved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Job = dict[str, Any]

OURS = "stategpt"
FAST = (OURS, "gigatoken", "fastokens", "toktok-rs", "quicktok-v1")
SLOW = ("tuetoken", "tiktoken", "tokenizers")
LEADERS = (OURS, "gigatoken", "fastokens")
READ_JSON = (OURS, "gigatoken", "fastokens", "tuetoken", "tokenizers")
# toktok-rs has no llama3; it and quicktok-v1 bring their vocabularies along.
LACKS = {("toktok-rs", "llama3")}
KINDS = ("prose", "code", "multi")
AXES = ("check", "encode", "paired", "threads", "floods", "short", "decode", "memory", "load", "train", "train_large")
OWNER = {"cl100k": "tiktoken", "o200k": "tiktoken", "llama3": "tokenizers"}


@dataclass(frozen=True)
class Plan:
    """How much is measured. `megabytes` of each corpus; times and trainings take shares of it.

    Processes that take turns encode `paired_megabytes`, `turns` times each; `fresh_turns` of them are new ones.
    """

    corpora: dict[str, str]
    vocabularies: str
    folder: Path
    names: tuple[str, ...]
    megabytes: float
    check_megabytes: float
    train_megabytes: float
    large_megabytes: float
    limit_s: float
    paired_megabytes: float
    turns: int
    fresh_turns: int
    rounds: int
    quick: bool


QUICK: dict[str, Any] = {
    "megabytes": 10.0, "check_megabytes": 1.0, "train_megabytes": 6.0, "large_megabytes": 0.0, "limit_s": 0.5,
    "paired_megabytes": 8.0
}  # fmt: skip
FULL: dict[str, Any] = {
    "megabytes": 40.0, "check_megabytes": 8.0, "train_megabytes": 50.0, "large_megabytes": 1000.0, "limit_s": 2.0,
    "paired_megabytes": 8.0
}  # fmt: skip


def scaled(size: dict[str, Any], scale: float) -> dict[str, Any]:
    """More or less text, and time for it."""
    return {name: value * scale for name, value in size.items()}


def jobs(plan: Plan, axis: str) -> Iterator[Job]:
    """The jobs of one axis; `rounds` says how often each is done."""
    for job in _AXES[axis](plan):
        rounds = job.pop("rounds", plan.rounds)
        yield {**job, "axis": axis, "rounds": rounds}


def _base(plan: Plan, job: str, library: str, vocabulary: str, **more: Any) -> Job:
    return {
        "job": job,
        "library": library,
        "vocabularies": plan.vocabularies,
        "vocabulary": vocabulary,
        "threads": 1,
        "limit_s": plan.limit_s,
        **more,
    }


def _pairs(plan: Plan, libraries: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for vocabulary in plan.names:
        yield from ((library, vocabulary) for library in libraries if (library, vocabulary) not in LACKS)


def _corpus(plan: Plan, kind: str, megabytes: float | None = None) -> Job:
    return {"kind": kind, "corpus": plan.corpora[kind], "megabytes": megabytes or plan.megabytes}


def _check(plan: Plan) -> Iterator[Job]:
    for kind in KINDS:
        for library, vocabulary in _pairs(plan, FAST + SLOW):
            source = _corpus(plan, kind, plan.check_megabytes)
            yield _base(plan, "check", library, vocabulary, **source, rounds=1)


def _encode(plan: Plan) -> Iterator[Job]:
    for kind in KINDS:
        for library, vocabulary in _pairs(plan, FAST + SLOW):
            # The slow ones are here to be named: one round, on fewer documents.
            slow = {"rounds": 1, "limit_s": min(1.0, plan.limit_s)} if library in SLOW else {}
            for mode in _modes(plan, library):
                yield _base(plan, "encode", library, vocabulary, **{"mode": mode, **_corpus(plan, kind), **slow})


def _modes(plan: Plan, library: str) -> tuple[str, ...]:
    """Ways to call it; --quick leaves out the one that was never the faster."""
    if plan.quick and library not in LEADERS:
        return ("one",) if library in SLOW else ("batch",)
    return ("one", "batch")


def _threads(plan: Plan) -> Iterator[Job]:
    vocabulary = plan.names[0]
    for kind in KINDS[:1] if plan.quick else KINDS:
        for library in LEADERS:
            yield _base(plan, "shared", library, vocabulary, **{**_corpus(plan, kind), "threads": 2})
            for threads in (1, 2):
                source = {**_corpus(plan, kind), "threads": threads, "mode": "batch"}
                yield _base(plan, "encode", library, vocabulary, **source)


def _paired(plan: Plan) -> Iterator[Job]:
    """Processes that take turns; each job has its rounds inside. `turns.py` says what is timed."""
    for vocabulary in plan.names:
        contenders = [[library, mode] for mode in ("one", "batch") for library in LEADERS]
        for kind in KINDS:
            source = _corpus(plan, kind, plan.paired_megabytes) | {"owner": OWNER[vocabulary], "rounds": 1}
            yield _base(plan, "turns", OURS, vocabulary, **source, contenders=contenders, turns=plan.turns)
            yield _base(plan, "fresh", OURS, vocabulary, **source, contenders=contenders, turns=plan.fresh_turns)
            for library in LEADERS:
                yield _base(plan, "scaling", library, vocabulary, **source, turns=plan.turns)


def _floods(plan: Plan) -> Iterator[Job]:
    for library in FAST + SLOW:
        yield _base(plan, "floods", library, plan.names[0], bytes=1_000_000, **_once(library))


def _once(library: str) -> Job:
    return {"rounds": 1} if library in SLOW else {}


def _short(plan: Plan) -> Iterator[Job]:
    source = _corpus(plan, "prose", min(4.0, plan.megabytes))
    for library in FAST + SLOW:
        yield _base(plan, "short", library, plan.names[0], **source, **_once(library))


def _decode(plan: Plan) -> Iterator[Job]:
    for kind in ("prose", "multi") if plan.quick else KINDS:
        source = _corpus(plan, kind, min(10.0, plan.megabytes)) | {"limit_s": min(1.0, plan.limit_s)}
        for library in FAST + SLOW:
            # tuetoken is slow to encode only.
            once = {} if library == "tuetoken" else _once(library)
            yield _base(plan, "decode", library, plan.names[0], **source | once)


def _memory(plan: Plan) -> Iterator[Job]:
    ways = (("one", 1), ("batch", 2)) if plan.quick else (("one", 1), ("batch", 1), ("batch", 2))
    for library, vocabulary in _pairs(plan, FAST + SLOW):
        source = _corpus(plan, "multi", min(plan.megabytes, plan.megabytes if library in FAST else 4.0))
        for mode, threads in ways:
            more = {**source, "mode": mode, "threads": threads}
            yield _base(plan, "memory", library, vocabulary, **more, rounds=1)


def _load(plan: Plan) -> Iterator[Job]:
    for library in READ_JSON:
        yield _base(plan, "load", library, "llama3")


def _train(plan: Plan) -> Iterator[Job]:
    for kind in KINDS:
        for pattern, documents, libraries in _trainings(plan, kind):
            for library in libraries:
                once = {} if library.startswith((OURS, "gigabpe")) else {"rounds": 1}
                yield _training(plan, kind, plan.train_megabytes, library, pattern, documents) | once


def _trainings(plan: Plan, kind: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Pattern, rule of documents, and who can do it."""
    yield "gpt2", "lines", (f"{OURS} files", "gigabpe files", "tokenizers files")
    if not plan.quick:  # on little text gigatoken is lost in ties: minutes
        yield "gpt2", "whole", (OURS, "gigatoken files", "tokenizers")
    yield "gpt4", "whole", (OURS, "rustbpe", "tokenizers")
    if not plan.quick or kind == "prose":
        yield "o200k", "whole", (OURS, "tokenizers")


def _train_large(plan: Plan) -> Iterator[Job]:
    if plan.large_megabytes:
        for library in (f"{OURS} files", "gigabpe files"):
            yield _training(plan, "large", plan.large_megabytes, library, "gpt2", "lines") | {"rounds": 1}


def _training(plan: Plan, kind: str, megabytes: float, library: str, pattern: str, documents: str) -> Job:
    stem = f"{kind}-{megabytes:.0f}"
    return {
        "job": "train",
        "library": library,
        "kind": kind,
        "corpus": plan.corpora.get(kind, ""),
        "megabytes": megabytes,
        "plain": str(plan.folder / f"{stem}.txt"),
        "separated": str(plan.folder / f"{stem}.separated.txt"),
        "pattern": pattern,
        "documents": documents,
        "size": 32_000,
        "threads": 2,
        "out": str(plan.folder / f"{stem}-{pattern}-{documents}-{library.replace(' ', '-')}.tokens.json"),
    }


_AXES = {
    "check": _check,
    "encode": _encode,
    "paired": _paired,
    "threads": _threads,
    "floods": _floods,
    "short": _short,
    "decode": _decode,
    "memory": _memory,
    "load": _load,
    "train": _train,
    "train_large": _train_large,
}
