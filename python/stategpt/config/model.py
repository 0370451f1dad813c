"""The shape of a model. The default is Qwen3's architecture at the size of the default job."""

from __future__ import annotations

from dataclasses import dataclass, field

from stategpt.config.architecture import NORM_VECTORS, PLAIN, Architecture
from stategpt.config.checks import require, require_positive
from stategpt.config.families import FAMILIES, family_of
from stategpt.config.family import Family
from stategpt.shown_fields import documented

NO_SETTING = "no_setting"
"""Metadata of a field that no run file can set."""


@documented
@dataclass(frozen=True)
class GPTConfig:
    """Shape of a decoder-only transformer: RMSNorm, SwiGLU, grouped-query attention, rotary positions.

    Raises:
        ConfigError: a width that cannot be split into the heads, or a value out of its range.
    """

    vocab_size: int = 4096
    """Tokens in the vocabulary, control tokens included; the tokenizer's size."""
    depth: int = 3
    """Transformer blocks. Setting it derives the other sizes that are not given (see `config.dial`)."""
    width: int = 192
    """Width of the residual stream (hidden_size)."""
    heads: int = 3
    """Query heads per block."""
    kv_heads: int = 1
    """Key and value heads per block; each serves heads / kv_heads query heads."""
    head_dim: int = 64
    """Width of a head; even, because rotary positions turn pairs."""
    mlp_width: int = 512
    """Width inside the MLP of a block (intermediate_size)."""
    context_tokens: int = 256
    """Longest sequence in tokens."""
    rope_theta: float = 10_000.0
    """Base of the rotary wavelengths (arXiv 2104.09864)."""
    norm_epsilon: float = 1e-6
    """Added to the mean square inside every RMSNorm."""
    qk_norm: bool = True
    """RMSNorm on every query and key head before the rotation, as Qwen3 has it."""
    tied_embeddings: bool = True
    """One matrix both embeds tokens and predicts them."""
    attention_bias: bool = False
    """Biases on the query, key and value projections, as Qwen2 has them."""
    architecture: Architecture = field(default=PLAIN, metadata={NO_SETTING: True})
    """What models of other families compute otherwise; no setting of a run: it comes with a model that is loaded."""

    def __post_init__(self) -> None:
        require_positive(
            "model",
            vocab_size=self.vocab_size,
            depth=self.depth,
            width=self.width,
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            mlp_width=self.mlp_width,
            context_tokens=self.context_tokens,
            rope_theta=self.rope_theta,
            norm_epsilon=self.norm_epsilon,
        )
        require(self.heads % self.kv_heads == 0, "model.kv_heads", self.kv_heads, f"must divide heads = {self.heads}")
        require(self.head_dim % 2 == 0, "model.head_dim", self.head_dim, "must be even (rotary positions)")
        for layers in (self.architecture.rotated_layers, self.architecture.windowed_layers):
            rule = "must say it of every layer, or of none"
            require(not layers or len(layers) >= self.depth, "model.architecture", f"{len(layers)} layers", rule)

    @property
    def family(self) -> Family | None:
        """Published family with these switches, in whose format the model is saved; None if no family has them."""
        found = FAMILIES.get(self.architecture.model_type)
        if self.architecture.model_type:
            return found
        plain = self.architecture == Architecture(rope_scaling=self.architecture.rope_scaling)
        return family_of(qk_norm=self.qk_norm, attention_bias=self.attention_bias) if plain else None

    @property
    def query_width(self) -> int:
        """Total width of the query heads."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Total width of the key heads; that of the value heads is equal."""
        return self.kv_heads * self.head_dim

    @property
    def block_parameters(self) -> int:
        """Weights of one block: projections, MLP, biases and norms."""
        matrices = 2 if self.architecture.mlp == "gelu" else 3
        projections = self.width * (2 * self.query_width + 2 * self.kv_width)
        biases = self.query_width + 2 * self.kv_width if self.attention_bias else 0
        if self.architecture.all_biases:
            biases += 2 * self.width + (matrices - 1) * self.mlp_width
        return projections + biases + matrices * self.width * self.mlp_width + self._norm_parameters

    @property
    def _norm_parameters(self) -> int:
        """Weights of the norms of one block."""
        count = 4 if self.architecture.norm_places == "around" else 2
        norms = count * NORM_VECTORS[self.architecture.norm] * self.width
        heads = self.query_width + self.kv_width if self.architecture.qk_norm_all_heads else 2 * self.head_dim
        return norms + (heads if self.qk_norm else 0)

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding, and of the prediction matrix where it is a separate matrix."""
        positions = self.context_tokens if self.architecture.learned_positions else 0
        return (self.vocab_size * (1 if self.tied_embeddings else 2) + positions) * self.width

    @property
    def parameters(self) -> int:
        """Every weight of the model, the last norm included; exact."""
        last_norm = NORM_VECTORS[self.architecture.norm] * self.width
        return self.embedding_parameters + self.depth * self.block_parameters + last_norm
