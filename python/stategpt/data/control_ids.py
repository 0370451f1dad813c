"""The control ids of a model's texts: what begins and ends them, pads rows, holds the reward, and is never sampled.

They come from the chat template, the tokenizer and the ids that the model's folder states; of a tokenizer with this
package's reserved block, from the block (`ControlTokens`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stategpt.arguments import Ids
from stategpt.config.control import ASSISTANT, CONTROL_TOKENS, END_OF_TEXT, PAD, REWARD, SYSTEM, TOOL, USER
from stategpt.config.start import ENGINES, TokenizerEngine
from stategpt.errors import CorruptArtifact, InvalidArgument
from stategpt.json_reader import Integer, Items, Optional, Record, Text, read_record
from stategpt.shown_fields import documented

if TYPE_CHECKING:  # a chat format has control ids, so its module imports this one
    from stategpt.data.chats.pieces import ChatTokenizer
    from stategpt.data.chats.template import ChatTemplate

CONTROL_FILE = "control_ids.json"
_ENDS_OF_TEXT = (
    *(END_OF_TEXT, "</s>", "<|end_of_text|>", "<eos>", "<\uff5cend\u2581of\u2581sentence\uff5c>"),
    *("<|im_end|>", "<|eot_id|>", "[SEP]"),
)
"""What tokenizers call their end of text, most specific first, where no folder says it."""
_RESERVED = re.compile(r"[<\[]\|?(reserved|unused|extra|dummy|placeholder|spare)[a-z_]*_?\d+\|?[>\]]", re.IGNORECASE)
"""Names of tokens that publishers leave for others to use: <|reserved_special_token_0|>, <unused0>, [extra_0]."""
_PADDING_NAMES = (PAD, "<pad>", "[PAD]", "<|finetune_right_pad_id|>", "<|padding|>", "<|vision_pad|>")
"""What tokenizers call their padding, most specific first."""
_PADDING = re.compile(r"[<\[]\|?(\w+_)?pad(ding)?(_token|_id)?\|?[>\]]", re.IGNORECASE)
"""Form of further names: <pad_token>, [padding], <|image_pad|>."""
UNKNOWN_NAMES = ("<unk>",)
"""What pads a saved model's rows where the vocabulary has no padding: text that it cannot spell, which is rare."""
_ID = Integer(0, 2**32 - 1)
_FILE = Record(
    {
        "begin": Optional(_ID),
        "ends": Items(_ID, max_items=1024),
        "end_of_text": _ID,
        "pad": _ID,
        "reward": _ID,
        "forbidden": Items(_ID, max_items=1 << 20),
        "head_tokens": Integer(0, 1 << 20),
        "tail_tokens": Integer(0, 1 << 20),
        "chat": Text(max_chars=1024),
        "engine": Optional(Text(ENGINES), "native"),
    },
    closed=True,
)


@documented
@dataclass(frozen=True)
class ControlIds:
    """Control ids of a tokenizer with its chat template."""

    end_of_text: int
    """Ends a document; between documents of pretraining."""
    pad: int
    """Fills rows; never read by a text and never a target there."""
    reward: int
    """Last token of a reward sequence. Where no token is left for it, the first id that no token has; a reward model
    that has no such row of its embedding gets one (`model.embedding_growth`)."""
    forbidden: tuple[int, ...]
    """What the policy may never sample: roles, padding, the reward token, reserved tokens."""
    begin: int | None
    """Put before a chat and before a document; None where the family begins with nothing."""
    ends: tuple[int, ...]
    """Each ends an answer; the first is the one that the template writes."""
    head_tokens: int = 2
    """Tokens at the beginning of a prompt that are never cut."""
    tail_tokens: int = 1
    """Tokens at its end that are never cut: what the answer follows."""

    @property
    def document_begin(self) -> int:
        """What the first token of a document is predicted from: `begin`, else the end of the document before."""
        return self.end_of_text if self.begin is None else self.begin


@dataclass(frozen=True, kw_only=True)
class ControlTokens(ControlIds):
    """Ids of the reserved block of control tokens.

    `forbidden` is every control id except end of text: what the policy may never sample.
    """

    system: int
    user: int
    assistant: int
    tool: int

    @classmethod
    def of(cls, tok: ChatTokenizer) -> ControlTokens:
        """The control ids of `tok`.

        Raises InvalidArgument when the tokenizer was made without the reserved block.
        """
        known = tok.special_tokens
        missing = [name for name in CONTROL_TOKENS if name not in known]
        if missing:
            raise InvalidArgument(
                f"the tokenizer has {len(known)} special tokens and lacks {', '.join(missing)}; give the chat template "
                "of its model, chat=ChatTemplate.load(folder), or train it with "
                "special_tokens=stategpt.config.CONTROL_TOKENS"
            )
        return cls(
            end_of_text=known[END_OF_TEXT],
            pad=known[PAD],
            reward=known[REWARD],
            system=known[SYSTEM],
            user=known[USER],
            assistant=known[ASSISTANT],
            tool=known[TOOL],
            forbidden=tuple(sorted(known[name] for name in CONTROL_TOKENS if name != END_OF_TEXT)),
            begin=known[END_OF_TEXT],
            ends=(known[END_OF_TEXT],),
        )


