"""Rotary angles of a model: plain frequencies, or stretched ones for contexts longer than those of pretraining.

linear    f / factor (Chen et al. 2023, arXiv 2306.15595)
dynamic   f: its larger base applies beyond the context, and no sequence is longer than that here
llama3    f / factor for long wavelengths, f for short ones, a ramp in the number of turns between (Llama 3.1)
yarn      the same with a ramp over pairs, and all angles' cosines and sines times a factor (Peng et al. 2023,
          arXiv 2309.00071)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from stategpt.config.architecture import RopeScaling
from stategpt.config.gguf_rope import yarn_attention_factor
from stategpt.ops import rotary_angles, rotary_frequencies

Rotary = tuple[Tensor, Tensor]
"""Cosine and sine of every token's angles: float32[N, D/2] each."""


class RotaryAngles(nn.Module):
    """Cosines and sines for the positions of a forward pass, float32 whatever format the weights are in."""

    frequency: Tensor

    def __init__(self, head_dim: int, theta: float, scaling: RopeScaling | None = None) -> None:
        super().__init__()
        self.head_dim, self.theta, self.scaling = head_dim, theta, scaling
        self.factor = attention_factor(scaling)
        """What cosines and sines are multiplied by."""
        # On the CPU also while a model is built on the meta device: no file has these numbers.
        self.register_buffer("frequency", self._frequency(torch.device("cpu")), persistent=False)

    def forward(self, position_N: Tensor) -> Rotary:
        """Computes the angles once a forward pass, for all layers. -> float32[N, D/2] twice."""
        cos, sin = rotary_angles(position_N, self.frequency)
        return (cos, sin) if self.factor == 1.0 else (cos * self.factor, sin * self.factor)

    def _frequency(self, device: torch.device) -> Tensor:
        return scaled_frequencies(self.head_dim, self.theta, self.scaling).to(device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RotaryAngles:
        """Follows the model to another device; `.to(bfloat16)` would round the frequencies to 3 digits."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.frequency = self._frequency(self.frequency.device)
        return self


def scaled_frequencies(head_dim: int, theta: float, scaling: RopeScaling | None) -> Tensor:
    """Angle that each pair turns by from one position to the next: float32[D/2] on the CPU."""
    plain = rotary_frequencies(head_dim, theta, torch.device("cpu"))
    if scaling is None or scaling.rope_type == "dynamic":
        return plain
    if scaling.rope_type == "linear":
        return plain / scaling.factor
    kept = _kept_llama3(plain, scaling) if scaling.rope_type == "llama3" else _kept_yarn(head_dim, theta, scaling)
    return plain * kept + plain / scaling.factor * (1 - kept)


def attention_factor(scaling: RopeScaling | None) -> float:
    """What yarn multiplies cosines and sines by; 1 for all others."""
    if scaling is None or scaling.rope_type != "yarn":
        return 1.0
    if scaling.attention_factor is not None:
        return scaling.attention_factor
    if scaling.mscale and scaling.mscale_all_dim:
        of_all = yarn_attention_factor(scaling.factor, scaling.mscale_all_dim)
        return yarn_attention_factor(scaling.factor, scaling.mscale) / of_all
    return yarn_attention_factor(scaling.factor)


def _kept_llama3(frequency_P: Tensor, scaling: RopeScaling) -> Tensor:
    """Share of each pair's frequency that is not divided: by how often it turns within the original context."""
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    assert low is not None  # of every llama3, as `config.hf_rope` reads them
    assert high is not None
    turns = frequency_P * ((scaling.original_max_position_embeddings or 0) / (2 * math.pi))
    return ((turns - low) / (high - low)).clamp(0, 1)


def _kept_yarn(head_dim: int, theta: float, scaling: RopeScaling) -> Tensor:
    """Share of each pair's frequency that is not divided: a ramp between the pairs of `beta_fast` and `beta_slow`."""

    def pair(turns: float) -> float:
        """Returns the pair, a fraction, that turns so often within the original context."""
        context = scaling.original_max_position_embeddings or 0
        return head_dim * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(theta))

    first, last = pair(scaling.beta_fast or 32.0), pair(scaling.beta_slow or 1.0)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, head_dim - 1)
    last = last + 0.001 if last == first else last
    return 1 - ((torch.arange(head_dim // 2, dtype=torch.float32, device="cpu") - first) / (last - first)).clamp(0, 1)
