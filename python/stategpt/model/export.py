"""Writes a model folder: weights, config.json, and with a tokenizer all that `transformers` needs to give its ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from stategpt.artifacts import Json
from stategpt.config import GPTConfig
from stategpt.data import AnyTokenizer, ControlTokens

from . import hf
from .biased_llama import as_llama, is_saved_as_llama, zero_output_biases
from .exported_tokenizer import token_ids, write_tokenizer


def save_language_model(model: nn.Module, folder: Path, shape: GPTConfig, tok: AnyTokenizer | None) -> None:
    """Writes the folder of a GPT of the shape `shape`; raises as `GPT.save_pretrained`."""
    config = _save(model, folder, shape, hf.causal_lm_config(shape), hf.gpt_tensor_name, tok)
    # What `Engine` never samples: control tokens other than end of text.
    hf.write_generation_config(folder, config, () if tok is None else ControlTokens.of(tok).forbidden)
    if tok is not None:
        write_tokenizer(folder, tok, shape.context_tokens, scores=False)


def save_reward_model(
    model: nn.Module, folder: Path, shape: GPTConfig, reward_offset: float, tok: AnyTokenizer | None
) -> None:
    """Writes the folder of a RewardModel over a GPT of the shape `shape`; raises as `GPT.save_pretrained`."""
    _save(model, folder, shape, hf.reward_config(shape, reward_offset), hf.reward_tensor_name, tok)
    if tok is not None:
        write_tokenizer(folder, tok, shape.context_tokens, scores=True)


def _save(
    model: nn.Module,
    folder: Path,
    shape: GPTConfig,
    config: dict[str, Json],
    disk_name: Callable[[str], str],
    tok: AnyTokenizer | None,
) -> dict[str, Json]:
    """Writes weights and config.json in the format that keeps the ids of `tok`. -> config.json."""
    further: Mapping[str, Tensor] = {}
    if tok is not None:
        config = config | token_ids(tok, shape)
        if is_saved_as_llama(shape, tok):
            dtype = next(model.parameters()).dtype
            config, further = as_llama(config), zero_output_biases(shape, dtype)
    hf.save_weights(model, folder, disk_name, further)
    hf.write_config(folder, config)
    return config
