"""Says why no token of a row can be drawn.

Legend: V vocabulary.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from stategpt.errors import NonFiniteLogits, NothingAllowed, StategptError

from .logit_edits import bad_word_ends, early_ends
from .sampling import SampledRow


def why_not_drawn(logits_V: Tensor, edited_V: Tensor, row: SampledRow) -> StategptError:
    """The error of a row: its logits as they came, and after all edits and the division by the temperature."""
    if not_numbers := int(logits_V.isnan().sum()):
        return NonFiniteLogits(
            f"{not_numbers:,} of {len(logits_V):,} logits are NaN; look for weights or activations that overflow"
        )
    if bool((logits_V.float() == float("inf")).any()):
        return NonFiniteLogits("a logit is infinite; look for weights or activations that overflow")
    if bool((edited_V == float("inf")).any()) or bool(edited_V.isnan().any()):
        return NonFiniteLogits(
            f"temperature {row.sampling.temperature:g} makes logits infinite; give a larger one, or 0 for the most "
            "likely token"
        )
    return NothingAllowed("no id is left to draw: " + "; ".join(_removals(logits_V, row)))


def _removals(logits_V: Tensor, row: SampledRow) -> list[str]:
    """What removed ids, with numbers."""
    V, sampling = len(logits_V), row.sampling
    told = []
    if possible := int((logits_V == float("-inf")).sum()):
        told.append(f"{possible:,} of {V:,} logits are -inf")
    if sampling.allowed_ids is not None:
        told.append(f"`allowed` holds {len(sampling.allowed_ids):,} ids")
    if sampling.removed_ids.size:
        told.append(f"`forbidden` and bad words of one id remove {len(sampling.removed_ids):,}")
    if words := bad_word_ends(row):
        told.append(f"bad words end here in {len(set(words)):,}")
    if early_ends(row):
        told.append(f"the ends are forbidden before min_tokens={sampling.min_tokens}")
    if row.mask is not None:
        bits = np.unpackbits(row.mask.astype("<u4").view(np.uint8), bitorder="little")[:V]
        told.append(f"the constraint's mask allows {int(bits.sum()):,}")
    return told
