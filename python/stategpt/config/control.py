"""The control tokens: a block of sixteen reserved ids, reserved when the tokenizer is trained.

They come first in the vocabulary (ids 0 to 15), so that their ids do not depend on the vocabulary's size. Text that a
user types never becomes one of them: only the chat format writes them, by id.
"""

END_OF_TEXT = "<|endoftext|>"
"""Precedes every document, and is the last target of every document and every response."""

PAD = "<|pad|>"
"""Fills rows; never a target. It is not the end of text: masking the padding must not mask the stop."""

REWARD = "<|reward|>"
"""Last token of a reward sequence; the reward model's scalar is read at it."""

SYSTEM = "<|system|>"
"""Begins the instructions of the assistant's operator."""

USER = "<|user|>"
"""Begins a user's message."""

ASSISTANT = "<|assistant|>"
"""Begins an assistant's message."""

TOOL = "<|tool|>"
"""Begins the output of a tool."""

CONTROL_BLOCK_TOKENS = 16
"""Ids reserved for control tokens, spares included."""

_NAMED = (END_OF_TEXT, PAD, REWARD, SYSTEM, USER, ASSISTANT, TOOL)

CONTROL_TOKENS: tuple[str, ...] = _NAMED + tuple(f"<|spare_{i}|>" for i in range(CONTROL_BLOCK_TOKENS - len(_NAMED)))
"""Every control token, in the order of its id."""
