"""What published model families compute otherwise than the settings of `model` can say.

A run trains the plain architecture of `GPTConfig`; everything here comes from a family's record (`config.families`) and
the config.json of a folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypedDict

from stategpt.shown_fields import documented

RopeType = Literal["linear", "dynamic", "llama3", "yarn"]
Norm = Literal["rms", "rms_plus_one", "layer"]
NormPlaces = Literal["before", "after", "around"]
MLPKind = Literal["swiglu", "geglu", "gelu"]


class AttentionOptions(TypedDict, total=False):
    """Arguments of `ops.attention` and `ops.cached_attention`."""

    scale: float
    window: int
    softcap: float


@documented
@dataclass(frozen=True)
class RopeScaling:
    """How rotary positions are stretched beyond the context of pretraining; `transformers` has the same names."""

    rope_type: RopeType
    """linear: all frequencies divided. dynamic: a larger base beyond the context, so none within it. llama3, yarn: low
    frequencies divided, high ones kept."""
    factor: float
    """What low frequencies are divided by."""
    original_max_position_embeddings: int | None = None
    """llama3, yarn: context of pretraining."""
    low_freq_factor: float | None = None
    """llama3: wavelengths above the context of pretraining / this are divided by `factor`."""
    high_freq_factor: float | None = None
    """llama3: wavelengths below the context of pretraining / this are kept."""
    attention_factor: float | None = None
    """yarn: queries and keys are multiplied by it; None: 0.1 ln(factor) + 1."""
    beta_fast: float | None = None
    """yarn: pairs that turn more often than this within the context of pretraining are kept; None: 32."""
    beta_slow: float | None = None
    """yarn: pairs that turn less often than this are divided by `factor`; None: 1."""
    mscale: float | None = None
    """yarn: with `mscale_all_dim`, decides the attention factor where none is given."""
    mscale_all_dim: float | None = None
    """yarn: see `mscale`."""
    truncate: bool = True
    """yarn: bounds between kept and divided pairs are whole pairs."""


@documented
@dataclass(frozen=True)
class Architecture:
    """Switches of the block beyond those of `GPTConfig`; the defaults are Qwen3's, Qwen2's and Llama's."""

    model_type: str = ""
    """Family in whose format the model is saved; empty: the one that has the switches of `GPTConfig`."""
    norm: Norm = "rms"
    """rms: x / rms(x) * w. rms_plus_one: x / rms(x) * (1 + w). layer: LayerNorm with a bias."""
    norm_places: NormPlaces = "before"
    """Norms of the input of attention and MLP (before), of their output (after), or of both (around)."""
    qk_norm_all_heads: bool = False
    """With `qk_norm`: one norm over all heads of a token instead of one for each head."""
    mlp: MLPKind = "swiglu"
    """swiglu and geglu: down(f(gate x) * up x) with f silu or tanh-GELU. gelu: down(gelu(up x)), no gate."""
    all_biases: bool = False
    """Biases on every linear layer of a block, with `attention_bias`."""
    learned_positions: bool = False
    """A vector for each position is added to the embedding, and nothing is rotated."""
    rope_scaling: RopeScaling | None = None
    """Of the layers without a window where `windowed_theta` is set, of all others too otherwise."""
    rotated_layers: tuple[bool, ...] = ()
    """Which layers rotate queries and keys; empty: all."""
    window: int | None = None
    """A token sees that many tokens, itself included, in the windowed layers."""
    windowed_layers: tuple[bool, ...] = ()
    """Which layers have the window; empty: all."""
    windowed_theta: float | None = None
    """Base of the rotary wavelengths in windowed layers, unscaled; None: that of the others."""
    query_scale: float | None = None
    """Scores are q . k / sqrt(query_scale); None: the width of a head."""
    attention_softcap: float | None = None
    """Scores s become c tanh(s / c)."""
    logit_softcap: float | None = None
    """Logits l become c tanh(l / c)."""
    scaled_embedding: bool = False
    """Embeddings are multiplied by sqrt(width)."""

    def window_of(self, layer: int) -> int | None:
        """Tokens that one of `layer` sees, or None for all before it."""
        return self.window if not self.windowed_layers or self.windowed_layers[layer] else None

    def attention_options(self, layer: int) -> AttentionOptions:
        """Arguments of attention in `layer`; none where all have their defaults."""
        options: AttentionOptions = {}
        if self.query_scale is not None:
            options["scale"] = self.query_scale**-0.5
        if (window := self.window_of(layer)) is not None:
            options["window"] = window
        if self.attention_softcap is not None:
            options["softcap"] = self.attention_softcap
        return options

    def rotates(self, layer: int) -> bool:
        """Whether `layer` rotates queries and keys."""
        return not self.learned_positions and (not self.rotated_layers or self.rotated_layers[layer])

    def of_layers(self, depth: int) -> Architecture:
        """Returns the same for a model of the first `depth` layers, in the one spelling that equal models share."""
        windowed = tuple(self.window_of(layer) is not None for layer in range(depth))
        rotated = self.rotated_layers[:depth]
        return replace(
            self,
            rotated_layers=() if all(rotated) else rotated,
            window=self.window if any(windowed) else None,
            windowed_layers=() if all(windowed) or not any(windowed) else windowed,
        )


PLAIN = Architecture()

NORM_VECTORS: Mapping[Norm, int] = {"rms": 1, "rms_plus_one": 1, "layer": 2}
"""Vectors of weights in a norm."""
