"""The shape of a model. The default is Qwen3's architecture at the size of the default job."""

from __future__ import annotations

from dataclasses import dataclass

from stategpt.config.checks import require, require_positive
from stategpt.config.families import Family, family_of
from stategpt.shown_fields import documented


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

    @property
    def family(self) -> Family | None:
        """Published family with these switches, in whose format the model is saved; None if no family has them."""
        return family_of(qk_norm=self.qk_norm, attention_bias=self.attention_bias)

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
        """Weights of one block: projections, MLP (three matrices), two norms, and the norms of queries and keys."""
        projections = self.width * (2 * self.query_width + 2 * self.kv_width)
        biases = self.query_width + 2 * self.kv_width if self.attention_bias else 0
        norms = 2 * self.width + (2 * self.head_dim if self.qk_norm else 0)
        return projections + biases + 3 * self.width * self.mlp_width + norms

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding, and of the prediction matrix where it is a separate matrix."""
        return self.vocab_size * self.width * (1 if self.tied_embeddings else 2)

    @property
    def parameters(self) -> int:
        """Every weight of the model, the last norm included; exact."""
        return self.embedding_parameters + self.depth * self.block_parameters + self.width
