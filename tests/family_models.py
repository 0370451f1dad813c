"""Tiny models of every family, made by transformers with every weight random."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import transformers

VOCABULARY, CONTEXT = 97, 64
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
_GPT2 = {
    "vocab_size": VOCABULARY,
    "n_embd": 48,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": CONTEXT,
    "bos_token_id": 1,
    "eos_token_id": 2,
    **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
}
_GEMMA = {"head_dim": 16, "sliding_window": 7, "num_hidden_layers": 4, "query_pre_attn_scalar": 24}
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
    "rope_theta": 500.0,
}


@dataclass(frozen=True)
class Case:
    """A config of transformers."""

    family: str
    """Prefix of its classes."""
    model_type: str
    settings: dict[str, Any] = field(default_factory=dict)

    def config(self, **changes: Any) -> Any:
        """Builds the config; sizes of its family, then `settings`, then `changes`."""
        name = "Gemma3TextConfig" if self.family == "Gemma3" else f"{self.family}Config"
        sizes = _GPT2 if self.family == "GPT2" else {**_SIZES, "head_dim": 8}
        return getattr(transformers, name)(**{**sizes, **self.settings, **changes})

    def model(self, **changes: Any) -> Any:
        """Builds the language model in eval mode; norms and biases are random too."""
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(
            self.config(**changes), attn_implementation="eager", dtype=torch.float32
        )
        with torch.no_grad():
            for parameter in model.parameters():
                # Wide enough that softcaps, windows and positions matter.
                parameter.add_((0.3 if parameter.ndim == 1 else 0.1) * torch.randn_like(parameter))
        model.tie_weights()
        return model.eval()


def _rope(**rope: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_theta": 500.0, **rope}}


CASES = {
    "gpt2": Case("GPT2", "gpt2"),
    "gpt2 untied, of another width": Case("GPT2", "gpt2", {"tie_word_embeddings": False, "n_inner": 56}),
    "llama": Case("Llama", "llama", {"tie_word_embeddings": True}),
    "llama3 rope": Case("Llama", "llama", {"rope_parameters": _LLAMA3}),
    "linear rope": Case("Llama", "llama", _rope(rope_type="linear", factor=4.0)),
    "dynamic rope": Case("Llama", "llama", _rope(rope_type="dynamic", factor=4.0)),
    "yarn rope": Case("Llama", "llama", _rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)),
    "yarn rope, all settings": Case(
        "Qwen3",
        "qwen3",
        _rope(
            rope_type="yarn",
            factor=4.0,
            original_max_position_embeddings=16,
            beta_fast=20.0,
            beta_slow=0.5,
            mscale=0.9,
            mscale_all_dim=0.4,
            truncate=False,
        ),
    ),
    "yarn rope, attention factor": Case(
        "Qwen2", "qwen2", _rope(rope_type="yarn", factor=4.0, attention_factor=1.5, original_max_position_embeddings=16)
    ),
    "mistral": Case("Mistral", "mistral", {"sliding_window": 5}),
    "mistral without a window": Case("Mistral", "mistral", {"sliding_window": None}),
    "qwen2": Case("Qwen2", "qwen2"),
    "qwen3": Case("Qwen3", "qwen3"),
    "smollm3": Case("SmolLM3", "smollm3", {"num_hidden_layers": 5}),
    "smollm3 by a list": Case("SmolLM3", "smollm3", {"no_rope_layers": [0, 1, 0]}),
    "phi3": Case("Phi3", "phi3"),
    "phi3 with a window": Case("Phi3", "phi3", {"sliding_window": 6}),
    "olmo2": Case("Olmo2", "olmo2"),
    "gemma2": Case("Gemma2", "gemma2", {**_GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
    "gemma2 without caps": Case(
        "Gemma2", "gemma2", {**_GEMMA, "attn_logit_softcapping": None, "final_logit_softcapping": None}
    ),
    "gemma3": Case("Gemma3", "gemma3_text", {**_GEMMA, "num_hidden_layers": 7}),
    "gemma3 with a scaled rope": Case(
        "Gemma3",
        "gemma3_text",
        {
            **_GEMMA,
            "layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 500.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 90.0},
            },
        },
    ),
}
