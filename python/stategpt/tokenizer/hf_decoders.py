"""What the decoder of a `tokenizer.json` lets a stream of ids give out before its end.

The `tokenizers` library decodes lists. Nearly all decoders change each token on its own, but for the first one, and
join them; then the text of more ids begins with the text of fewer, and only a token or so must be decoded again with
those that follow it. `shape_of` knows these decoders. Of any other the text is known at the end only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_EACH_TOKEN = ("Metaspace", "WordPiece", "Replace", "Strip")


@dataclass(frozen=True)
class Shape:
    """How text grows with ids.

    Attributes:
        is_bytes: tokens spell bytes (GPT-2's table), which together are UTF-8.
        has_byte_tokens: tokens like `<0xC3>` are bytes; a run of them is decoded together, when it ends.
        strips: the text's first characters are stripped after the tokens are joined.
        suffix: of the last token, what marks the end of a word is removed; of others it becomes a space.
    """

    is_bytes: bool = False
    has_byte_tokens: bool = False
    strips: bool = False
    suffix: str = ""

    def waits(self, token: str) -> bool:
        """Whether the text of ids that end in `token` can change as others follow."""
        if self.has_byte_tokens and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            return True
        last, other = token.replace(self.suffix, ""), token.replace(self.suffix, " ")
        return bool(self.suffix) and not other.startswith(last)


def shape_of(decoder: Mapping[str, Any] | None) -> Shape | None:
    """The shape of a decoder's text, or None where it is known at the end only.

    Args:
        decoder: the field of the file; without one the library joins tokens by spaces.
    """
    steps = steps_of(decoder)
    match [step.get("type") for step in steps]:
        case ["ByteLevel"]:
            return Shape(is_bytes=True)
        case ["CTC"]:
            return Shape()
        case ["BPEDecoder"]:
            suffix = steps[0].get("suffix", "</w>")
            return Shape(suffix=suffix) if suffix else None
    return _joined_shape(steps)


def steps_of(decoder: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The decoders of a sequence, of those in it, too."""
    if decoder is None:
        return []
    if decoder.get("type") != "Sequence":
        return [decoder]
    return [step for inner in decoder.get("decoders", []) for step in steps_of(inner)]


def _joined_shape(steps: list[Mapping[str, Any]]) -> Shape | None:
    """The shape of steps that change each token, then join all, then change each character."""
    kinds = [step.get("type") for step in steps]
    join = kinds.index("Fuse") if "Fuse" in kinds else len(steps)
    before, after = steps[:join], steps[join + 1 :]
    has_byte_tokens = "ByteFallback" in kinds[:join]
    if has_byte_tokens:
        place = kinds.index("ByteFallback")
        # What comes before it must not make tokens that look like bytes.
        if not all(_replaces_a_character(step) and step.get("content") == " " for step in before[:place]):
            return None
        before = before[place + 1 :]
    if not all(step.get("type") in _EACH_TOKEN for step in before):
        return None
    strips = [step for step in after if step.get("type") == "Strip"]
    if len(strips) > 1 or any(step.get("stop") != 0 for step in strips):
        return None
    if not all(_replaces_a_character(step) for step in after if step not in strips):
        return None
    return Shape(has_byte_tokens=has_byte_tokens, strips=bool(strips))


def _replaces_a_character(step: Mapping[str, Any]) -> bool:
    pattern = step.get("pattern") if step.get("type") == "Replace" else None
    replaced = pattern.get("String") if isinstance(pattern, dict) else None
    return isinstance(replaced, str) and len(replaced) == 1
