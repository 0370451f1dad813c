"""The scorer of the default job: a stated rule that scores how well a sentence is made as a docstring, 0 to 10.

    whole       2   ended by itself; one line; ends in . ! ?; quotes and brackets balanced; no word doubled
    real_words  2   every word appears at least three times in the training docstrings; no identifiers, no markup
    fits_kind   2   after PEP 257: a class is a noun phrase; a predicate (`is_...`) says what it tests; anything else
                    starts with an imperative that training docstrings start with ("Return", not "Returns")
    no_stutter  1   no content word twice, by stem
    specific    1   at least one content word outside the forty most common of the training sentences
    short       1   at most 72 characters
    near        1   shares a content word, by stem, with the reference

The rule can be checked by hand; all parts but `near` follow from prompt and answer alone, and apart from the limit of
72 characters nothing rewards length. It scores form, and form is what a model of this size can learn; it does not know
whether an answer is true. Readers may disagree with it: the parts are published with every completion.

When the prompt gave the first words, the sentence that is scored is those words and the completion; `real_words`,
`specific` and `near` look at the words that the completion added. An answer without a letter gets nothing.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from stategpt.data.corpus import Corpus
from stategpt.data.records import Prompt
from stategpt.errors import ConfigError
from stategpt.evaluate.scorers import ScorerContext, Scores
from stategpt.shown_fields import documented

if TYPE_CHECKING:
    from stategpt.generate import Completion

_LONGEST_CHARACTERS = 72
_REAL_WORD_COUNT = 3
_COMMON_STEMS = 40
_OPENING_COUNT = 2

_WORD = re.compile(r"\S+")
_PLAIN = re.compile(r"[a-z]+(?:'[a-z]+)?|[0-9]+")
_LETTER = re.compile(r"[^\W\d_]")
_CAMEL = re.compile(r"[a-z][A-Z]")
_ABBREVIATIONS = frozenset({"e.g", "i.e", "etc"})


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_FUNCTION_WORDS = _set("""
    a about after all also an and any are as at be been before being between both but by can cannot does each either
    else every for from had has have if in into is it its itself may more most must neither no none nor not of on one
    only onto or other otherwise over own same should so some such than that the their them then there these they this
    those through to two under until up upon via was were what when where whether which while who whose will with
    within without would you your
""")
# A verb in its plain form appears between one of the first and one of the second: "to read the", "will return a".
_AUXILIARIES = _set("can cannot could may might must should to will would")
_DETERMINERS = _set("a all an any each every given if its one some the these this whether")
_NOT_VERBS = _FUNCTION_WORDS | _set("always called default given just like never true")

_CLASS_NAME = re.compile(r"_*[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*")
_PREDICATE_NAME = re.compile(
    r"_*(?:(?:is|has|can|should|are|needs|supports)(?:_\w+|[A-Z]\w*)|is(?!o|lice|qrt|ub)[a-z]+)"
)
_PREDICATE_SENTENCE = re.compile(
    r"Return (?:true|false|whether|if|1 if|a bool(?:ean)?)\b"
    r"|(?:Check|Decide|Determine|Indicate|Report|See|Signal|Tell|Test) (?:whether|if|for|that)\b"
    r"|(?:True|Whether) \w|(?:Are|Can|Does|Has|Is|Should) [^?]*\?$",
    re.IGNORECASE,
)


@documented
@dataclass(frozen=True, slots=True)
class Points:
    """What one completion got, by name; the module's docstring says for what."""

    whole: int
    """One whole sentence, 0 to 2."""
    real_words: int
    """Words that are words, 0 to 2."""
    fits_kind: int
    """The form that suits what is described, 0 to 2."""
    no_stutter: int
    """No content word twice, 0 or 1."""
    specific: int
    """A content word that is not among the most common, 0 or 1."""
    short: int
    """At most 72 characters, 0 or 1."""
    near: int
    """A content word of the reference, 0 or 1."""

    @property
    def total(self) -> int:
        """0 to 10."""
        return sum(self.named().values())

    def named(self) -> dict[str, int]:
        """The points by name, in the order of the rule; plain JSON values."""
        return dataclasses.asdict(self)


