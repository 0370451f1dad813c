"""Public names of a package, imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from stategpt.extras import require

_PRESENT = ("__all__", "__doc__", "__file__", "__name__", "__path__", "__spec__")


def lazy_names(
    package: str, modules: Mapping[str, tuple[str, ...]], *, submodules: tuple[str, ...] = (), torch: bool = False
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Builds the `__getattr__` and `__dir__` of `package` (PEP 562).

    Args:
        package: dotted name of the package.
        modules: names that each module of the package gives, `{"chat": ("ControlTokens", ...)}`.
        submodules: modules that are public names themselves.
        torch: whether a name needs torch (`MissingExtra` where it is not installed).
    """
    module_of = {name: module for module, names in modules.items() for name in names}
    assert not set(module_of) & set(submodules)

    def get(name: str) -> Any:
        """Imports and returns the public name."""
        if name not in module_of and name not in submodules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if torch:
            require("torch", f"{package}.{name}")
        loaded = importlib.import_module(f"{package}.{module_of.get(name, name)}")
        value = getattr(loaded, name) if name in module_of else loaded
        setattr(sys.modules[package], name, value)
        return value

    def listed() -> list[str]:
        """Returns the public names, for `dir()`."""
        return sorted({*sys.modules[package].__all__, *_PRESENT})

    return get, listed
