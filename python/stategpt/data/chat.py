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
from stategpt.data.chats.pieces import ChatTokenizer as ChatTokenizer
from stategpt.data.chats.template import ChatTemplate
from stategpt.data.control_ids import ControlIds as ControlIds
from stategpt.data.control_ids import ControlTokens as ControlTokens
from stategpt.data.records import Conversation, Message, Prompt
from stategpt.errors import ContextOverflow


@dataclass(frozen=True)
class Segment:
    """One training example: three vectors of one length n.

    tokens: uint32[n]; targets: uint32[n], the next token at each position, end of text the last;
    loss_mask: bool[n], true where the target belongs to a trained message (the end of an answer included).
    """

    tokens: Ids
    targets: Ids
    loss_mask: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, chat: ChatTemplate, conversation: Conversation, *, context_tokens: int | None = None) -> Segment:
        """A conversation in any format. Raises as `ChatTemplate.encode`."""
        encoded = chat.encode(conversation, context_tokens=context_tokens)
        return cls(encoded.ids[:-1], encoded.ids[1:], encoded.loss_mask[1:])

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
    return ChatTemplate.own(tok).prompt(prompt, context_tokens=context_tokens)


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
    return Segment.of(ChatTemplate.own(tok), conversation, context_tokens=context_tokens)


def reward_sequence(
    prompt_ids: Ids, completion_ids: Ids, control: ControlIds, *, context_tokens: int | None = None
) -> Ids:
    """Prompt, completion and the reward token, always present and last: the scalar is read at index n - 1. uint32[n].

    `completion_ids` are used as sampled, with the token that ended them if they ended. When the sum exceeds
    `context_tokens` the middle of the prompt is removed, never the completion and never the reward token.
    Raises ContextOverflow when completion, reward token and both ends of the prompt do not fit.
    """
    prompt = np.asarray(prompt_ids, dtype=np.uint32)
    if context_tokens is not None:
        prompt = truncate_prompt(prompt, context_tokens - int(completion_ids.size) - 1, control)
    return np.concatenate([prompt, np.asarray(completion_ids, dtype=np.uint32), _u32(control.reward)])


def truncate_prompt(prompt_ids: Ids, room_tokens: int, control: ControlIds) -> Ids:
    """`prompt_ids` cut in the middle to `room_tokens`, with what the format puts at both ends. uint32[<= room_tokens].

    People put the task first and the question last, so the middle matters least.
    Raises ContextOverflow when fewer tokens than these ends are left for the prompt.
    """
    if prompt_ids.size <= room_tokens:
        return prompt_ids
    head, tail = control.head_tokens, control.tail_tokens
    if room_tokens < head + tail:
        raise ContextOverflow(
            f"the completion leaves {room_tokens} tokens for a prompt of {prompt_ids.size}; at least "
            f"{head + tail} (what the chat format puts before and after a message) are needed. "
            "Drop the completion or raise the context."
        )
    tail_tokens = min(max(room_tokens // 2, tail), room_tokens - head)
    return np.concatenate([prompt_ids[: room_tokens - tail_tokens], prompt_ids[prompt_ids.size - tail_tokens :]])


def _u32(*ids: int) -> Ids:
    return np.array(ids, dtype=np.uint32)
