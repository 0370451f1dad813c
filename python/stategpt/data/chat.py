"""The chat format: how a prompt, a response and the reward token become token ids.

    prompt    <|endoftext|> <|user|> p1 ... pn <|assistant|>
    example   prompt r1 ... rm                 targets shifted by one, end of text the last target
    reward    prompt c1 ... cm [<|endoftext|>] <|reward|>

Control tokens enter only as ids, from here; text is encoded plainly and never yields one, so a user cannot type a role.
Every function takes any tokenizer that is a `ChatTokenizer`; nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stategpt.arguments import Ids
from stategpt.config.control import ASSISTANT, CONTROL_TOKENS, END_OF_TEXT, PAD, REWARD, SYSTEM, USER
from stategpt.errors import ContextOverflow, InvalidArgument
from stategpt.tokenizer.control import Control

# What stands in front of a prompt and behind it, and no truncation may remove.
_HEAD, _TAIL = (Control(END_OF_TEXT), Control(USER)), (Control(ASSISTANT),)


class ChatTokenizer(Protocol):
    """What the chat format needs of a tokenizer; `stategpt.Tokenizer` has it."""

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Special tokens by name."""
        ...

    def encode(self, text: str) -> Ids:
        """Ids of plain text: uint32, never a special id."""
        ...

    def encode_segments(self, segments: Iterable[str | Control]) -> Ids:
        """Ids of plain texts with control tokens between them: uint32."""
        ...


@dataclass(frozen=True)
class ControlTokens:
    """Ids of the reserved block made at tokenizer training.

    `forbidden` is every control id except end of text: what the policy may never sample.
    """

    end_of_text: int
    pad: int
    reward: int
    system: int
    user: int
    assistant: int
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
            forbidden=tuple(sorted(known[name] for name in CONTROL_TOKENS if name != END_OF_TEXT)),
        )


@dataclass(frozen=True)
class Segment:
    """One training example: three vectors of one length n.

    tokens: uint32[n]; targets: uint32[n], the next token at each place, end of text the last;
    loss_mask: bool[n], true where the target is the response's (its end of text included).
    """

    tokens: Ids
    targets: Ids
    loss_mask: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """Tokens of the segment."""
        return int(self.tokens.size)

    @property
    def document(self) -> Ids:
        """The ids as a shard stores them, d1 ... dn: without the end of text in front, which the packer puts back."""
        return self.tokens[1:]

    @property
    def document_mask(self) -> npt.NDArray[np.uint8]:
        """The loss mask as a shard stores it, by target: one entry for each of d1 ... dn and one for end of text."""
        return self.loss_mask.astype(np.uint8)


def chat_prompt(tok: ChatTokenizer, text: str, *, context_tokens: int | None = None) -> Ids:
    """`<|endoftext|> <|user|> text <|assistant|>`: what the model continues. uint32[n].

    Raises ContextOverflow when `context_tokens` is given and the prompt leaves no room for one token of an answer.
    """
    ids = tok.encode_segments([*_HEAD, text, *_TAIL])
    if context_tokens is not None and ids.size >= context_tokens:
        raise ContextOverflow(
            f"the prompt is {ids.size} tokens and the context {context_tokens}: no room for an answer. "
            "Shorten the prompt or use a model with a longer context."
        )
    return ids


def sft_segment(tok: ChatTokenizer, prompt: str, response: str, *, context_tokens: int | None = None) -> Segment:
    """A prompt and its ideal response as one segment, loss on the response and its end of text only.

    The parts are encoded apart and joined as ids: no merge can cross the border, so the mask's border is exact.
    Raises InvalidArgument for an empty response (nothing would be trained) and ContextOverflow when `context_tokens`
    is given and the segment is longer: cutting a response would teach the model never to stop.
    """
    prompt_ids = chat_prompt(tok, prompt)
    response_ids = tok.encode(response)
    if response_ids.size == 0:
        raise InvalidArgument(f"the response to {prompt[:60]!r} is empty; drop the example or give it a text")
    tokens = np.concatenate([prompt_ids, response_ids])
    if context_tokens is not None and tokens.size > context_tokens:
        raise ContextOverflow(
            f"prompt and response are {prompt_ids.size} + {response_ids.size} tokens and the context {context_tokens}. "
            "Drop the example, shorten it, or raise the context."
        )
    targets = np.append(tokens[1:], _u32(ControlTokens.of(tok).end_of_text))
    loss_mask = np.zeros(tokens.size, dtype=np.bool_)
    loss_mask[prompt_ids.size - 1 :] = True  # the last prompt token predicts the first of the response
    return Segment(tokens, targets, loss_mask)


def reward_sequence(
    prompt_ids: Ids, completion_ids: Ids, control: ControlTokens, *, context_tokens: int | None = None
) -> Ids:
    """Prompt, completion and the reward token, always present and last: the scalar is read at index n - 1. uint32[n].

    `completion_ids` are used as sampled, with their end of text if they ended. When the sum exceeds `context_tokens`
    the middle of the prompt goes, never the completion and never the reward token.
    Raises ContextOverflow when completion, reward token and the prompt's three control tokens do not fit.
    """
    prompt = np.asarray(prompt_ids, dtype=np.uint32)
    if context_tokens is not None:
        prompt = truncate_prompt(prompt, context_tokens - int(completion_ids.size) - 1)
    return np.concatenate([prompt, np.asarray(completion_ids, dtype=np.uint32), _u32(control.reward)])


def truncate_prompt(prompt_ids: Ids, room_tokens: int) -> Ids:
    """`prompt_ids` cut in the middle to `room_tokens`, its head and its `<|assistant|>` kept. uint32[<= room_tokens].

    People put the task first and the question last, so the middle is the least loss.
    Raises ContextOverflow when fewer than three tokens are left for the prompt.
    """
    if prompt_ids.size <= room_tokens:
        return prompt_ids
    if room_tokens < len(_HEAD) + len(_TAIL):
        raise ContextOverflow(
            f"the completion leaves {room_tokens} tokens for a prompt of {prompt_ids.size}; at least "
            f"{len(_HEAD) + len(_TAIL)} (end of text and two roles) are needed. "
            "Drop the completion or raise the context."
        )
    tail_tokens = room_tokens // 2
    return np.concatenate([prompt_ids[: room_tokens - tail_tokens], prompt_ids[prompt_ids.size - tail_tokens :]])


def _u32(*ids: int) -> Ids:
    return np.array(ids, dtype=np.uint32)
