"""Optional dependencies: checks that one is installed, and says how to install it."""

from __future__ import annotations

import importlib.util
import sys
from typing import Literal

from stategpt.errors import MissingExtra

Extra = Literal["train", "hf", "data", "web", "pdf", "scorers", "constraints", "serve"]

MODULES: dict[Extra, tuple[str, ...]] = {
    "train": ("torch", "triton", "matplotlib", "jinja2"),
    "hf": ("tokenizers", "transformers", "huggingface_hub", "gguf"),
    "data": ("pyarrow", "ftfy"),
    "web": ("resiliparse", "fastwarc"),
    "pdf": ("pypdfium2",),
    "scorers": ("jsonschema",),
    "constraints": ("llguidance",),
    "serve": ("starlette", "uvicorn"),
}
"""Top-level modules that each extra brings."""


def install_hint(extra: Extra) -> str:
    """Returns how to install an extra, as a sentence. The package is not on PyPI, so it starts from the source."""
    return f"In the folder of stategpt's source run: pip install '.[{extra}]' (or a wheel of it, see README, Install)."


def missing_extra(what: str, module: str, extra: Extra = "train") -> MissingExtra:
    """Returns the error for `what` (as in "the report") that needs `module`."""
    return MissingExtra(f"{what} needs {module}, which is not installed. {install_hint(extra)}")


def require(module: str, what: str, extra: Extra = "train") -> None:
    """Checks that `module` is installed for `what`; it is not imported, which may take seconds.

    Raises:
        MissingExtra: it is not installed; the message says how to install it. An ImportError too.
    """
    try:
        found = sys.modules.get(module) is not None or importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise missing_extra(what, module, extra)


def extra_of(module: str | None) -> Extra | None:
    """Returns the extra that includes a missing module, or None for modules of no extra."""
    top = (module or "").partition(".")[0]
    return next((extra for extra, modules in MODULES.items() if top in modules), None)
