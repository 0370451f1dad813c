"""Each point of the rule is given for what it says, and nothing else."""

import dataclasses
import sysconfig
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stategpt.config import CorpusConfig
from stategpt.data.corpus import Corpus, SplitDocuments
from stategpt.data.records import Conversation, Document, Prompt
from stategpt.data.sources.python_library import build
from stategpt.errors import ConfigError
from stategpt.evaluate.scorers import ScorerContext
from stategpt.evaluate.scorers.docstring_style import DocstringStyle, Points
from stategpt.evaluate.scorers.docstring_style import build as build_scorer

WORDS = """
    a an and are base bytes called check class close command exception false file files for from if in is list name of
    open raised return returns same string that the this to true value when whether with e.g
"""
MOST = Points(whole=2, real_words=2, fits_kind=2, no_stutter=1, specific=1, short=1, near=1)
LABELER = DocstringStyle(
    words=frozenset(WORDS.split()),
    imperatives=frozenset({"return", "check", "open", "close"}),
    common_stems=frozenset({"return", "valu", "nam"}),
)


def what(name: str = "m.read", reference: str = "Return the bytes of a file.") -> Prompt:
    return Prompt.of(f"What does `{name}` do?", reference, meta={"subject": name})


def complete(prefix: str, rest: str) -> Prompt:
    meta = {"subject": "m.read", "opening": prefix}
    return Prompt.of(f"Complete the docstring of `m.read`: {prefix}", rest, meta=meta)


def points(completion: str, pair: Prompt | None = None, *, ended: bool = True) -> dict[str, int]:
    return LABELER.points(pair or what(), completion, ended).named()


def test_a_good_answer_gets_ten_points() -> None:
    given = LABELER.points(what(), "Return the files of this class.", ended=True)
    assert given == MOST
    assert given.total == 10


@pytest.mark.parametrize(
    ("completion", "ended"),
    [
        ("Return the file.", False),
        ("Return the file", True),
        ("Return the\nfile.", True),
        ("Return the (file.", True),
        ("Return the file).", True),
        ('Return "the file.', True),
        ("Return `the file.", True),
        ("Return 'the file.", True),
        ("Return the the file.", True),
    ],
)
def test_an_answer_that_is_not_whole(completion: str, ended: bool) -> None:
    assert points(completion, ended=ended)["whole"] == 0


@pytest.mark.parametrize(
    "completion",
    [
        "Is the file open?",
        'Return "file" (a string).',
        "Return the file's name.",
        "Return the strings' list.",
        "Return the [file (list)]!",
        "Return (the file.)",
        "Return that 'string'.",
    ],
)
def test_whole_answers(completion: str) -> None:
    assert points(completion)["whole"] == 2


@pytest.mark.parametrize(
    ("completion", "real"),
    [
        ("Return the file.", True),
        ("Return the file-list (or name/value).", False),  # "or" is not in the list
        ("Return the file-list (name/value), e.g. a string.", True),
        ("Return the filenate.", False),
        ("Return `file`.", False),
        ("Return *file*.", False),
        ("Return file_name.", False),
        ("Return fileName.", False),
        ("Return file.name.", False),
        ("Return file().", True),  # brackets at the edge are punctuation
        ("Return ... file.", False),
    ],
)
def test_real_words(completion: str, real: bool) -> None:
    assert points(completion)["real_words"] == 2 * real


@pytest.mark.parametrize(
    ("name", "completion", "fits"),
    [
        ("m.read", "Return the file.", True),
        ("m.read", "Returns the file.", False),
        ("m.read", "A file.", False),
        ("m.File", "A file.", True),
        ("m.File", "Base class of files.", True),
        ("m.File", "Raised when a file is open.", True),
        ("m.File", "Return a file.", False),
        ("m.File", "Opens a file.", False),
        ("m._FileList", "List of files.", True),
        ("m.is_open", "Return True if the file is open.", True),
        ("m.is_open", "Return whether the file is open.", True),
        ("m.isopen", "Check if the file is open.", True),
        ("m.hasFile", "Is this a file?", True),
        ("m.is_open", "Return the file.", False),
        ("m.is_open", "Returns True if the file is open.", False),
        ("m.isoformat", "Return the file.", True),
        ("m.index", "Return the file.", True),
        ("m.HTTP", "Return the file.", True),  # no lower-case letter: a constant's or a function's name
    ],
)
def test_fitting_the_kind_of_thing(name: str, completion: str, fits: bool) -> None:
    assert points(completion, what(name))["fits_kind"] == 2 * fits


def test_a_word_twice_is_a_stutter_by_stem() -> None:
    assert points("Return the file of the files.")["no_stutter"] == 0
    assert points("Return the list of the files.")["no_stutter"] == 1


def test_common_words_are_not_specific() -> None:
    assert points("Return the value of the name.")["specific"] == 0
    assert points("Return the string of the name.")["specific"] == 1


def test_seventy_two_characters_are_short_and_seventy_three_are_not() -> None:
    answer = "Return " + "a" * 64 + "."
    assert len(answer) == 72
    assert points(answer)["short"] == 1
    assert points("Return " + "a" * 65 + ".")["short"] == 0


def test_near_needs_a_content_word_of_the_reference() -> None:
    assert points("Return a list of files.")["near"] == 1
    assert points("Open the list of commands.")["near"] == 0


