"""A linear layer whose own weights are frozen, with a trained low-rank difference beside them.

    LoRA      y = W x + b + s B A x                                          (Hu et al. 2021, arXiv 2106.09685)
    rsLoRA    the same with s = alpha / sqrt(rank) instead of alpha / rank   (Kalajdzievski 2023, arXiv 2312.03732)
    DoRA      y = m / ||W + s B A|| (W + s B A) x + b, norms of rows         (Liu et al. 2024, arXiv 2402.09353)

B starts at 0 (and DoRA's m at the norms of W), so that the first output is the base's, bit for bit. No matrix of the
size of W is made: DoRA's norms are ||W_i||^2 + 2 s (W A^T)_i B_i + s^2 B_i (A A^T) B_i^T for row i.

Legend: N tokens, I inputs, O outputs, R rank.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stategpt.randomness import bits

from .quantize import QuantizedLinear


class LoRALinear(nn.Module):
    """`base` (a `nn.Linear` or `QuantizedLinear`), frozen, and its adapter in float32.

    A is drawn as in the paper's code and PEFT, uniform within 1 / sqrt(I), from `seed` and `name` alone.
    """

    def __init__(
        self,
        base: nn.Module,
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        rslora: bool = False,
        dora: bool = False,
        seed: int = 0,
        name: str = "",
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.in_features, self.out_features = int(base.in_features), int(base.out_features)  # type: ignore[arg-type]
        self.rank, self.alpha, self.dropout, self.rslora, self.seed = rank, alpha, dropout, rslora, seed
        self.enabled = True
        """Whether the adapter is applied (`adapters_off`)."""
        device = _device_of(base)
        drawn = torch.Generator().manual_seed(int(bits(seed, "lora", name)) >> 1)
        first = nn.init.kaiming_uniform_(torch.empty(rank, self.in_features), a=math.sqrt(5), generator=drawn)
        self.lora_A = nn.Parameter(first.to(device))
        """float32[R, I]."""
        self.lora_B = nn.Parameter(torch.zeros(self.out_features, rank, device=device))
        """float32[O, R]."""
        self.magnitude = nn.Parameter(self.row_norms()) if dora else None
        """DoRA's m: float32[O]."""
        self.train(base.training)

    @property
    def scale(self) -> float:
        """s above."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    @property
    def bias(self) -> Tensor | None:
        """That of the base: float[O]."""
        return getattr(self.base, "bias", None)

    def base_weight(self) -> Tensor:
        """W in the base's number format, or dequantized. -> [O, I]."""
        return weight_of(self.base)

    @torch.no_grad()
    def row_norms(self) -> Tensor:
        """||W + s B A|| of each row; a constant for the gradient (arXiv 2402.09353, section 4.3). -> float32[O]."""
        with torch.autocast(self.lora_A.device.type, enabled=False):
            weight, A, B = self.base_weight().float(), self.lora_A.float(), self.lora_B.float()
            square = torch.linalg.vector_norm(weight, dim=1).square()
            square += 2 * self.scale * (F.linear(weight, A) * B).sum(dim=1)
            square += self.scale**2 * (F.linear(B, F.linear(A, A)) * B).sum(dim=1)
            return square.clamp_min(0.0).sqrt()  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """-> [..., O], in the number format of the base's output."""
        y: Tensor = self.base(x)
        if not self.enabled:
            return y
        low = F.linear(F.dropout(x, self.dropout, self.training), self.lora_A.to(x.dtype))
        if self.magnitude is not None:
            change = F.linear(low, self.lora_B.to(low.dtype)) * self.scale
            factor = self.magnitude / self.row_norms()
            unbiased = y if self.bias is None else y - self.bias.to(y.dtype)
            # factor - 1 before it is rounded: bfloat16 has nothing between 1 and 1.0078
            return y + (factor - 1).to(y.dtype) * unbiased + factor.to(y.dtype) * change.to(y.dtype)
        flat, B = low.view(-1, self.rank).to(y.dtype), self.lora_B.to(y.dtype)
        return torch.addmm(y.view(-1, self.out_features), flat, B.t(), alpha=self.scale).view(y.shape)

    @torch.no_grad()
    def merged_weight(self) -> Tensor:
        """W with the adapter in it, computed in float32. -> float32[O, I]."""
        weight = self.base_weight().float() + self.scale * (self.lora_B.float() @ self.lora_A.float())
        if self.magnitude is None:
            return weight
        return weight * (self.magnitude.float() / torch.linalg.vector_norm(weight, dim=1))[:, None]  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Describes the adapter in the model's printed form."""
        kind = "DoRA" if self.magnitude is not None else "rsLoRA" if self.rslora else "LoRA"
        return f"{kind}, rank={self.rank}, alpha={self.alpha:g}, dropout={self.dropout:g}"


def weight_of(layer: nn.Module) -> Tensor:
    """Returns the weights of a linear layer as they are, or those of a quantized one, dequantized. -> [O, I]."""
    if isinstance(layer, QuantizedLinear):
        return layer.dequantized()
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return weight


def _device_of(layer: nn.Module) -> torch.device:
    for tensor in (*layer.parameters(), *layer.buffers()):
        return tensor.device
    return torch.get_default_device()
