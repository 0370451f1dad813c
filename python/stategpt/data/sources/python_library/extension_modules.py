"""Docstrings of builtins and C modules, which have no source to parse: by import, from a fixed list.

Nothing is imported that does more than define names. Left out on purpose: `readline` (writes to the terminal),
`_tkinter` (loads a window system), test modules (`_testcapi`, `xxlimited`) and deprecated ones that warn or are gone
from newer versions anyway (`nis`, `ossaudiodev`).
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
import types
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from stategpt.data.sources.python_library.docstrings import starts_with_call
from stategpt.data.sources.python_library.records import Entry, EntryKind
from stategpt.data.sources.python_library.units import unit_of

_LISTED = """
    builtins _abc _ast _asyncio _bisect _blake2 _bz2 _codecs _collections _contextvars _crypt _csv _ctypes _curses
    _curses_panel _datetime _dbm _decimal _elementtree _functools _gdbm _hashlib _heapq _imp _io _json _locale _lsprof
    _lzma _md5 _multibytecodec _multiprocessing _opcode _operator _pickle _posixshmem _posixsubprocess _queue _random
    _sha1 _sha2 _sha256 _sha3 _sha512 _signal _socket _sqlite3 _sre _ssl _stat _statistics _string _struct _symtable
    _thread _tokenize _tracemalloc _typing _uuid _warnings _weakref _zoneinfo _zstd array atexit audioop binascii cmath
    errno faulthandler fcntl gc grp itertools marshal math mmap posix pwd pyexpat resource select spwd sys syslog
    termios time unicodedata zlib
"""
SAFE_TO_IMPORT = tuple(name for name in _LISTED.split() if name in sys.stdlib_module_names)
"""What this version of Python knows of the list. Builtins first: of two with one docstring the first is kept."""

_MEMBERS = (
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.WrapperDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    staticmethod,
    classmethod,
)
_CALLED = types.BuiltinFunctionType | types.MethodDescriptorType | types.ClassMethodDescriptorType
_WRITTEN_SIGNATURE = re.compile(r"\(.*\)(?: -> [^.]*)?$")
_NOT_GIVEN = re.compile(r"^\(\$(?:module|type)(?:, )?(?:/(?:, )?)?")


@dataclass(slots=True)
class ExtensionModules:
    """What the C modules of this interpreter describe."""

    entries: list[Entry] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    """Modules that could be imported."""
    missing: list[str] = field(default_factory=list)
    """Modules of the list that this interpreter does not have."""


def available() -> tuple[list[str], list[str]]:
    """Names of the list that this interpreter has, and those it lacks; nothing is imported."""
    have = [name for name in SAFE_TO_IMPORT if importlib.util.find_spec(name) is not None]
    return have, [name for name in SAFE_TO_IMPORT if name not in have]


def read_extension_modules(names: Iterable[str] = SAFE_TO_IMPORT) -> ExtensionModules:
    """Docstrings of the modules `names`, their functions, classes and methods, sorted by name within a module."""
    found = ExtensionModules()
    seen: set[int] = set()
    for name in names:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                module = importlib.import_module(name)
        except ImportError:
            found.missing.append(name)
            continue
        found.read.append(name)
        found.entries += _module_entries(module, seen)
    return found


def public_name(module: str) -> str:
    """The name users import: `_struct` -> `struct`, `posix` -> `os`; builtins need none, and `_thread` stays."""
    top, dot, rest = module.partition(".")
    bare = {"builtins": "", "posix": "os", "nt": "os"}.get(top, top.lstrip("_"))
    return module if bare and bare not in sys.stdlib_module_names else (bare + dot + rest if bare else rest)


def _module_entries(module: types.ModuleType, seen: set[int]) -> Iterator[Entry]:
    unit = unit_of(module.__name__)
    name = public_name(module.__name__) or module.__name__
    if text := _text(module):
        yield Entry(name, "", text, unit, "module")
    for _, value in sorted(vars(module).items()):
        if id(value) in seen or not _is_own(value, module):
            continue
        seen.add(id(value))
        home = public_name(getattr(value, "__module__", None) or module.__name__)
        yield from _entries(value, f"{home}.{value.__qualname__}".lstrip("."), unit_of(home or module.__name__))


def _is_own(value: object, module: types.ModuleType) -> bool:
    """A C function or class that belongs to `module`: nothing that Python code put there, or that C code borrowed."""
    if isinstance(value, types.BuiltinFunctionType):
        return value.__self__ is None or isinstance(value.__self__, types.ModuleType)
    if not isinstance(value, type) or any(isinstance(member, types.FunctionType) for member in vars(value).values()):
        return False
    return unit_of(value.__module__) == unit_of(module.__name__)


def _entries(value: types.BuiltinFunctionType | type, name: str, unit: str) -> Iterator[Entry]:
    """The entry of a function, or of a class and its own members."""
    if entry := _entry(value, name, unit, "class" if isinstance(value, type) else "function"):
        yield entry
    if isinstance(value, type):
        for member_name, member in sorted(vars(value).items()):
            described = getattr(member, "__func__", member)
            if isinstance(member, _MEMBERS) and (entry := _entry(described, f"{name}.{member_name}", unit, "function")):
                yield entry


def _entry(value: object, name: str, unit: str, kind: EntryKind) -> Entry | None:
    """One entry; a signature that an old docstring writes in its first line is taken from there."""
    text = _text(value)
    if not text:
        return None
    signature = _signature(value)
    first, _, rest = text.partition("\n")
    written = _WRITTEN_SIGNATURE.search(first) if starts_with_call(first, name) else None
    if not signature and written and rest.strip():
        return Entry(name, written[0].rstrip(), inspect.cleandoc(rest), unit, kind)
    return Entry(name, signature or ("(...)" if isinstance(value, _CALLED) else ""), text, unit, kind)


def _text(value: object) -> str:
    doc = getattr(value, "__doc__", None)
    return inspect.cleandoc(doc) if isinstance(doc, str) else ""


def _signature(value: object) -> str:
    """The signature in the interpreter's own notes (PEP 7's clinic), without what a caller does not give; may be empty.

    Read as text: `inspect.signature` would evaluate defaults, whose values depend on the machine.
    """
    noted = getattr(value, "__text_signature__", None) or ""
    return _NOT_GIVEN.sub("(", re.sub(r"\n\s*", " ", noted)).replace("$self", "self")
