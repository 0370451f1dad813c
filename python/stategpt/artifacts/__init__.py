"""Everything a run leaves on disk: publish it whole, verify it before use, know what it was made from.

No torch, no pickle: JSON manifests, hashes and plain files.
"""

from .fingerprint import Json, fingerprint
from .lines import append_line, read_lines
from .lock import RunLock
from .publish import FileRecord, Manifest, publish_file, publish_folder, read_manifest, verify

__all__ = [
    "FileRecord",
    "Json",
    "Manifest",
    "RunLock",
    "append_line",
    "fingerprint",
    "publish_file",
    "publish_folder",
    "read_lines",
    "read_manifest",
    "verify",
]
