"""Curation: documents are cleaned, filtered and compared; every removed one leaves a record of rule and evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stategpt.lazy_names import lazy_names

if TYPE_CHECKING:
    from .clean import clean_text as clean_text
    from .clean import repair_mojibake as repair_mojibake
    from .pii import find_pii as find_pii
    from .pii import replace_pii as replace_pii
    from .pipeline import Curated as Curated
    from .pipeline import curate as curate
    from .pipeline import read_curated as read_curated
    from .receipts import RemovedDocument as RemovedDocument
    from .removed import Removed as Removed
    from .rules import rule_values as rule_values
    from .summary import Comparison as Comparison
    from .summary import CurationSummary as CurationSummary
    from .summary import RemovedExample as RemovedExample
    from .summary import SourceSummary as SourceSummary

__all__ = [
    "Comparison",
    "Curated",
    "CurationSummary",
    "Removed",
    "RemovedDocument",
    "RemovedExample",
    "SourceSummary",
    "clean_text",
    "curate",
    "find_pii",
    "read_curated",
    "repair_mojibake",
    "replace_pii",
    "rule_values",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "clean": ("clean_text", "repair_mojibake"),
        "pii": ("find_pii", "replace_pii"),
        "pipeline": ("Curated", "curate", "read_curated"),
        "receipts": ("RemovedDocument",),
        "removed": ("Removed",),
        "rules": ("rule_values",),
        "summary": ("Comparison", "CurationSummary", "RemovedExample", "SourceSummary"),
    },
)