@documented
@dataclass(frozen=True)
class DocstringStyle:
    """The rule with its word lists, which are counted on the training side of a corpus and can be published."""

    words: frozenset[str]
    """Real words, in lower case."""
    imperatives: frozenset[str]
    """Verbs that docstrings of functions start with, in lower case."""
    common_stems: frozenset[str]
    """Stems of the most common content words of first sentences."""

    @classmethod
    def fit(cls, corpus: Corpus) -> DocstringStyle:
        """Counts the word lists on the training docstrings and summaries of `corpus`; held-out text is not read."""
        counts: Counter[str] = Counter()
        as_verb: Counter[str] = Counter()
        for document in corpus.sources["docstrings"].train:
            words = [part for word in document.text.partition("\n")[2].split() for part in _parts(word)]
            counts.update(words)
            as_verb.update(_verbs(words))
        train = corpus.conversations["train"]
        described = [(str(one.meta["subject"]), str(one.meta["summary"])) for one in train]
        stems = Counter(stem for _, summary in described for stem in _content_stems(summary.split()))
        return cls(
            words=frozenset(word for word, count in counts.items() if count >= _REAL_WORD_COUNT),
            imperatives=_imperatives(described, as_verb),
            common_stems=frozenset(stem for stem, _ in sorted(stems.items(), key=_by_count)[:_COMMON_STEMS]),
        )

    def scores(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Points of every completion, 0 to 10, with their parts by name."""
        judged = zip(prompts, completions, strict=True)
        points = [self.points(prompt, each.text, each.reason != "length") for prompt, each in judged]
        parts = {
            part.name: np.array([getattr(each, part.name) for each in points], dtype=np.float32)
            for part in dataclasses.fields(Points)
        }
        return Scores(np.array([each.total for each in points], dtype=np.float32), parts)

    def points(self, prompt: Prompt, completion: str, ended: bool) -> Points:
        """Scores a completion of `prompt`; `ended` says that the model stopped by itself."""
        if not _LETTER.search(completion):
            return Points(0, 0, 0, 0, 0, 0, 0)  # else a full stop after "Return the" would be worth 8 points
        sentence = (prompt.opening + completion).strip()
        given, added = _divide(sentence, len(prompt.opening))
        stems = _content_stems(added)
        return Points(
            whole=2 * (ended and _is_whole(sentence)),
            real_words=2 * all(self._is_real(word) for word in added),
            fits_kind=2 * self._fits(prompt.subject.rpartition(".")[2], sentence),
            no_stutter=int(len(set(stems)) == len(stems) and not set(stems) & set(_content_stems(given))),
            specific=int(bool(set(stems) - self.common_stems)),
            short=int(len(sentence) <= _LONGEST_CHARACTERS),
            near=int(bool(set(stems) & set(_content_stems((prompt.reference or "").split())))),
        )

    def _is_real(self, word: str) -> bool:
        parts = _parts(word)
        return bool(parts) and not _CAMEL.search(word) and all(part in self.words for part in parts)

    def _fits(self, name: str, sentence: str) -> bool:
        """Whether `sentence` begins as PEP 257 wants it for what `name` names."""
        first = sentence.split()[0].strip("\"'`*(.,:;!?)").lower()
        if _CLASS_NAME.fullmatch(name):
            return first[:1].isalpha() and not any(verb in self.imperatives for verb in _infinitives(first))
        if _PREDICATE_NAME.fullmatch(name):
            return _PREDICATE_SENTENCE.match(sentence) is not None
        return first in self.imperatives


def build(context: ScorerContext) -> DocstringStyle:
    """Fits the rule on the run's corpus.

    Raises:
        ConfigError: the corpus has no docstrings, or its conversations do not say what they describe.
    """
    train = context.corpus.conversations["train"]
    if "docstrings" not in context.corpus.sources or not all(
        {"subject", "summary"} <= one.meta.keys() for one in train
    ):
        raise ConfigError(
            "the scorer docstring_style needs the corpus of the source python_library: documents of the source "
            "docstrings, and conversations whose meta has subject and summary. Name another scorer, or module:function."
        )
    return DocstringStyle.fit(context.corpus)


def _verbs(words: list[str]) -> Iterator[str]:
    """Words between an auxiliary and a determiner."""
    for before, word, after in zip(words, words[1:], words[2:], strict=False):
        if before in _AUXILIARIES and after in _DETERMINERS:
            yield word


def _imperatives(described: Iterable[tuple[str, str]], as_verb: Counter[str]) -> frozenset[str]:
    """First words of functions' sentences that are verbs in their plain form.

    Evidence is an object ("Return the", "to return the") twice, or the same verb in third person ("Returns") elsewhere.
    """
    functions: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    evidence = as_verb.copy()
    for name, summary in described:
        first, second, *_ = [word.lower().rstrip(",") for word in summary.split()] + ["", ""]
        if _CLASS_NAME.fullmatch(name.rpartition(".")[2]):
            classes[first] += 1
        else:
            functions[first] += 1
            evidence[first] += second in _DETERMINERS
    for opening in functions:
        evidence.update(dict.fromkeys(set(_infinitives(opening)) - {opening}, 2))
    return frozenset(
        word
        for word, count in functions.items()
        if count >= _OPENING_COUNT
        and count > 2 * classes[word]
        and evidence[word] >= 2
        and word not in _NOT_VERBS
        and not (word.endswith("s") and not word.endswith("ss"))  # "Returns"
    )


def _by_count(item: tuple[str, int]) -> tuple[int, str]:
    """Most common first, ties by name, so that the list does not depend on the order of the corpus."""
    return -item[1], item[0]


def _divide(sentence: str, given_characters: int) -> tuple[list[str], list[str]]:
    """Words that the prompt gave, and words that the completion added or changed by writing on."""
    given: list[str] = []
    added: list[str] = []
    for match in _WORD.finditer(sentence):
        (given if match.end() <= given_characters else added).append(match[0])
    return given, added


def _parts(word: str) -> list[str]:
    """A word of prose in lower case, cut at hyphens and slashes; empty for what is no word of prose."""
    bare = word.strip("\"'()[]{}<>,:;.!?").lower()
    if bare in _ABBREVIATIONS:
        return [bare]
    parts = re.split(r"[-/]", bare)
    return parts if all(_PLAIN.fullmatch(part) for part in parts) else []


def _content_stems(words: Iterable[str]) -> list[str]:
    """Stems of the words that carry content, in order, repetitions kept."""
    parts = (part for word in words for part in _parts(word))
    return [_stem(part) for part in parts if len(part) > 2 and part.isalpha() and part not in _FUNCTION_WORDS]


def _stem(word: str) -> str:
    """`returns`, `returned`, `returning` -> `return`; `bytes`, `byte` -> `byt`. Rough: a rule in view."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    for suffix in ("ing", "ed", "es", "s", "e"):
        rest = word[: -len(suffix)]
        if word.endswith(suffix) and len(rest) >= 3 and not word.endswith("ss") and re.search("[aeiouy]", rest):
            return rest
    return word


def _infinitives(word: str) -> Iterator[str]:
    """The word, and the verbs whose third person it may be."""
    yield word
    if word.endswith("s") and not word.endswith("ss"):
        yield from (word[:-1], word.removesuffix("es"), word.removesuffix("ies") + "y")


def _is_whole(sentence: str) -> bool:
    """One line that ends as a sentence does, nothing left open, no word twice in a row."""
    words = [word.lower() for word in sentence.split()]
    return (
        "\n" not in sentence
        and sentence.rstrip("\"'`)]}").endswith((".", "!", "?"))
        and _is_balanced(sentence)
        and not any(a == b and a.isalpha() for a, b in pairwise(words))
    )


def _is_balanced(sentence: str) -> bool:
    """Brackets nest; double quotes, backquotes and single quotes that are not apostrophes come in pairs."""
    opened = []
    for character in sentence:
        if character in "([{":
            opened.append(character)
        elif character in ")]}" and (not opened or opened.pop() + character not in ("()", "[]", "{}")):
            return False
    quotes = re.sub(r"(?<=\w)'(?=\w)|(?<=s)'(?= )", "", sentence)
    return not opened and all(quotes.count(mark) % 2 == 0 for mark in "\"'`")
