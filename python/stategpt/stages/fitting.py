"""What of a user's conversations and prompts fits the model: decided once, published, and counted.

A conversation is too long where its ids, control tokens included, exceed a row of SFT (`sft.row_tokens`). By
`sft.too_long` it is rejected, or its first turns are left out until the rest fits; its system message stays. The
decision needs the tokenizer, so it comes after the corpus, and every later stage reads the corpus through it.
Conversations and prompts are decided in two folders, so that new prompts leave the SFT model valid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from stategpt.artifacts import Manifest, publish_folder, read_manifest, verify
from stategpt.artifacts.measurements import is_published
from stategpt.artifacts.run_folder import RunFolder, write_json
from stategpt.config import RunConfig, SFTConfig
from stategpt.config.parts import CONVERSATION_FIT, PROMPT_FIT
from stategpt.data import ChatTemplate
from stategpt.data.corpus import CONVERSATIONS, SIDES, Corpus, Side, read_corpus
from stategpt.data.records import Conversation, Prompt
from stategpt.data.shard_writing import stored_conversation
from stategpt.errors import ChatTemplateError, ContextOverflow, CorruptArtifact, InvalidArgument, StategptError
from stategpt.json_reader import Integer, Items, MapOf, Record, Tuple, read_record
from stategpt.progress import console, progress
from stategpt.stages.fingerprints import part_fingerprint

Kept = TypeVar("Kept", Conversation, Prompt)
Records = Mapping[str, Mapping[Side, Sequence[Conversation | Prompt]]]
"""By "conversations" or use of prompts, and by side."""
KIND, FILE = "fit", "fit.json"
_SIDE = Record({"kept": Items(Tuple((Integer(0), Integer(0))), max_items=1 << 31), "counts": MapOf(Integer(0))})
_FIT = MapOf(MapOf(_SIDE))
Fit = Mapping[str, Mapping[str, Any]]
"""By "conversations" or use of prompts and by side: `kept`, pairs of a record's index and of its first message that is
kept, and `counts` by code.
"""


def fitting_corpus(run: RunConfig, folder: RunFolder) -> Corpus:
    """The run's corpus with the conversations and prompts that fit; as it is where it is not of the user's files.

    Raises:
        CorruptArtifact, ForeignArtifact: as `read_corpus`, or the decision was made of another corpus.
    """
    corpus = read_corpus(folder.corpus)
    if not is_published(folder.root / CONVERSATION_FIT):
        return corpus
    prompts_fit = _read_fit(folder, PROMPT_FIT) if corpus.prompts else {}
    fit = {**_read_fit(folder, CONVERSATION_FIT), **prompts_fit}
    conversations = {
        side: [
            _from(trained_on(record, run.sft.loss_on), first)
            for record, first in _kept(corpus.conversations[side], fit[CONVERSATIONS][side])
        ]
        for side in SIDES
    }
    prompts = {
        use: {side: [prompt for prompt, _ in _kept(by_side[side], fit[use][side])] for side in SIDES}
        for use, by_side in corpus.prompts.items()
    }
    return replace(corpus, conversations=conversations, prompts=prompts)


def _read_fit(folder: RunFolder, part: str) -> Fit:
    """A published decision, which must be about the corpus beside it."""
    target = folder.root / part
    if verify(target, kind=KIND).parents != _made_from(folder, part):
        raise CorruptArtifact(f"{target} was decided on another corpus. Delete {target.parent} and run again.")
    fit: Fit = read_record(target / FILE, _FIT, error=CorruptArtifact)
    return fit


def _made_from(folder: RunFolder, part: str) -> tuple[str, ...]:
    """Manifest fingerprints of the tokenizer, and of the parts of the corpus that the decision is about."""
    named = CONVERSATIONS if part == CONVERSATION_FIT else "prompts/*"
    parts = [path for path in sorted(folder.corpus.glob(named)) if is_published(path)]
    return tuple(read_manifest(path).fingerprint for path in (folder.tokenizer, *parts))


def decide_fit(run: RunConfig, folder: RunFolder, chat: ChatTemplate) -> Manifest:
    """Decides and publishes which conversations and which prompts fit, and shows what does not; only checks it where it
    is there. Returns the manifest of what was decided of the conversations.
    """
    corpus = read_corpus(folder.corpus)
    decided: dict[str, Records] = {CONVERSATION_FIT: {CONVERSATIONS: corpus.conversations}, PROMPT_FIT: corpus.prompts}
    for part, records in decided.items():
        if not records:
            continue
        made_from = _made_from(folder, part)
        fingerprint, target = part_fingerprint(run, part, made_from), folder.root / part
        if not folder.published(target, KIND, fingerprint):
            fit = _decided(run, chat, records)
            publish_folder(
                target,
                partial(_write_fit, fit),
                kind=KIND,
                fingerprints={"config": fingerprint},
                parents=made_from,
            )
        show_fit(_read_fit(folder, part), run)
    return read_manifest(folder.root / CONVERSATION_FIT)


def _write_fit(fit: Fit, folder: Path) -> None:
    write_json(folder / FILE, fit)


def show_fit(fit: Fit, run: RunConfig) -> None:
    """Prints how many conversations and prompts are left out or shortened, and the setting that decides it."""
    for use, sides in fit.items():
        name = use if use == CONVERSATIONS else f"prompts of {use}"
        counts: dict[str, int] = {}
        for side in sides.values():
            for code, count in side["counts"].items():
                counts[code] = counts.get(code, 0) + count
        if any(count for code, count in counts.items() if code != "whole"):
            shown = ", ".join(f"{count:,} {code.replace('_', ' ')}" for code, count in counts.items() if count)
            console.print(f"notice: {name}: {shown}. {_limit(run, use)}", markup=False)


def _limit(run: RunConfig, use: str) -> str:
    """How long a conversation or a prompt may be, and the settings that decide it."""
    if use != CONVERSATIONS:
        return f"A prompt may have fewer than {run.model.context_tokens:,} tokens (model.context_tokens)."
    return (
        f"A conversation may have {run.sft_row_tokens:,} tokens (sft.row_tokens, model.context_tokens; "
        'sft.too_long = "keep_last_turns" leaves out first turns instead).'
    )


def _kept(records: Sequence[Kept], fit: Mapping[str, Any]) -> Iterator[tuple[Kept, int]]:
    """The records of a side that are kept, each with its first message."""
    firsts = dict(fit["kept"])
    for number, record in enumerate(records):
        if number in firsts:
            yield record, firsts[number]


def _decided(run: RunConfig, chat: ChatTemplate, records: Records) -> Fit:
    return {
        name: {side: _side_of(run, chat, by_side[side], side) for side in SIDES} for name, by_side in records.items()
    }


def _side_of(
    run: RunConfig, chat: ChatTemplate, records: Sequence[Conversation | Prompt], side: Side
) -> dict[str, Any]:
    kept: list[tuple[int, int]] = []
    counts = {"whole": 0, "shortened": 0, "too_long": 0, "untrained": 0, "no_prompt": 0}
    with progress(f"lengths {side}", len(records), "records") as advance:
        for number, record in enumerate(records):
            found = _fit_of(run, chat, record)
            if isinstance(found, int):
                kept.append((number, found))
                counts["shortened" if found else "whole"] += 1
            else:
                counts[found] += 1
            advance(number + 1, "")
    return {"kept": kept, "counts": counts}


def _fit_of(run: RunConfig, chat: ChatTemplate, record: Conversation | Prompt) -> int | str:
    if isinstance(record, Conversation):
        return conversation_fit(chat, record, run.sft, run.sft_row_tokens)
    return _prompt_fit(chat, record, run.model.context_tokens)


def conversation_fit(chat: ChatTemplate, conversation: Conversation, sft: SFTConfig, row_tokens: int) -> int | str:
    """Index of the first message that is kept (0: all are), or the code of why the conversation is left out.

    Raises:
        InvalidArgument, ChatTemplateError: the format has no such roles or order of roles; the message has the
            record's place and what to do.
    """
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
        part = _from(conversation, first)
        try:
            stored_conversation(chat, part, chat.control.ends[0], row_tokens)
        except ContextOverflow:
            continue
        except InvalidArgument as error:
            if not trained_and_full(part):
                return "untrained"
            raise located(error, part) from error
        except ChatTemplateError as error:
            raise located(error, part) from error
        return first
    return "too_long"


def trained_and_full(conversation: Conversation) -> bool:
    """Whether a message is trained, and none that is trained is empty."""
    trained = [message for message in conversation.messages if message.trained]
    return bool(trained) and all(message.text for message in trained)


def located(error: StategptError, record: Conversation | Prompt) -> InvalidArgument:
    """What a chat format says of a record that it has no form for, with the record's place and the remedy."""
    return InvalidArgument(
        f"{record.where or 'a record'}: {error} Change the record, or give another format: start.chat, a name of "
        "ChatTemplate.names() or a file."
    )


def _prompt_fit(chat: ChatTemplate, prompt: Prompt, context_tokens: int) -> int | str:
    try:
        chat.prompt(prompt, context_tokens=context_tokens)
    except ContextOverflow:
        return "too_long"
    except (InvalidArgument, ChatTemplateError) as error:
        raise located(error, prompt) from error
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
