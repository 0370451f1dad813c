"""Properties of this machine, without importing torch."""

from __future__ import annotations

import os


def memory_bytes() -> int | None:
    """Returns the size of main memory, or None if the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
