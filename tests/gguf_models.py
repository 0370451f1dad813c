"""GGUF files of tiny models, written with the `gguf` package from transformers' tensors, as llama.cpp's converter does.

Nothing of the product is used: names, orders of rows and metadata are spelled out from what the converter writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from family_models import CASES

LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
TOP = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
}
ARCHITECTURES = {"mistral": "llama", "gemma3_text": "gemma3"}
LLAMA3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")

_GEMMA = {"query_pre_attn_scalar": 16}
FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {}),
    "gpt2 untied, of another width": ("gpt2 untied, of another width", {}),
    "llama": ("llama", {}),
    "llama3 rope": ("llama3 rope", {}),
    "linear rope": ("linear rope", {}),
    "yarn rope": ("yarn rope", {}),
    "mistral without a window": ("mistral without a window", {}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {}),
    "smollm3": ("smollm3", {}),
    "phi3": ("phi3", {}),
    "phi3 with a window": ("phi3 with a window", {}),
    "olmo2": ("olmo2", {}),
    "gemma2": ("gemma2", _GEMMA),
    "gemma3": ("gemma3", {**_GEMMA, "rope_parameters": None}),
    "gemma3 with a scaled rope": (
        "gemma3 with a scaled rope",
        {**_GEMMA, "layer_types": None, "num_hidden_layers": 7},
    ),
}
"""Cases of `family_models`, with the settings that GGUF can say."""

Quantize = Callable[[str, np.ndarray], tuple[np.ndarray, gguf.GGMLQuantizationType]]
"""(name in the file, float32 values) -> what is written, and its type."""


def case_model(name: str) -> Any:
    """The language model of transformers for an entry of `FILES`."""
    case, changes = FILES[name]
    return CASES[case].model(
        **{key: value for key, value in changes.items() if value is not None or key != "rope_parameters"}
    )


def exact(name: str, values: np.ndarray) -> tuple[np.ndarray, gguf.GGMLQuantizationType]:
    """Float32."""
    return values, gguf.GGMLQuantizationType.F32


def quantized(kind: gguf.GGMLQuantizationType) -> Quantize:
    """Matrices as the `gguf` package quantizes them, the rest and what does not fit float32."""

    def convert(name: str, values: np.ndarray) -> tuple[np.ndarray, gguf.GGMLQuantizationType]:
        block, _ = gguf.GGML_QUANT_SIZES[kind]
        if values.ndim == 1 or values.shape[-1] % block:
            return exact(name, values)
        return gguf.quants.quantize(values, kind), kind

    return convert


def write(
    path: Path,
    model: Any,
    quantize: Quantize = exact,
    *,
    metadata: dict[str, Any] | None = None,
    alignment: int | None = None,
) -> None:
    """Writes the file of a model of transformers; `metadata` replace those of the model, None leaves one out."""
    config = model.config
    architecture = ARCHITECTURES.get(config.model_type, config.model_type)
    writer = gguf.GGUFWriter(path, architecture)
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    found = {**model_metadata(config, architecture), **(metadata or {})}
    for key, value in found.items():
        if value is not None:
            _add(writer, key, value)
    for name, values in tensors(model):
        data, kind = quantize(name, values)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    kinds.get(type(value), writer.add_array)(key, value)


def model_metadata(config: Any, architecture: str) -> dict[str, Any]:
    """Metadata as the converter has them."""
    ids = {"bos": config.bos_token_id, "eos": config.eos_token_id, "padding": config.pad_token_id}
    found = {f"tokenizer.ggml.{name}_token_id": number for name, number in ids.items()}
    own = _gpt2(config) if architecture == "gpt2" else _llama_like(config)
    return {**{f"{architecture}.{key}": value for key, value in own.items()}, **found}


def _gpt2(config: Any) -> dict[str, Any]:
    return {
        "block_count": config.n_layer,
        "context_length": config.n_positions,
        "embedding_length": config.n_embd,
        "feed_forward_length": config.n_inner or 4 * config.n_embd,
        "attention.head_count": config.n_head,
        "attention.layer_norm_epsilon": config.layer_norm_epsilon,
    }


def _llama_like(config: Any) -> dict[str, Any]:
    rope = config.rope_parameters
    whole, windowed = rope.get("full_attention", rope), rope.get("sliding_attention")
    found = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": float(whole["rope_theta"]),
    }
    if config.model_type == "phi3":
        found["attention.sliding_window"] = config.sliding_window or 0
        found["rope.scaling.original_context_length"] = config.max_position_embeddings
        found["rope.dimension_count"] = config.hidden_size // config.num_attention_heads
    else:
        found |= {"attention.key_length": config.head_dim, "attention.value_length": config.head_dim}
    if config.model_type in ("llama", "mistral", "smollm3"):
        found |= {"vocab_size": config.vocab_size, "rope.dimension_count": config.head_dim}
    if config.model_type.startswith("gemma"):
        found["attention.sliding_window"] = config.sliding_window
        caps = {name: getattr(config, name) for name in ("attn_logit_softcapping", "final_logit_softcapping")}
        found |= {name: cap for name, cap in caps.items() if cap is not None}
    if windowed is not None:
        found["rope.freq_base_swa"] = float(windowed["rope_theta"])
    if whole["rope_type"] in ("linear", "yarn"):
        found |= {"rope.scaling.type": whole["rope_type"], "rope.scaling.factor": float(whole["factor"])}
    if whole["rope_type"] == "yarn":
        found["rope.scaling.original_context_length"] = whole["original_max_position_embeddings"]
    return found


def tensors(model: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Names and float32 values in the file."""
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "llama3":
        yield "rope_freqs.weight", llama3_factors(config)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.float().numpy()
        if config.model_type in ("llama", "mistral", "smollm3"):
            heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
            values = permuted(values, heads.get(name.split(".")[-2]))
        if config.model_type == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            values = values.T
        if config.model_type.startswith("gemma") and name.endswith("norm.weight"):
            values = values + 1
        yield file_name(name, config.model_type), np.ascontiguousarray(values)


def permuted(values: np.ndarray, heads: int | None) -> np.ndarray:
    """Rows of a head in the order of Meta's own Llama files."""
    if heads is None:
        return values
    apart = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return apart.swapaxes(1, 2).reshape(values.shape)


def llama3_factors(config: Any) -> np.ndarray:
    """What frequencies are divided by."""
    factor, low, high, context = (config.rope_parameters[key] for key in LLAMA3)
    base, dim = config.rope_parameters["rope_theta"], config.head_dim
    found = []
    for frequency in 1.0 / (base ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)):
        length = float(2 * math.pi / frequency)
        smooth = (context / length - low) / (high - low)
        between = 1 / ((1 - smooth) / factor + smooth)
        found.append(1.0 if length < context / high else factor if length > context / low else between)
    return np.array(found, dtype=np.float32)


def file_name(name: str, model_type: str) -> str:
    """Name in the file of a tensor of transformers."""
    stem, kind = name.rsplit(".", 1)
    if stem in TOP:
        return f"{TOP[stem]}.{kind}"
    _, _, number, rest = stem.split(".", 3)
    around = model_type.startswith("gemma") or model_type == "olmo2"
    norms = {
        "post_attention_layernorm": "post_attention_norm" if around else "ffn_norm",
        "pre_feedforward_layernorm": "ffn_norm",
        "post_feedforward_layernorm": "post_ffw_norm",
    }
    return f"blk.{number}.{ {**LAYER, **norms}[rest] }.{kind}"
