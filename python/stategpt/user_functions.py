"""Functions of the user that a setting names as `module:function`: imported, and the digest of their source file."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from stategpt.arguments import nearest_hint
from stategpt.errors import ConfigError

_LOADED: dict[str, str] = {}
"""Digest of the source file of each module, when it was loaded."""


def load_function(name: str, setting: str) -> Callable[..., Any]:
    """The function that `setting` names as `module:function`; the working folder is searched too.

    A module that was edited since it was loaded is loaded again: fingerprints are those of the file as it is now.

    Raises:
        ConfigError: the module cannot be imported or has no such function; names the nearest.
    """
    module_name, _, function_name = name.partition(":")
    with _working_folder() as here:
        try:
            module = _loaded(module_name, source_digest(name))
        except Exception as error:  # the module is the user's: importing it may raise anything
            raise ConfigError(
                f"{setting} = {name!r}: importing {module_name!r} raised {type(error).__name__}: {error}. Install the "
                f"module, or run where it is; this is {here}"
            ) from error
    found = getattr(module, function_name, None)
    if not callable(found):
        names = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
        message = f"{setting} = {name!r}: {module_name} has no function {function_name!r}"
        raise ConfigError("; ".join(filter(None, [message, nearest_hint(function_name, names)])))
    return found  # type: ignore[no-any-return]


def source_digest(name: str) -> str:
    """SHA-256 of the source file of the module in `module:function`; "" where it has none or cannot be found.

    Modules that the module imports are not in it. A module that cannot be found is refused where it is loaded.
    """
    with _working_folder():
        try:
            found = importlib.util.find_spec(name.partition(":")[0])
        except (ImportError, ValueError, AttributeError):
            return ""
    if found is None or not found.has_location or found.origin is None:
        return ""
    try:
        return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()
    except OSError:
        return ""


def _loaded(name: str, digest: str) -> ModuleType:
    """The module as its file is now."""
    known = _LOADED.get(name)
    module = importlib.import_module(name)
    if known not in (None, digest):
        module = importlib.reload(module)
    _LOADED[name] = digest
    return module


@contextmanager
def _working_folder() -> Iterator[str]:
    """Modules are searched for in the working folder, too; yields its path."""
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        yield here
    finally:
        sys.path.remove(here)
