"""Sets of labeled texts of several sizes, each inside the next, balanced over the classes; and the texts to test on.

What is drawn depends on the texts and the seed alone, not on the order of the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from stategpt.config import RunConfig
from stategpt.data.corpus import Corpus
from stategpt.data.groups import text_digest
from stategpt.data.records import LabeledText
from stategpt.errors import DataError
from stategpt.randomness import permutation


def label_names(run: RunConfig, corpus: Corpus) -> tuple[str, ...]:
    """The classes: `classify.labels`, or those of the training texts, sorted.

    Raises:
        DataError: `classify.labels` does not name a label of the data, or there are fewer than two.
    """
    found = sorted({each.label for side in corpus.labels.values() for each in side})
    names = run.classify.labels or tuple(found)
    unknown = [label for label in found if label not in names]
    if unknown:
        raise DataError(f"classify.labels names {', '.join(names)}; the data also has {', '.join(unknown[:5])}")
    if len(names) < 2:
        raise DataError(f"classify.data has {len(names)} label(s), {', '.join(names)}; at least two are needed")
    return names


def require_labels(run: RunConfig, corpus: Corpus) -> None:
    """Refuses labeled texts that are too few for `classify.label_counts`, or none to test on.

    Raises:
        DataError: names the class and how many texts it lacks.
    """
    if "classify" not in run.stages:
        return
    names = label_names(run, corpus)
    most = -(-run.classify.label_counts[-1] // len(names))
    for side, needed in (("train", most), ("test", 1)):
        held = corpus.labels["train" if side == "train" else "test"]
        for name in names:
            count = sum(each.label == name for each in held)
            if count < needed:
                raise DataError(
                    f"classify: the {side} side has {count:,} texts of {name!r}, and {needed:,} are needed "
                    "(classify.label_counts, balanced). Give more texts, or lower the counts or corpus.test_share"
                )


def drawn_sequence(texts: Iterable[LabeledText], names: Sequence[str], most: int, seed: int) -> list[LabeledText]:
    """Texts of all classes in turn; the first n of them are the label set of n, inside that of any more.

    Args:
        texts: the training texts.
        names: the classes.
        most: length of the sequence.
        seed: of the draw.
    """
    by_label: dict[str, list[LabeledText]] = {name: [] for name in names}
    for each in sorted(texts, key=lambda each: text_digest(each.text)):
        by_label[each.label].append(each)
    drawn: Mapping[str, list[LabeledText]] = {
        name: [members[number] for number in permutation(len(members), seed, "label set", name).tolist()]
        for name, members in by_label.items()
    }
    return [drawn[names[place % len(names)]][place // len(names)] for place in range(most)]


def drawn_tests(texts: Iterable[LabeledText], most: int, seed: int) -> list[LabeledText]:
    """Up to `most` of the test texts, in a random order that is a function of `seed`."""
    ordered = sorted(texts, key=lambda each: text_digest(each.text))
    return [ordered[number] for number in permutation(len(ordered), seed, "classify test").tolist()[:most]]
