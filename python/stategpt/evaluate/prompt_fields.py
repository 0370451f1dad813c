"""What the built-in scorers read of a prompt, with errors that name its place."""

from __future__ import annotations

from stategpt.data.records import Prompt
from stategpt.errors import ScorerError
from stategpt.visible_text import visible_line

_SHOWN_CHARS = 80


def reference_of(prompt: Prompt, scorer: str) -> str:
    """The reference answer. Raises ScorerError: there is none, which is no score of 0."""
    if prompt.reference is None:
        raise ScorerError(
            f"{scorer}: {place_of(prompt)} has no reference answer to compare with; give one, or no scorer "
            "that needs it"
        )
    return prompt.reference


def place_of(prompt: Prompt) -> str:
    """What a message calls a prompt: the line it was read from, else its text, cut short."""
    if prompt.where is not None:
        return f"the prompt of {prompt.where}"
    return f"the prompt {visible_line(prompt.text)[:_SHOWN_CHARS]!r}"
