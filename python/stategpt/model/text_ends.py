"""How the folder of a classifier with the tokenizer of another model says what begins and ends a text.

A text is read at the token that ends it (`model.text_batch`). `transformers` looks for the last token that is not
padding (`model.padding`). tokenizer.json adds beginning and end by its post-processor, whatever its own one adds.
"""

from __future__ import annotations

import json
from typing import Any

from stategpt.artifacts import Json
from stategpt.errors import ForeignArtifact
from stategpt.tokenizer import AnyTokenizer

from .special_ids import SpecialIds

_OFFSETS = "ByteLevel"
"""A post-processor that says where tokens are in the text, and adds none."""


def with_ends(tokenizer_json: str, tok: AnyTokenizer, ids: SpecialIds) -> str:
    """Returns the text of a tokenizer.json that puts what begins a text before it, and what ends one behind it.

    Two texts are read at one end: each has its beginning, and the end is behind the second.

    Raises:
        ForeignArtifact: the tokenizer has no name for one of the ids.
    """
    file: dict[str, Any] = json.loads(tokenizer_json)
    names = {number: name for name, number in tok.special_tokens.items()}
    before, after = [] if ids.bos is None else [ids.bos], list(ids.eos[:1])
    for number in (*before, *after):
        if number not in names:
            raise ForeignArtifact(
                f"the tokenizer has no name for id {number}, which begins or ends a text of the classifier: "
                "tokenizer.json cannot add it. Add the token to the tokenizer, or give GPT other special_ids."
            )
    begin, end = ([_special(names[number]) for number in side] for side in (before, after))
    template: dict[str, Json] = {
        "type": "TemplateProcessing",
        "single": [*begin, _sequence("A"), *end],
        "pair": [*begin, _sequence("A"), *begin, _sequence("B"), *end],
        "special_tokens": {
            names[number]: {"id": names[number], "ids": [number], "tokens": [names[number]]}
            for number in (*before, *after)
        },
    }
    offsets = _offsets(file.get("post_processor"))
    file["post_processor"] = {"type": "Sequence", "processors": [*offsets, template]} if offsets else template
    return json.dumps(file, indent=2, ensure_ascii=False)


def _offsets(post_processor: Any) -> list[Any]:
    """The parts of a post-processor that are about positions in the text alone."""
    if post_processor is None:
        return []
    parts = post_processor.get("processors", [post_processor])
    return [part for part in parts if part.get("type") == _OFFSETS]


def _special(name: str) -> Json:
    return {"SpecialToken": {"id": name, "type_id": 0}}


def _sequence(name: str) -> Json:
    return {"Sequence": {"id": name, "type_id": 0}}
