"""What of a user's conversations and prompts fits the model: decided once, published, and counted.

A conversation is too long where its ids, control tokens included, exceed a row of SFT (`sft.row_tokens`). By
`sft.too_long` it is rejected, or its first turns are left out until the rest fits; its system message stays. The
decision needs the tokenizer, so it comes after the corpus, and every later stage reads the corpus through it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stategpt.artifacts import Manifest, publish_folder, read_manifest, verify
from stategpt.artifacts.measurements import is_published
from stategpt.artifacts.run_folder import RunFolder, write_json
from stategpt.config import RunConfig, SFTConfig
from stategpt.config.parts import CONVERSATION_FIT
from stategpt.data import chat_prompt, encode_conversation
from stategpt.data.corpus import SIDES, Corpus, Side, read_corpus
from stategpt.data.records import Conversation, Prompt
from stategpt.errors import ContextOverflow, CorruptArtifact, InvalidArgument
from stategpt.json_reader import Integer, Items, MapOf, Record, Tuple, read_record
from stategpt.progress import console, progress
from stategpt.stages.fingerprints import part_fingerprint
from stategpt.tokenizer import AnyTokenizer

KIND, FILE = "fit", "fit.json"
_SIDE = Record({"kept": Items(Tuple((Integer(0), Integer(0))), max_items=1 << 31), "counts": MapOf(Integer(0))})
_FIT = Record({"conversations": MapOf(_SIDE), "prompts": MapOf(MapOf(_SIDE))})
Fit = Mapping[str, Any]
"""By side: `kept`, pairs of a record's index and of its first message that is kept, and `counts` by code."""


def fitting_corpus(run: RunConfig, folder: RunFolder) -> Corpus:
    """The run's corpus with the conversations and prompts that fit; as it is where it is not of the user's files.

    Raises:
        CorruptArtifact, ForeignArtifact: as `read_corpus`, or the decision was made of another corpus.
    """
    corpus, target = read_corpus(folder.corpus), folder.root / CONVERSATION_FIT
    if not is_published(target):
        return corpus
    if read_manifest(folder.corpus).fingerprint not in verify(target, kind=KIND).parents:
        raise CorruptArtifact(f"{target} was decided on another corpus. Delete {target.parent} and run again.")
    fit = read_record(target / FILE, _FIT, error=CorruptArtifact)
    conversations = {
        side: [
            _from(trained_on(record, run.sft.loss_on), first)
            for record, first in _kept(corpus.conversations, fit, side)
        ]
        for side in SIDES
    }
    prompts = {
        purpose: {side: [prompt for prompt, _ in _kept(by_side, fit["prompts"][purpose], side)] for side in SIDES}
        for purpose, by_side in corpus.prompts.items()
    }
    return replace(corpus, conversations=conversations, prompts=prompts)


def decide_fit(run: RunConfig, folder: RunFolder, tok: AnyTokenizer) -> Manifest:
    """Decides and publishes what fits, and shows what does not; only checks it where it is there."""
    made_from = tuple(read_manifest(path).fingerprint for path in (folder.corpus, folder.tokenizer))
    fingerprint, target = part_fingerprint(run, CONVERSATION_FIT, made_from), folder.root / CONVERSATION_FIT
    if not folder.published(target, KIND, fingerprint):
        fit = _decided(run, tok, read_corpus(folder.corpus))
        publish_folder(
            target,
            lambda temporary: write_json(temporary / FILE, fit),
            kind=KIND,
            fingerprints={"config": fingerprint},
            parents=made_from,
        )
    show_fit(read_record(target / FILE, _FIT, error=CorruptArtifact), run)
    return read_manifest(target)


