"""The operations: each validates its inputs, chooses an implementation and logs the choice once."""

from stategpt.extras import require

require("torch", __name__)

from .attention import attention as attention  # noqa: E402
from .attention_choice import Backend as Backend  # noqa: E402
from .cached_attention import cached_attention as cached_attention  # noqa: E402
from .cross_entropy import cross_entropy as cross_entropy  # noqa: E402
from .layout import TensorLayout as TensorLayout  # noqa: E402
from .linear_cross_entropy import linear_cross_entropy as linear_cross_entropy  # noqa: E402
from .page_plan import PagePlan as PagePlan  # noqa: E402
from .page_plan import attend_joined as attend_joined  # noqa: E402
from .page_plan import attend_pages as attend_pages  # noqa: E402
from .page_plan import page_arrays as page_arrays  # noqa: E402
from .page_plan import write_pages as write_pages  # noqa: E402
from .paged_attention import PagedBackend as PagedBackend  # noqa: E402
from .paged_attention import SharedPrefix as SharedPrefix  # noqa: E402
from .paged_attention import paged_attention as paged_attention  # noqa: E402
from .rms_norm import rms_norm as rms_norm  # noqa: E402
from .rotary import rotary_angles as rotary_angles  # noqa: E402
from .rotary import rotary_frequencies as rotary_frequencies  # noqa: E402
from .rotary import rotate as rotate  # noqa: E402
from .row_chunks import by_row_chunks as by_row_chunks  # noqa: E402
from .row_chunks import logit_rows as logit_rows  # noqa: E402
from .row_chunks import next_token_loss_by_chunks as next_token_loss_by_chunks  # noqa: E402

__all__ = [
    "Backend",
    "PagePlan",
    "PagedBackend",
    "SharedPrefix",
    "TensorLayout",
    "attend_joined",
    "attend_pages",
    "attention",
    "by_row_chunks",
    "cached_attention",
    "cross_entropy",
    "linear_cross_entropy",
    "logit_rows",
    "next_token_loss_by_chunks",
    "page_arrays",
    "paged_attention",
    "rms_norm",
    "rotary_angles",
    "rotary_frequencies",
    "rotate",
    "write_pages",
]