@documented
@dataclass(frozen=True)
class ModelIds:
    """What a model's folder states of its special ids (config.json and generation_config.json)."""

    bos: int | None = None
    """Begins a text."""
    eos: tuple[int, ...] = ()
    """Each ends a text."""
    pad: int | None = None
    """Fills rows."""


def has_own_block(tok: ChatTokenizer) -> bool:
    """Whether a tokenizer has this package's reserved block."""
    known = tok.special_tokens
    return all(name in known for name in CONTROL_TOKENS)


def known_end_of_text(tok: ChatTokenizer) -> str | None:
    """The first of the usual names for end of text that a tokenizer has."""
    known = tok.special_tokens
    return next((name for name in _ENDS_OF_TEXT if name in known), None)


def padding_names(tok: ChatTokenizer) -> list[str]:
    """The names of a tokenizer's padding: the usual ones that it has, then others of that form by their ids."""
    known = tok.special_tokens
    usual = [name for name in _PADDING_NAMES if name in known]
    others = sorted((number, name) for name, number in known.items() if _PADDING.fullmatch(name) and name not in usual)
    return usual + [name for _, name in others]


def control_ids(chat: ChatTemplate, model: ModelIds) -> ControlIds:
    """The control ids of a tokenizer with another model's chat template.

    Raises:
        InvalidArgument: nothing says what ends a text.
    """
    known = chat.tok.special_tokens
    ends = tuple(dict.fromkeys((*chat.end_ids, *model.eos)))
    if not ends:
        raise InvalidArgument(
            f"nothing says what ends a text: the model's folder has no eos_token_id, and none of the tokenizer's "
            f"{len(known)} special tokens is a usual end of text. Give a chat template: Engine(model, tok, chat)."
        )
    begin = chat.begin_id(model.bos)
    end_of_text = known.get(known_end_of_text(chat.tok) or "", known.get(chat.end_of_text or "", ends[-1]))
    pad = _pad(chat.tok, model.pad, end_of_text)
    context = {*chat.context_ids, *(token for token in (begin, model.bos) if token is not None)}
    reserved = {number for name, number in known.items() if _RESERVED.fullmatch(name)}
    reward = min(reserved - {*ends, *context, pad, end_of_text}, default=_first_free(chat.tok))
    forbidden = {*context, *reserved, pad}
    if has_own_block(chat.tok):
        block = ControlTokens.of(chat.tok)
        begin, pad, reward = block.begin, block.pad, block.reward
        forbidden |= {*block.forbidden}
    head, tail = _frame(chat.prompt("x"), chat.prompt("Why not?"))
    return ControlIds(end_of_text, pad, reward, tuple(sorted(forbidden - {*ends})), begin, ends, head, tail)


def _first_free(tok: Any) -> int:
    """The first id above all of the tokenizer's; 0 for one that cannot say how many it has."""
    return int(getattr(tok, "vocab_size", 0))


def _pad(tok: ChatTokenizer, stated: int | None, end_of_text: int) -> int:
    """The model's own padding, else the token named so, else end of text: a pad sees only itself and is no target."""
    if stated is not None:
        return stated
    named = padding_names(tok)
    return tok.special_tokens[named[0]] if named else end_of_text


def _frame(one: Ids, other: Ids) -> tuple[int, int]:
    """Tokens at both ends that two prompts of different texts have alike."""
    return _alike(one.tolist(), other.tolist()), _alike(one[::-1].tolist(), other[::-1].tolist())


def _alike(one: Iterable[int], other: Iterable[int]) -> int:
    count = 0
    for first, second in zip(one, other, strict=False):
        if first != second:
            break
        count += 1
    return count


def control_ids_json(ids: ControlIds, chat: str = "", engine: TokenizerEngine = "native") -> dict[str, Any]:
    """The record of control ids that a run keeps beside its tokenizer; `chat` is its `start.chat`, `engine` its
    `start.engine`.
    """
    return {each.name: asdict(ids)[each.name] for each in fields(ControlIds)} | {"chat": chat, "engine": engine}


def read_engine(folder: str | os.PathLike[str]) -> TokenizerEngine:
    """The engine that a tokenizer's folder records; the native one where it records none.

    Raises:
        CorruptArtifact, StorageError: as `read_control_ids`.
    """
    found = _record(folder)
    engine: TokenizerEngine = "native" if found is None else found["engine"]
    return engine


def _record(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    path = Path(folder) / CONTROL_FILE
    return read_record(path, _FILE, error=CorruptArtifact) if path.exists() else None


def read_control_ids(folder: str | os.PathLike[str]) -> tuple[str, ControlIds] | None:
    """`start.chat` and the ids as a tokenizer's folder records them; None where it has no record, as with this
    package's own tokenizers.

    Raises:
        CorruptArtifact: it is malformed.
        StorageError: it cannot be read.
    """
    found = _record(folder)
    if found is None:
        return None
    chat, _ = found.pop("chat"), found.pop("engine")
    return chat, replace(ControlIds(**found), ends=tuple(found["ends"]), forbidden=tuple(found["forbidden"]))
