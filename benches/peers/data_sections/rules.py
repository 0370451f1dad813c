"""Cleaning and quality rules: speed beside datatrove's filters on the same documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stategpt.config.curate import PUBLISHED, RULE_GROUPS, CurateConfig
from stategpt.data.curation.rules import TextRules
from stategpt.data.records import Document

from .bench import Bench, Row, rates, size_of

# No value is below 0 or beyond this: every statistic is computed of every text, and nothing is removed early.
BEYOND = 1e12
PEER_MEGABYTES = 0.3


def rows(bench: Bench) -> Iterator[Row]:
    """All figures of this section."""
    loose = {name: 0.0 if name.endswith(LEAST) else BEYOND for name in PUBLISHED if not name.startswith("c4")}
    settings = {
        "clean": CurateConfig(clean=True),
        "clean and all rules": CurateConfig(clean=True, rules=RULE_GROUPS),
        "clean and all statistics, nothing removed": CurateConfig(clean=True, rules=RULE_GROUPS[1:], thresholds=loose),
        "language": CurateConfig(languages=("en",)),
    }
    jobs = {name: _job(config, bench.documents) for name, config in settings.items()}
    speeds = rates(bench.seconds(jobs), dict.fromkeys(jobs, bench.bytes))
    peers = _datatrove(bench)
    for name, speed in speeds.items():
        of_rules = name == "clean and all rules"
        yield Row(name, "MB/s", speed, peers if of_rules else {}, ">= 40" if of_rules else "")


LEAST = ("_min", "stop_words", "alphabetic_words", "punctuated_lines")
"""Ends of the names of rules whose threshold is a least value."""


def _job(config: CurateConfig, documents: list[Document]) -> Any:
    rules = TextRules(config)
    return lambda: [rules.apply(documents[at : at + 512]) for at in range(0, len(documents), 512)]


def _datatrove(bench: Bench) -> dict[str, float]:
    """The same groups of rules by datatrove, which needs spaCy and NLTK for words and sentences."""
    if bench.peer("datatrove") is None or bench.peer("spacy") is None or bench.peer("nltk") is None:
        return {}
    from datatrove.data import Document as Peer
    from datatrove.pipeline import filters

    chain = (filters.C4QualityFilter(), filters.GopherQualityFilter(), filters.GopherRepetitionFilter())
    chain += (filters.FineWebQualityFilter(),)
    few = bench.first(PEER_MEGABYTES)

    def judge() -> None:
        """Asks the filters in order, until one refuses."""
        for number, document in enumerate(few):
            peer = Peer(text=document.text, id=str(number))
            all(each.filter(peer) is True for each in chain)

    return rates(bench.seconds({"datatrove": judge}), {"datatrove": size_of(few)})
