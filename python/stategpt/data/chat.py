"""The chat format: how messages and the reward token become token ids.

    prompt        <|endoftext|> <|user|> p1 ... pn <|assistant|>
    conversation  prompt r1 ... rm             targets shifted by one, end of text the last target
    reward        prompt c1 ... cm [<|endoftext|>] <|reward|>

A message is its role token and its text, an assistant message ends with end of text, and a conversation begins with end
of text; system messages and tool outputs have the roles <|system|> and <|tool|>:

    <|endoftext|> <|system|> s <|user|> a <|assistant|> b <|endoftext|> <|user|> c <|assistant|> d      target of d: EOT

So a conversation that grows is appended to: the ids of the messages so far stay the same.

The texts and tokens around a message are data, `chats/templates/stategpt.toml`, like the formats of other models.
Control tokens enter only as ids, from there; text is encoded plainly and never yields one: a user cannot type a role.
Every function takes any tokenizer that is a `ChatTokenizer`; nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stategpt.arguments import Ids
from stategpt.config.control import ASSISTANT, CONTROL_TOKENS, END_OF_TEXT, PAD, REWARD, SYSTEM, TOOL, USER
from stategpt.data.chats.pieces import ChatTokenizer as ChatTokenizer
from stategpt.data.chats.template import OURS, ChatTemplate
from stategpt.data.records import Conversation, Message, Prompt
from stategpt.errors import ContextOverflow, InvalidArgument

_HEAD_TOKENS, _TAIL_TOKENS = 2, 1
"""Control tokens at both ends of a prompt, which no truncation may remove: end of text and a role, <|assistant|>."""


@dataclass(frozen=True)
class ControlTokens:
    """Ids of the reserved block of control tokens.

    `forbidden` is every control id except end of text: what the policy may never sample.
    """

    end_of_text: int
    pad: int
    reward: int
    system: int
    user: int
    assistant: int
    tool: int
    forbidden: tuple[int, ...]

    @classmethod
    def of(cls, tok: ChatTokenizer) -> ControlTokens:
        """The control ids of `tok`.

        Raises InvalidArgument when the tokenizer was made without the reserved block.
        """
        known = tok.special_tokens
        missing = [name for name in CONTROL_TOKENS if name not in known]
        if missing:
            raise InvalidArgument(
                f"the tokenizer has {len(known)} special tokens and lacks {', '.join(missing)}; "
                "train it with special_tokens=stategpt.config.CONTROL_TOKENS"
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
        )


@dataclass(frozen=True)
class Segment:
    """One training example: three vectors of one length n.

    tokens: uint32[n]; targets: uint32[n], the next token at each position, end of text the last;
    loss_mask: bool[n], true where the target belongs to a trained message (the end of an answer included).
    """

    tokens: Ids
    targets: Ids
    loss_mask: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """Tokens of the segment."""
        return int(self.tokens.size)

    @property
    def document(self) -> Ids:
        """The ids as a shard stores them, d1 ... dn: without the leading end of text, which the packer adds."""
        return self.tokens[1:]

    @property
    def document_mask(self) -> npt.NDArray[np.uint8]:
        """The loss mask as a shard stores it, by target: one entry for each of d1 ... dn and one for end of text."""
        return self.loss_mask.astype(np.uint8)


def chat_prompt(
    tok: ChatTokenizer, prompt: Prompt | Sequence[Message] | str, *, context_tokens: int | None = None
) -> Ids:
    """Ids of a prompt up to the `<|assistant|>` that the model continues: uint32[n].

    Args:
        tok: the tokenizer.
        prompt: a prompt, its messages, or the text of one user message.
        context_tokens: length of the model's context, if it is to be checked.

    Raises:
        ContextOverflow: the prompt leaves no room for one token of an answer.
        InvalidArgument: the messages are not a prompt.
    """
    return ChatTemplate.named(OURS, tok, end_of_text=END_OF_TEXT).prompt(prompt, context_tokens=context_tokens)


def encode_conversation(
    tok: ChatTokenizer, conversation: Conversation, *, context_tokens: int | None = None
) -> Segment:
    """A conversation as one segment, with loss on the trained messages only.

    The loss covers the text of each trained message and, of an assistant message, the end of text after it; role tokens
    are never trained. Every message is encoded by itself, so no token spans two messages and the mask is exact.

    Raises:
        InvalidArgument: no message is trained, or a trained one is empty.
        ContextOverflow: the segment is longer than `context_tokens`. It is not cut: a response without its end would
            teach the model never to stop.
    """
    chat = ChatTemplate.named(OURS, tok, end_of_text=END_OF_TEXT)
    encoded = chat.encode(conversation, context_tokens=context_tokens)
    return Segment(encoded.ids[:-1], encoded.ids[1:], encoded.loss_mask[1:])


def reward_sequence(
    prompt_ids: Ids, completion_ids: Ids, control: ControlTokens, *, context_tokens: int | None = None
) -> Ids:
    """Prompt, completion and the reward token, always present and last: the scalar is read at index n - 1. uint32[n].

    `completion_ids` are used as sampled, with their end of text if they ended. When the sum exceeds `context_tokens`
    the middle of the prompt is removed, never the completion and never the reward token.
    Raises ContextOverflow when completion, reward token and the prompt's three control tokens do not fit.
    """
    prompt = np.asarray(prompt_ids, dtype=np.uint32)
    if context_tokens is not None:
        prompt = truncate_prompt(prompt, context_tokens - int(completion_ids.size) - 1)
    return np.concatenate([prompt, np.asarray(completion_ids, dtype=np.uint32), _u32(control.reward)])


def truncate_prompt(prompt_ids: Ids, room_tokens: int) -> Ids:
    """`prompt_ids` cut in the middle to `room_tokens`, its head and its `<|assistant|>` kept. uint32[<= room_tokens].

    People put the task first and the question last, so the middle matters least.
    Raises ContextOverflow when fewer than three tokens are left for the prompt.
    """
    if prompt_ids.size <= room_tokens:
        return prompt_ids
    if room_tokens < _HEAD_TOKENS + _TAIL_TOKENS:
        raise ContextOverflow(
            f"the completion leaves {room_tokens} tokens for a prompt of {prompt_ids.size}; at least "
            f"{_HEAD_TOKENS + _TAIL_TOKENS} (end of text and two roles) are needed. "
            "Drop the completion or raise the context."
        )
    tail_tokens = room_tokens // 2
    return np.concatenate([prompt_ids[: room_tokens - tail_tokens], prompt_ids[prompt_ids.size - tail_tokens :]])


def _u32(*ids: int) -> Ids:
    return np.array(ids, dtype=np.uint32)
