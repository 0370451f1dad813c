"""What GGUF metadata say of a model beyond its shape (`config.gguf_shape`), and the metadata of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stategpt.config import GPTConfig
from stategpt.config.gguf_names import GgufFamily
from stategpt.config.gguf_shape import KEY_WIDTH, VALUE_WIDTH, VOCABULARY
from stategpt.errors import CorruptArtifact, ForeignArtifact
from stategpt.json_reader import Integer, Optional, Record, check_value

from .gguf_rope import rope_metadata
from .special_ids import SpecialIds

_ID = Optional(Integer(0, 2**32 - 1))
_NO_ID = 2**32 - 1
_BOS, _PAD = "tokenizer.ggml.bos_token_id", "tokenizer.ggml.padding_token_id"
_ENDS = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")


def read_special_ids(where: str, metadata: Mapping[str, Any], vocabulary: int) -> SpecialIds:
    """Returns the ids that begin, end and pad texts.

    Raises `CorruptArtifact` for one of another type, or outside the vocabulary.
    """
    keys = (_BOS, *_ENDS, _PAD)
    found = check_value(
        {key: metadata[key] for key in keys if key in metadata},
        Record(dict.fromkeys(keys, _ID)),
        where=where,
        error=CorruptArtifact,
    )
    for key in keys:
        if found[key] == _NO_ID:
            found[key] = None
        if found[key] is not None and found[key] >= vocabulary:
            raise CorruptArtifact(f"{where}: {key} is {found[key]}, the vocabulary has {vocabulary} tokens")
    ends = (found[key] for key in _ENDS)
    return SpecialIds(found[_BOS], tuple(dict.fromkeys(end for end in ends if end is not None)), found[_PAD])


def special_ids_metadata(ids: SpecialIds) -> dict[str, int]:
    """Returns the metadata of the ids. Raises `ForeignArtifact` for more ends of text than GGUF has keys for."""
    if len(ids.eos) > len(_ENDS):
        raise ForeignArtifact(f"{len(ids.eos)} ids end a text, and GGUF has keys for {len(_ENDS)}")
    ends = dict(zip(_ENDS, ids.eos, strict=False))
    return {key: value for key, value in {_BOS: ids.bos, **ends, _PAD: ids.pad}.items() if value is not None}


def config_metadata(config: GPTConfig, record: GgufFamily) -> dict[str, Any]:
    """Returns the metadata of a model of shape `config`, without the architecture in their names."""
    switches = config.architecture
    values = {
        "max_position_embeddings": config.context_tokens,
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "intermediate_size": config.mlp_width,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "rms_norm_eps": config.norm_epsilon,
        "sliding_window": switches.window or 0,
        "attn_logit_softcapping": switches.attention_softcap,
        "final_logit_softcapping": switches.logit_softcap,
    }
    named = {suffix: values[name] for suffix, name in {**record.sizes, **record.further}.items()}
    found = {suffix: value for suffix, value in named.items() if value is not None}
    if record.family.rope_types:
        found |= {KEY_WIDTH: config.head_dim, VALUE_WIDTH: config.head_dim, VOCABULARY: config.vocab_size}
    return found | rope_metadata(config, record)


def plain_switches(config: GPTConfig, record: GgufFamily) -> GPTConfig:
    """Returns the shape as a file of `record` can give it: a Mistral without a window is a Llama."""
    architecture = replace(config.architecture.of_layers(config.depth), model_type=record.family.switches.model_type)
    return replace(config, architecture=architecture)