def show_fit(fit: Fit, run: RunConfig) -> None:
    """Prints how many conversations and prompts are left out or shortened, and the setting that decides it."""
    named = {"conversations": fit["conversations"], **{f"prompts of {k}": v for k, v in fit["prompts"].items()}}
    for name, sides in named.items():
        counts: dict[str, int] = {}
        for side in sides.values():
            for code, count in side["counts"].items():
                counts[code] = counts.get(code, 0) + count
        if any(count for code, count in counts.items() if code != "whole"):
            shown = ", ".join(f"{count:,} {code.replace('_', ' ')}" for code, count in counts.items() if count)
            console.print(
                f"notice: {name}: {shown}. A conversation may have {run.sft_row_tokens:,} tokens (sft.row_tokens, "
                'model.context_tokens; sft.too_long = "keep_last_turns" leaves out first turns instead).',
                markup=False,
            )


def _kept(records: Any, fit: Fit, side: Side) -> Iterator[tuple[Any, int]]:
    """The records of a side that are kept, each with its first message."""
    sides = fit.get("conversations", fit)
    firsts = dict(sides[side]["kept"])
    for number, record in enumerate(records[side]):
        if number in firsts:
            yield record, firsts[number]


def _decided(run: RunConfig, tok: AnyTokenizer, corpus: Corpus) -> dict[str, Any]:
    conversations = {side: _side_of(run, tok, corpus.conversations[side], side) for side in SIDES}
    prompts = {
        purpose: {side: _side_of(run, tok, by_side[side], side) for side in SIDES}
        for purpose, by_side in corpus.prompts.items()
    }
    return {"conversations": conversations, "prompts": prompts}


def _side_of(run: RunConfig, tok: AnyTokenizer, records: Sequence[Conversation | Prompt], side: Side) -> dict[str, Any]:
    kept: list[tuple[int, int]] = []
    counts = {"whole": 0, "shortened": 0, "too_long": 0, "untrained": 0, "no_prompt": 0}
    with progress(f"lengths {side}", len(records), "records") as advance:
        for number, record in enumerate(records):
            found = _fit_of(run, tok, record)
            if isinstance(found, int):
                kept.append((number, found))
                counts["shortened" if found else "whole"] += 1
            else:
                counts[found] += 1
            advance(number + 1, "")
    return {"kept": kept, "counts": counts}


def _fit_of(run: RunConfig, tok: AnyTokenizer, record: Conversation | Prompt) -> int | str:
    if isinstance(record, Conversation):
        return conversation_fit(tok, record, run.sft, run.sft_row_tokens)
    return _prompt_fit(tok, record, run.model.context_tokens)


def conversation_fit(tok: AnyTokenizer, conversation: Conversation, sft: SFTConfig, row_tokens: int) -> int | str:
    """Index of the first message that is kept (0: all are), or the code of why the conversation is left out."""
    conversation = trained_on(conversation, sft.loss_on)
    try:
        conversation.prompt()
    except InvalidArgument:
        return "no_prompt"
    firsts = [0]
    if sft.too_long == "keep_last_turns":
        asked = [number for number, message in enumerate(conversation.messages) if message.role == "user"]
        firsts += asked[1:]
    for first in firsts:
        try:
            encode_conversation(tok, _from(conversation, first), context_tokens=row_tokens)
        except ContextOverflow:
            continue
        except InvalidArgument:
            return "untrained"
        return first
    return "too_long"


def _prompt_fit(tok: AnyTokenizer, prompt: Prompt, context_tokens: int) -> int | str:
    try:
        chat_prompt(tok, prompt, context_tokens=context_tokens)
    except ContextOverflow:
        return "too_long"
    return 0


def trained_on(conversation: Conversation, loss_on: str) -> Conversation:
    """The conversation with loss on all of its trained messages, or on the last of them only."""
    if loss_on == "all":
        return conversation
    last = max((n for n, message in enumerate(conversation.messages) if message.trained), default=-1)
    messages = tuple(
        message if number == last or not message.trained else replace(message, trained=False)
        for number, message in enumerate(conversation.messages)
    )
    return replace(conversation, messages=messages)


def _from(conversation: Conversation, first: int) -> Conversation:
    """The conversation from message `first` on, with the system messages before it."""
    if not first:
        return conversation
    before = tuple(message for message in conversation.messages[:first] if message.role == "system")
    return replace(conversation, messages=(*before, *conversation.messages[first:]))