def test_when_the_prompt_gave_words_the_sentence_is_judged_and_the_addition_is_counted() -> None:
    pair = complete("Return the open file_name", " of the file.")
    assert LABELER.points(pair, " of a file.", ended=True) == dataclasses.replace(MOST)
    assert points(" of an open class.", pair)["no_stutter"] == 0  # "open" stands in the prompt
    assert points(" of the name.", pair)["specific"] == 0  # "open" does not make the addition specific
    assert points("of a file.", pair)["real_words"] == 0  # written on without a space: "file_nameof"
    assert points(" the the file.", pair)["whole"] == 0


@pytest.mark.parametrize("completion", ["", " ", "\n", "...", "`", "()."])
def test_an_answer_without_a_letter_gets_nothing(completion: str) -> None:
    assert LABELER.points(what(), completion, ended=True).total == 0
    assert LABELER.points(complete("Return the", " file."), completion, ended=True).total == 0


def completion_of(text: str, reason: str) -> Any:
    return SimpleNamespace(text=text, reason=reason)


def test_scores_are_the_points_with_their_parts() -> None:
    texts = [("Return the files of this class.", "end"), ("Return the file", "length"), ("", "end")]
    found = LABELER.scores([what()] * 3, [completion_of(*given) for given in texts])
    expected = [LABELER.points(what(), text, reason == "end") for text, reason in texts]
    assert found.values.tolist() == [given.total for given in expected]
    assert found.values.dtype == np.float32
    assert list(found.parts) == [part.name for part in dataclasses.fields(Points)]
    for name, values in found.parts.items():
        assert values.tolist() == [getattr(given, name) for given in expected], name


def test_a_corpus_of_another_source_is_refused_by_name() -> None:
    corpus = small_corpus("")
    plain = Conversation.of("?", "An answer of other data.")
    for other in (
        dataclasses.replace(corpus, sources={}),
        dataclasses.replace(corpus, conversations=corpus.conversations | {"train": [plain]}),
    ):
        with pytest.raises(ConfigError, match="docstring_style needs the corpus of the source python_library"):
            build_scorer(ScorerContext(other, None))  # type: ignore[arg-type]


def test_a_summary_of_one_word_is_fitted() -> None:
    corpus = small_corpus("")
    one = Conversation.of("?", "Word", meta={"subject": "m.g", "summary": "Word"})
    DocstringStyle.fit(dataclasses.replace(corpus, conversations=corpus.conversations | {"train": [one]}))


def small_corpus(held_out: str) -> Corpus:
    documents = [
        f"m.f{n}(a)\n    {verb} the file {n} of the list.\n\n    Made to {verb.lower()} the file. Nothing_else here.\n"
        for n, verb in enumerate(["Return", "Return", "Close", "Close", "Returns", "Helper"])
    ]
    summaries = [
        "Return the file.",
        "Return a list.",
        "Close the list.",
        "Closes it.",
        "Close up now.",
        "Helper for a.",
    ]
    described = [*((f"m.f{n}", text) for n, text in enumerate(summaries)), ("m.File", "A file.")]
    train = [Conversation.of("?", text, meta={"subject": name, "summary": text}) for name, text in described]
    docstrings = SplitDocuments([Document(text) for text in documents], [Document(held_out)] * 9)
    return Corpus({"docstrings": docstrings}, {"train": train, "validation": [], "test": []}, {})


def test_word_lists_are_counted_on_training_text_alone() -> None:
    fitted = DocstringStyle.fit(small_corpus("m.g\n    Zebra zebra.\n"))
    assert fitted == DocstringStyle.fit(small_corpus(""))
    assert {"file", "the", "list"} <= fitted.words
    assert not {"zebra", "nothing_else", "f1", "returns"} & fitted.words
    assert fitted.imperatives == {"return", "close"}
    assert "fil" in fitted.common_stems


@pytest.fixture(scope="module")
def judged() -> dict[str, Any]:
    """Points of held-out sentences in some packages of the standard library: right, swapped and cut off."""
    root = Path(sysconfig.get_path("stdlib"))
    packages = ("asyncio", "concurrent", "email", "http", "importlib", "logging", "multiprocessing", "xml")
    config = CorpusConfig(
        paths=tuple(str(root / name) for name in packages), min_response_characters=12, max_response_characters=140
    )
    corpus = build(config)
    labeler = DocstringStyle.fit(corpus)
    prompts = [(one.prompt(), one.messages[-1].content) for one in corpus.conversations["test"]]
    return {
        "references": np.array([labeler.points(prompt, answer, ended=True).total for prompt, answer in prompts]),
        "others": np.array(
            [
                labeler.points(prompt, other, ended=True).total
                for (prompt, _), (_, other) in zip(prompts, prompts[2:] + prompts[:2], strict=True)
            ]
        ),
        "cut": np.array([labeler.points(prompt, answer[:-4], ended=False).total for prompt, answer in prompts]),
        "labeler": labeler,
    }


def test_what_people_wrote_scores_high(judged: dict[str, Any]) -> None:
    assert judged["references"].mean() > 7
    assert judged["references"].mean() > judged["others"].mean() > judged["cut"].mean()


def test_the_real_word_lists_make_sense(judged: dict[str, Any]) -> None:
    labeler = judged["labeler"]
    assert {"return", "set", "get", "create", "read", "write", "remove"} <= labeler.imperatives
    assert not {"returns", "a", "the", "same", "helper", "this", "if", "true", "internal"} & labeler.imperatives
    assert {"return", "valu", "nam", "string", "fil"} <= labeler.common_stems
    assert len(labeler.words) > 1000
