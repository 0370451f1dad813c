"""Front door of the kernels: each operation validates its inputs, picks an implementation and logs the choice once."""

from .attention import attention as attention
from .attention import cached_attention as cached_attention
from .attention_choice import Backend as Backend
from .cross_entropy import cross_entropy as cross_entropy
from .layout import TensorLayout as TensorLayout
from .paged_attention import PagedBackend as PagedBackend
from .paged_attention import SharedPrefix as SharedPrefix
from .paged_attention import paged_attention as paged_attention
from .rms_norm import rms_norm as rms_norm
from .rotary import rotary_angles as rotary_angles
from .rotary import rotary_frequencies as rotary_frequencies
from .rotary import rotate as rotate

__all__ = [
    "Backend",
    "PagedBackend",
    "SharedPrefix",
    "TensorLayout",
    "attention",
    "cached_attention",
    "cross_entropy",
    "paged_attention",
    "rms_norm",
    "rotary_angles",
    "rotary_frequencies",
    "rotate",
]
