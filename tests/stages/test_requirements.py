"""What later stages ask of the corpus and the settings is found before the first one trains."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.config import RunConfig, override  # noqa: E402
from stategpt.data.sources.python_library import PythonLibrary  # noqa: E402
from stategpt.errors import ContextOverflow, DataError, InvalidArgument, StategptError  # noqa: E402
from stategpt.stages.requirements import require_usable  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402


def test_the_smoke_recipe_is_usable(recipe: RunConfig, tok: Tokenizer, library: PythonLibrary) -> None:
    require_usable(recipe, tok, library)


def _refused(run: RunConfig, tok: Tokenizer, library: PythonLibrary, error: type[StategptError]) -> str:
    with pytest.raises(error) as caught:
        require_usable(run, tok, library)
    return str(caught.value)


def test_more_examples_than_there_are_short_ones(recipe: RunConfig, tok: Tokenizer, library: PythonLibrary) -> None:
    run = override(recipe, {"evaluate.few_shot_examples": 100_000})
    assert "evaluate.few_shot_examples = 100000: 100000 examples asked for and " in _refused(
        run, tok, library, InvalidArgument
    )


def test_a_document_of_examples_that_fills_the_context(
    recipe: RunConfig, tok: Tokenizer, library: PythonLibrary
) -> None:
    run = override(recipe, {"evaluate.few_shot_examples": 40})
    message = _refused(run, tok, library, ContextOverflow)
    assert "evaluate.few_shot_examples = 40: with the question about " in message
    assert "and the context 256" in message
    require_usable(override(run, {"model.context_tokens": 4096}), tok, library)


@pytest.mark.parametrize("context", [24, 40])
def test_pairs_and_prompts_longer_than_the_context(
    recipe: RunConfig, tok: Tokenizer, library: PythonLibrary, context: int
) -> None:
    changes = {"model.context_tokens": context, "data.row_tokens": 16, "evaluate.few_shot_examples": 0}
    message = _refused(override(recipe, changes), tok, library, ContextOverflow)
    assert f"context {context}" in message
    assert "Raise model.context_tokens or lower corpus.maximum_pair_characters" in message


def test_a_held_out_prompt_longer_than_the_context(recipe: RunConfig, tok: Tokenizer, library: PythonLibrary) -> None:
    for side in ("pairs_validation", "pairs_test"):
        pairs = getattr(library, side)
        long = replace(pairs[0], kind="what", name="x", prompt="why " * 400)
        changed = replace(library, **{side: [*pairs, long]})
        assert _refused(recipe, tok, changed, ContextOverflow).startswith("held-out pair x: the prompt is ")


def test_a_corpus_without_pairs(recipe: RunConfig, tok: Tokenizer, library: PythonLibrary) -> None:
    assert "no training pairs" in _refused(recipe, tok, replace(library, pairs_train=[]), DataError)
    assert "no validation question" in _refused(recipe, tok, replace(library, pairs_validation=[]), DataError)
    assert "raise corpus.test_share" in _refused(recipe, tok, replace(library, pairs_test=[]), DataError)
