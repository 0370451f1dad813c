"""The GPT: embedding, blocks, last norm, prediction matrix. The architecture is Qwen3's.

* RMSNorm before attention, MLP and prediction; no biases
* grouped-query attention over a layout (packed documents, shared prefixes), norms on queries and keys, rotary positions
* SwiGLU MLP; tied or untied embeddings; logits only where they are asked for

Legend: N tokens of a flat stream, M of them to predict from, B sequences of T tokens, W width, V vocabulary.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stategpt.config import GPTConfig
from stategpt.data import AnyTokenizer
from stategpt.errors import ContextOverflow
from stategpt.ops import TensorLayout, attention, cached_attention, rotary_tables

from . import export, hf
from .cache import KVCache
from .init import initialise
from .layers import Block, RMSNorm, Rotary


class GPT(nn.Module):
    """A decoder-only transformer of the shape `config`, freshly initialised from torch's random state.

    Raises `ConfigError` when no file format has the config's switches.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        hf.model_type(config)  # refuses now what could not be saved after the training
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = RMSNorm(config.width, config.norm_epsilon)
        self.lm_head = None if config.tied_embeddings else nn.Linear(config.width, config.vocab_size, bias=False)
        cos, sin = rotary_tables(config.context_tokens, config.head_width, config.rope_theta, torch.device("cpu"))
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        initialise(self)

    @property
    def parameter_count(self) -> int:
        """Trainable numbers; a tied matrix counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embed_tokens.weight.device

    def hidden(self, tokens_N: Tensor, layout: TensorLayout) -> Tensor:
        """Normed last hidden states of the flat stream `tokens_N` (int64). -> [N, W].

        Raises `ContextOverflow` when a sequence of the layout is longer than the context.
        """
        # A compiled graph would be bound to the number it saw; there the tables of rotary positions catch an overflow.
        if not torch.compiler.is_compiling() and layout.longest_tokens > self.config.context_tokens:
            raise ContextOverflow(
                f"the layout holds a sequence of {layout.longest_tokens} tokens, the context is "
                f"{self.config.context_tokens}; pack shorter rows or raise model.context_tokens"
            )
        rotary = self._rotary(layout.position)
        x_NW = self.embed_tokens(tokens_N)
        for block in self.layers:
            x_NW = block(x_NW, rotary, lambda q, k, v: attention(q, k, v, layout))
        return self.norm(x_NW)  # type: ignore[no-any-return]

    def unembed(self, hidden_MW: Tensor) -> Tensor:
        """Logits for the rows of `hidden_MW` alone. -> float32[M, V]; M x V x 4 bytes, the largest tensor of a step."""
        weight = self.embed_tokens.weight if self.lm_head is None else self.lm_head.weight
        return F.linear(hidden_MW, weight).float()

    def forward(self, tokens_N: Tensor, layout: TensorLayout) -> Tensor:
        """Logits of every token. -> float32[N, V]."""
        return self.unembed(self.hidden(tokens_N, layout))

    def decode(self, tokens_BT: Tensor, cache: KVCache, valid_B: Tensor | None = None) -> Tensor:
        """Normed hidden states of T more tokens for each sequence of `cache`, which then holds them. -> [B, T, W].

        With `valid_B` (int64) only the first `valid_B[b]` tokens of sequence b are real and the rest is padding on the
        right: its hidden states mean nothing and the cache forgets it.
        Raises `ContextOverflow` when the cache has no room.
        """
        B, T = tokens_BT.shape
        seen_B = None if cache.even else cache.lengths_B
        position_BT = cache.lengths_B[:, None] + torch.arange(T, device=tokens_BT.device)
        rotary = self._rotary(position_BT.clamp(max=self.config.context_tokens - 1).view(-1))
        x_NW = self.embed_tokens(tokens_BT.reshape(-1))
        for layer, block in enumerate(self.layers):

            def attend(q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, layer: int = layer) -> Tensor:
                k_BTGD, v_BTGD = (x.view(B, T, *x.shape[1:]) for x in (k_NGD, v_NGD))
                keys, values = cache.write(layer, k_BTGD, v_BTGD)
                q_BTHD = q_NHD.view(B, T, *q_NHD.shape[1:])
                return cached_attention(q_BTHD, keys, values, seen_B).reshape(q_NHD.shape)

            x_NW = block(x_NW, rotary, attend)
        cache.advance(T, valid_B)
        return self.norm(x_NW).view(B, T, -1)  # type: ignore[no-any-return]

    def _rotary(self, position_N: Tensor) -> Rotary:
        """Looked up once a forward pass, for all layers."""
        return self.cos[position_N], self.sin[position_N]

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> GPT:
        """The model saved in `folder`: config.json and model.safetensors. Strict; in float32, in eval mode.

        Raises:
            ForeignArtifact: another architecture, or tensors that this one does not have.
            CorruptArtifact: files or tensors missing, unreadable or of another shape.
        """
        config, _ = hf.read_config(Path(folder))
        model = cls(config)
        hf.load_weights(model, Path(folder), hf.gpt_tensor_name)
        return model.eval()

    def save_pretrained(self, folder: str | Path, tok: AnyTokenizer | None = None) -> None:
        """Writes model.safetensors, config.json and generation_config.json, as `transformers` reads them.

        With `tok` also tokenizer.json, tokenizer_config.json and chat_template.jinja, and in a format in which
        `transformers.AutoTokenizer` gives the ids of `tok` (see `model.biased_llama`).

        Raises:
            InvalidArgument: `tok` lacks the control tokens.
            ForeignArtifact: `tok` has more ids than the model.
        """
        export.save_language_model(self, Path(folder), self.config, tok)
