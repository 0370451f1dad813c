"""Attention over packed documents, padded rows and shared prefixes.

`reference.py` says what it means, `cases.py` what every implementation is tested on.
"""

from .reference import attention_reference, visible_keys

__all__ = ["attention_reference", "visible_keys"]
