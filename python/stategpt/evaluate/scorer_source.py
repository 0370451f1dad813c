"""The source file of a scorer of the user's, as a digest for fingerprints: an edited scorer makes another run."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path


def source_digest(name: str) -> str:
    """SHA-256 of the source file of the module in `module:function`; "" where it has none or cannot be found.

    Modules that the module imports are not in it. A module that cannot be found is refused where the scorer is built.
    """
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        found = importlib.util.find_spec(name.partition(":")[0])
    except (ImportError, ValueError, AttributeError):
        return ""
    finally:
        sys.path.remove(here)
    if found is None or not found.has_location or found.origin is None:
        return ""
    try:
        return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()
    except OSError:
        return ""
