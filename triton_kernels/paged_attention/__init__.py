"""Attention of one new token a sequence over a paged cache, with or without prefixes that sequences share.

`reference.py` says what it means, `cases.py` what every implementation is tested on; importing `binding` registers the
operator `stategpt::paged_attention`, and `launch` needs triton.
"""

from .reference import paged_attention_reference

__all__ = ["paged_attention_reference"]
