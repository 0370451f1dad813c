"""What later stages ask of the corpus and the settings is found before the first one trains."""

import re
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.config import RunConfig, override  # noqa: E402
from stategpt.data import ChatTemplate  # noqa: E402
from stategpt.data.corpus import SIDES, Corpus, Side, SplitDocuments  # noqa: E402
from stategpt.data.records import Conversation, Message, Place  # noqa: E402
from stategpt.errors import ConfigError, ContextOverflow, DataError, InvalidArgument, StategptError  # noqa: E402
from stategpt.stages.requirements import require_sources, require_usable  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402


def test_the_smoke_recipe_is_usable(recipe: RunConfig, tok: Tokenizer, corpus: Corpus) -> None:
    require_usable(recipe, ChatTemplate.own(tok), corpus)


def _refused(run: RunConfig, tok: Tokenizer, corpus: Corpus, error: type[StategptError]) -> str:
    with pytest.raises(error) as caught:
        require_usable(run, ChatTemplate.own(tok), corpus)
    return str(caught.value)


def test_more_examples_than_there_are_short_ones(recipe: RunConfig, tok: Tokenizer, corpus: Corpus) -> None:
    run = override(recipe, {"evaluate.few_shot_examples": 100_000})
    assert "evaluate.few_shot_examples = 100000: 100000 examples are needed and " in _refused(
        run, tok, corpus, InvalidArgument
    )


def test_a_document_of_examples_that_fills_the_context(recipe: RunConfig, tok: Tokenizer, corpus: Corpus) -> None:
    run = override(recipe, {"evaluate.few_shot_examples": 40})
    message = _refused(run, tok, corpus, ContextOverflow)
    assert "evaluate.few_shot_examples = 40: with held-out prompt " in message
    assert "and the context 256" in message
    require_usable(override(run, {"model.context_tokens": 4096}), ChatTemplate.own(tok), corpus)


@pytest.mark.parametrize("context", [24, 40])
def test_pairs_and_prompts_longer_than_the_context(
    recipe: RunConfig, tok: Tokenizer, corpus: Corpus, context: int
) -> None:
    changes = {
        "model.context_tokens": context,
        "sft.row_tokens": 0,
        "data.row_tokens": 16,
        "evaluate.few_shot_examples": 0,
    }
    message = _refused(override(recipe, changes), tok, corpus, ContextOverflow)
    assert f"context {context}" in message
    assert "Raise model.context_tokens and sft.row_tokens, or lower corpus.max_response_characters" in message


def test_a_held_out_prompt_longer_than_the_context(recipe: RunConfig, tok: Tokenizer, corpus: Corpus) -> None:
    long = Conversation.of("why " * 400, "Because.", meta={"subject": "x"})
    for side in SIDES[1:]:
        changed = _with(corpus, side, [*corpus.conversations[side], long])
        assert re.match(
            r"held-out conversation \d+ \(x\): the prompt is ", _refused(recipe, tok, changed, ContextOverflow)
        )


def _with(corpus: Corpus, side: Side, conversations: list[Conversation]) -> Corpus:
    return replace(corpus, conversations={**corpus.conversations, side: conversations})


def test_a_corpus_without_conversations(recipe: RunConfig, tok: Tokenizer, corpus: Corpus) -> None:
    assert "no training conversations" in _refused(recipe, tok, _with(corpus, "train", []), DataError)
    assert "no validation conversations" in _refused(recipe, tok, _with(corpus, "validation", []), DataError)
    assert "raise corpus.test_share" in _refused(recipe, tok, _with(corpus, "test", []), DataError)


@pytest.mark.parametrize("side", SIDES)
def test_a_conversation_without_an_answer_is_named(
    recipe: RunConfig, tok: Tokenizer, corpus: Corpus, side: Side
) -> None:
    asked = Conversation((Message("user", "why?"),), where=Place("chats.jsonl", 3, 40))
    message = _refused(recipe, tok, _with(corpus, side, [*corpus.conversations[side], asked]), InvalidArgument)
    assert re.match(r"conversation \d+ \(chats\.jsonl:3 \(byte 40\)\): no(ne| message) of", message)


def test_a_mixture_names_sources_of_the_corpus(recipe: RunConfig, corpus: Corpus) -> None:
    require_sources(recipe, corpus)
    for proportions, message in (
        (
            {},
            "data.proportions is empty; give the sources of the corpus shares that add up to 1: code, docs",
        ),
        (
            {"wiki": 1.0},
            "data.proportions.wiki = 1.0: the corpus has no such source; it has code, docstrings",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            require_sources(replace(recipe, data=replace(recipe.data, proportions=proportions)), corpus)
    without = replace(corpus, sources={**corpus.sources, "code": SplitDocuments()})
    with pytest.raises(ConfigError, match=r"data\.proportions\.code = 0\.3: the source has no training documents"):
        require_sources(recipe, without)
