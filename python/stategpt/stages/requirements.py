"""What the later stages ask of corpus, tokenizer and settings, checked before the first one trains.

Each of these would else end a run after hours of training, and its remedy is a setting that decides what was trained.
"""

from __future__ import annotations

from collections.abc import Sequence

from stategpt.config import RunConfig
from stategpt.data import Segment, chat_prompt, sft_segment
from stategpt.data.few_shot import choose_examples, few_shot_document
from stategpt.data.sources.python_library import Pair, PythonLibrary
from stategpt.data.sources.python_library.records import SIDES
from stategpt.errors import ContextOverflow, DataError, InvalidArgument
from stategpt.tokenizer import AnyTokenizer


def require_usable(run: RunConfig, tok: AnyTokenizer, library: PythonLibrary) -> None:
    """Refuses a run that could not end: no pairs, a prompt or a pair without room, too few examples.

    Raises:
        DataError: no training pairs, or none to validate or test with.
        ContextOverflow: a training pair, a held-out prompt or the few-shot document with it leaves no room in
            `model.context_tokens`; the message names it.
        InvalidArgument: fewer short examples than `evaluate.few_shot_examples`.
    """
    if not library.pairs_train:
        raise DataError("the corpus has no training pairs: no docstring of its training modules reads as a sentence")
    for side in SIDES[1:]:
        if not library.pairs(side):
            raise DataError(
                f"the corpus has no {side} question: no docstring of its {side} modules reads as a sentence. Give it "
                f"more modules, or raise corpus.{side}_share."
            )
    held_out = library.pairs_validation + library.pairs_test
    context = run.model.context_tokens
    segments_of(tok, library.pairs_train, context)
    for pair in held_out:
        try:
            chat_prompt(tok, pair.prompt, context_tokens=context)
        except ContextOverflow as error:
            raise ContextOverflow(f"held-out pair {pair.name}: {error} {_REMEDY}") from None
    _require_few_shot(run, tok, library.pairs_train, held_out)


def segments_of(tok: AnyTokenizer, pairs: Sequence[Pair], context_tokens: int) -> list[Segment]:
    """Pairs as segments of SFT; one that does not fit the context is an error naming it, never cut."""
    segments = []
    for number, pair in enumerate(pairs):
        try:
            segments.append(sft_segment(tok, pair.prompt, pair.response, context_tokens=context_tokens))
        except ContextOverflow as error:
            raise ContextOverflow(f"pair {number} ({pair.name}): {error} {_REMEDY}") from None
    return segments


_REMEDY = "Raise model.context_tokens or lower corpus.maximum_pair_characters."


def _require_few_shot(run: RunConfig, tok: AnyTokenizer, train: Sequence[Pair], held_out: Sequence[Pair]) -> None:
    count, context = run.evaluate.few_shot_examples, run.model.context_tokens
    try:
        examples = choose_examples(train, count, run.evaluate.seed)
    except InvalidArgument as error:
        raise InvalidArgument(f"evaluate.few_shot_examples = {count}: {error}") from None
    longest, tokens = _longest_document(tok, examples, held_out)
    if tokens >= context:
        raise ContextOverflow(
            f"evaluate.few_shot_examples = {count}: with the question about {longest.name} the document of examples is "
            f"{tokens} tokens and the context {context}: no room for an answer. Lower evaluate.few_shot_examples or "
            "raise model.context_tokens."
        )


def _longest_document(tok: AnyTokenizer, examples: Sequence[Pair], asked: Sequence[Pair]) -> tuple[Pair, int]:
    """The pair whose few-shot document has most tokens, and how many, end of text in front included."""
    counts = [1 + len(tok.encode(few_shot_document(examples, pair.prompt))) for pair in asked]
    most = max(range(len(asked)), key=counts.__getitem__)
    return asked[most], counts[most]
