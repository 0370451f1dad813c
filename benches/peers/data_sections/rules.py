"""Cleaning and quality rules: speed beside datatrove's filters on the same documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from stategpt.config.curate import PUBLISHED, RULE_GROUPS, CurateConfig
from stategpt.data.curation.rules import TextRules
from stategpt.data.records import Document

from .bench import Bench, Row, rates, size_of

# No value is below 0 or beyond this: every statistic is computed of every text, and nothing is removed early.
BEYOND = 1e12
PEER_MEGABYTES = 0.5


def rows(bench: Bench) -> Iterator[Row]:
    """All figures of this section."""
    loose = {name: 0.0 if name.endswith(LEAST) else BEYOND for name in PUBLISHED if not name.startswith("c4")}
    measured = CurateConfig(clean=True, rules=RULE_GROUPS[1:], thresholds=loose)
    with_language = "clean, all rules and language"
    settings = {
        "clean": CurateConfig(clean=True),
        "clean and all rules": CurateConfig(clean=True, rules=RULE_GROUPS),
        with_language: CurateConfig(clean=True, rules=RULE_GROUPS, languages=("en",)),
        "clean and all statistics, nothing removed": measured,
        "the same and language": replace(measured, languages=("en",)),
        "language": CurateConfig(languages=("en",)),
    }
    jobs = {name: _job(config, bench.documents) for name, config in settings.items()}
    speeds = rates(bench.seconds(jobs), dict.fromkeys(jobs, bench.bytes))
    for name, speed in speeds.items():
        yield Row(name, "MB/s", speed, {}, ">= 40" if name == with_language else "")
    yield from _beside_datatrove(bench)


LEAST = ("_min", "stop_words", "alphabetic_words", "punctuated_lines")
"""Ends of the names of rules whose threshold is a least value."""


def _job(config: CurateConfig, documents: list[Document]) -> Any:
    rules = TextRules(config)
    return lambda: [rules.apply(documents[at : at + 512]) for at in range(0, len(documents), 512)]


def _beside_datatrove(bench: Bench) -> Iterator[Row]:
    """The groups of rules, without cleaning and language, on the same documents; datatrove takes words from spaCy."""
    few = bench.first(PEER_MEGABYTES)
    jobs: dict[str, Callable[[], list[bool]]] = {"stategpt": lambda: _verdicts(CurateConfig(rules=RULE_GROUPS), few)}
    if all(bench.peer(name) is not None for name in ("datatrove", "spacy", "nltk")):
        jobs["datatrove"] = _datatrove(few)
    speeds = rates(bench.seconds(jobs), dict.fromkeys(jobs, size_of(few)))
    own = speeds.pop("stategpt")
    yield Row(f"all rules, {len(few)} documents", "MB/s", own, speeds)
    if "datatrove" in jobs:
        pairs = list(zip(jobs["stategpt"](), jobs["datatrove"](), strict=True))
        yield Row(
            "of these, same verdict as datatrove", "share", sum(ours == theirs for ours, theirs in pairs) / len(pairs)
        )


def _verdicts(config: CurateConfig, documents: list[Document]) -> list[bool]:
    """Whether each document is kept."""
    return [isinstance(judged.outcome, Document) for judged in TextRules(config).apply(documents)]


def _datatrove(documents: list[Document]) -> Callable[[], list[bool]]:
    from datatrove.data import Document as Peer
    from datatrove.pipeline import filters

    chain = (filters.C4QualityFilter(), filters.GopherQualityFilter(), filters.GopherRepetitionFilter())
    chain += (filters.FineWebQualityFilter(),)

    def judge() -> list[bool]:
        """Asks the filters in order, until one refuses."""
        peers = [Peer(text=document.text, id=str(number)) for number, document in enumerate(documents)]
        return [all(each.filter(peer) is True for each in chain) for peer in peers]

    return judge
