"""Curation: documents are cleaned, filtered and compared; every removed document leaves a record of rule and evidence."""

from __future__ import annotations

from stategpt.data.curation.removed import Removed

__all__ = ["Removed"]
