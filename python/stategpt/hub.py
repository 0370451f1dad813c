"""Model folders by their name on the Hugging Face Hub: `org/name`, or `org/name@revision`. Local paths always win.

Downloaded are weights as safetensors, settings, tokenizer and chat template, from the top of the repository. A pickle
never is: it could run code. `HF_HUB_OFFLINE=1` allows only what was downloaded before.
"""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import NoReturn

from stategpt.errors import HubError, MissingFile
from stategpt.extras import require

TOKENIZER_FILES = ("*.json", "*.jinja", "tokenizer.model")
MODEL_FILES = (*TOKENIZER_FILES, "*.safetensors")
LEFT_OUT = ("*/*", "consolidated*.safetensors")
"""Folders (other formats, figures) and the copy of the weights in Mistral's own format."""

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_NAME = re.compile(rf"({_PART}/{_PART})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{{0,199}}))?")
_FILE_SUFFIXES = (".json", ".jinja", ".model", ".gguf", ".safetensors", ".toml", ".bin", ".pt", ".pth")


def local_path(source: str | PathLike[str], files: tuple[str, ...] = MODEL_FILES) -> Path:
    """Returns the local path of `source`; a name on the Hub is downloaded first, into the Hub's cache.

    A text is a name where it has that form, nothing is at that path and no folder here has its first part as a name: in
    a folder with `runs`, `runs/tiny` is a path. A `Path` is always a path.

    Args:
        source: a path, or `org/name`, or `org/name@revision` (a branch, tag or commit).
        files: patterns of the files that are needed.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        MissingFile: the Hub has no such model or revision.
        HubError: no access (a gated model), offline or no connection.
    """
    if not isinstance(source, str) or not is_hub_name(source):
        return Path(source)
    require("huggingface_hub", f"{source}, which is not a path here and so a model on the Hugging Face Hub,", "hf")
    name, _, revision = source.partition("@")
    return _downloaded(name, revision or None, files)


def is_hub_name(source: str, base: Path | None = None) -> bool:
    """Tells whether a text is taken as a name on the Hub; paths are relative to `base`, else to the working folder."""
    folder, name = base or Path(), _NAME.fullmatch(source)
    if name is None or name[1].endswith(_FILE_SUFFIXES):
        return False
    return not (folder / source).exists() and not (folder / name[1].partition("/")[0]).exists()


def _downloaded(name: str, revision: str | None, files: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(name, revision=revision, allow_patterns=[*files], ignore_patterns=[*LEFT_OUT])
    except Exception as error:  # its errors, those of its HTTP library and of the system
        _explain(name, revision, error)
    return Path(found)


def _explain(name: str, revision: str | None, error: Exception) -> NoReturn:
    """Raises the error that says what to do about what huggingface_hub raised."""
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    where = f"https://huggingface.co/{name}"
    # What it says of a missing model names the name; the first line, as the rest is of its programming interface.
    said = str(error).strip().partition("\n")[0][:300]
    if isinstance(error, hub.GatedRepoError):
        raise HubError(
            f"{name} is gated: accept its terms at {where} and log in (hf auth login), or set HF_TOKEN."
        ) from error
    if isinstance(error, hub.RevisionNotFoundError):
        raise MissingFile(
            f"{name} has no revision {revision!r}; see {where}/branches, or leave @{revision} out."
        ) from error
    if isinstance(error, hub.RepositoryNotFoundError):
        raise MissingFile(
            f"{name} is neither a path here nor a model at {where}. Check the name; for a private model log in "
            "(hf auth login), or set HF_TOKEN."
        ) from error
    if constants.HF_HUB_OFFLINE:
        raise HubError(
            f"{name} was not downloaded before, and HF_HUB_OFFLINE forbids a download. Unset it, or give the path of a "
            "folder."
        ) from error
    raise HubError(
        f"{name} could not be downloaded ({type(error).__name__}: {said}). Check the connection, or give the path of a "
        "folder that holds the model."
    ) from error
