"""A tokenizer as the metadata of a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stategpt.errors import ForeignArtifact
from stategpt.tokenizer.gguf_fields import KEY
from stategpt.tokenizer.gguf_patterns import ADAPTED, CUTS, GPT2
from stategpt.tokenizer.piece_vocabulary import Kind

if TYPE_CHECKING:
    from stategpt.tokenizer.tokenizer import AnyTokenizer

_FIRST_NAMES = ("gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2")


def gguf_metadata(tok: AnyTokenizer) -> dict[str, Any]:
    """The keys `tokenizer.ggml.*` of a byte-level BPE tokenizer, with which llama.cpp gives its ids.

    Which tokens begin and end a text is the model's and not here: set `tokenizer.ggml.bos_token_id` and such beside.

    Raises:
        ForeignArtifact: GGUF cannot say it: another kind of model, a way to cut text that has no name there (the
            message has it), a normalizer, added tokens that take white space, or ids that no token has.
    """
    from stategpt.tokenizer.gguf_vocabulary import pre_tokenizer

    fields = json.loads(tok._json if hasattr(tok, "_json") else tok._to_json())
    model = fields["model"]
    if not isinstance(model.get("merges"), list) or (fields.get("decoder") or {}).get("type") != "ByteLevel":
        raise ForeignArtifact("GGUF metadata is written of byte-level BPE only; this tokenizer is of another kind")
    if fields.get("normalizer") is not None:
        raise ForeignArtifact(
            f"GGUF has no field for the normalizer {fields['normalizer'].get('type')}; llama.cpp has none"
        )
    ignores = bool(model.get("ignore_merges"))
    cuts = {name: CUTS[name] for name in (*_FIRST_NAMES, *CUTS)}
    same = (name for name, cut in cuts.items() if _equal(fields["pre_tokenizer"], pre_tokenizer(cut)))
    name = next((name for name in same if cuts[name].ignore_merges == ignores), None)
    if name in ADAPTED:
        raise ForeignArtifact(
            f"{KEY}pre = {name!r} cuts text as this tokenizer does in ASCII only; llama.cpp would give other ids for "
            "capitals, marks or white space outside it. Export as a folder, or train with gpt2, gpt4 or qwen"
        )
    if name is None:
        raise ForeignArtifact(
            f"no {KEY}pre of llama.cpp cuts text as this tokenizer does ({tok.pattern[:80]}, ignore_merges {ignores}); "
            "train with one of gpt2, gpt4, qwen, or export as a folder"
        )
    texts, kinds = _tokens(model["vocab"], fields.get("added_tokens") or [])
    return {
        KEY + "model": "gpt2",
        KEY + "pre": name,
        KEY + "tokens": texts,
        KEY + "token_type": kinds,
        KEY + "merges": [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]],
        KEY + "add_bos_token": False,
    }


def _equal(found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    """Whether two pre-tokenizers cut alike; how offsets are trimmed does not matter."""
    return found is not None and _steps(found) == _steps(wanted)


def _steps(step: Mapping[str, Any]) -> list[dict[str, Any]]:
    if step.get("type") == "Sequence":
        return [made for inner in step["pretokenizers"] for made in _steps(inner)]
    if step.get("type") == "Digits" and step.get("individual_digits"):
        return [_split(r"\p{N}")]
    if step.get("type") == "ByteLevel" and step.get("use_regex", True):
        return [_split(GPT2), *_steps({**step, "use_regex": False})]
    return [{key: value for key, value in step.items() if key != "trim_offsets"}]


def _split(regex: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def _tokens(vocabulary: Mapping[str, int], added: list[dict[str, Any]]) -> tuple[list[str], list[int]]:
    """Texts and kinds in order of id; an id without a token is an unused one."""
    texts = {number: text for text, number in vocabulary.items()}
    kinds = dict.fromkeys(texts, Kind.NORMAL)
    for token in added:
        if token["lstrip"] or token["rstrip"] or token["single_word"]:
            raise ForeignArtifact(
                f"GGUF has no field for the white space that the added token {token['content']!r} takes"
            )
        texts[token["id"]] = token["content"]
        kinds[token["id"]] = Kind.CONTROL if token["special"] else Kind.USER_DEFINED
    size = max(texts, default=-1) + 1
    if size > 2 * len(texts) + 1024:
        raise ForeignArtifact(f"{len(texts)} tokens have ids up to {size - 1}; GGUF would list each id between")
    order = range(size)
    return (
        [texts.get(place, f"[UNUSED_{place}]") for place in order],
        [int(kinds.get(place, Kind.UNUSED)) for place in order],
    )
