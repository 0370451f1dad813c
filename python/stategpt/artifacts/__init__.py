"""Everything a run leaves on disk: publish it whole, verify it before use, know what it was made from.

No torch, no pickle: JSON manifests, hashes and plain files.
"""

from .fingerprint import Json, fingerprint
from .lineage import Lineage, Node, write_lineage
from .lines import append_line, read_lines
from .lock import RunLock
from .measurements import Measurements
from .publish import FileRecord, Manifest, publish_file, publish_folder, publish_written, read_manifest, verify
from .receipt import is_finished, write_receipt
from .run_folder import RunFolder

__all__ = [
    "FileRecord",
    "Json",
    "Lineage",
    "Manifest",
    "Measurements",
    "Node",
    "RunFolder",
    "RunLock",
    "append_line",
    "fingerprint",
    "is_finished",
    "publish_file",
    "publish_folder",
    "publish_written",
    "read_lines",
    "read_manifest",
    "verify",
    "write_lineage",
    "write_receipt",
]
