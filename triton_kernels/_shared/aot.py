"""Compiles every shipped launch of every operation without a GPU, and writes what the machine code takes.

    python triton_kernels/_shared/aot.py [--out PATH] [--only PATTERN] [--jobs 2]

Needs triton alone, so that an old version of it can run in a separate environment. It writes JSON:

    {"triton": "3.6.0", "sources": "<hash of what was compiled>", "rows": {"<operation arch dtype kernel use>": {...}}}
"""

import argparse
import hashlib
import importlib
import json
import os
import re
import sys
import types
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .variants import Variant

KERNELS = Path(__file__).resolve().parents[1]
PACKAGE = "gallery"
"""Name under which the kernels are loaded here: their folder is no package."""
Named = tuple[str, dict[str, Any]]
"""A row and its name."""
COMPILED = ("kernel.py", "signatures.py", "configs.json")
NOT_COMPILED = ("__init__.py", "aot_page.py", "gate.py", "strides.py")


def operations() -> list[str]:
    """Folders with kernels and the signatures to compile them by."""
    return sorted(path.parent.name for path in KERNELS.glob("*/signatures.py"))


def source_hash() -> str:
    """Changes with every file that decides what is compiled and what is read from it."""
    paths = [KERNELS / operation / name for operation in operations() for name in COMPILED]
    paths += [path for path in sorted((KERNELS / "_shared").glob("*.py")) if path.name not in NOT_COMPILED]
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(KERNELS)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def row_name(operation: str, variant: "Variant") -> str:
    """As in `attention sm_90 bf16 forward 128/*/*/* prefix`."""
    return f"{operation} {variant.arch} {variant.dtype} {variant.kernel} {variant.label}"


@cache
def load(operation: str, module: str) -> types.ModuleType:
    """A module of an operation, without the operation's `__init__`, which needs torch."""
    for name, folder in ((PACKAGE, KERNELS), (f"{PACKAGE}.{operation}", KERNELS / operation)):
        if name not in sys.modules:
            package = types.ModuleType(name)
            package.__path__ = [str(folder)]
            sys.modules[name] = package
    return importlib.import_module(f"{PACKAGE}.{operation}.{module}")


def all_variants() -> Iterator[tuple[str, str, "Variant"]]:
    """(row name, operation, variant) of everything that ships."""
    names = set()
    for operation in operations():
        for variant in load(operation, "signatures").variants():
            name = row_name(operation, variant)
            if name in names:
                raise ValueError(f"two variants are called {name!r}; {operation}/signatures.py must tell them apart")
            names.add(name)
            yield name, operation, variant


def compile_variant(operation: str, variant: "Variant") -> dict[str, Any]:
    """The row of one variant."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    function = getattr(load(operation, "kernel"), variant.kernel)
    place = {name: index for index, name in enumerate(function.arg_names)}
    if set(place) != set(variant.signature):
        differing = sorted(set(place) ^ set(variant.signature))
        raise ValueError(f"{operation}.{variant.kernel}: kernel.py and signatures.py differ in {differing}")
    source = ASTSource(
        function,
        {name: variant.signature[name] for name in function.arg_names},
        constexprs={(place[name],): value for name, value in variant.constants.items()},
        attrs={(place[name],): [["tt.divisibility", 16]] for name in variant.aligned},
    )
    options = {"num_warps": variant.warps, "num_stages": variant.stages, "enable_fp_fusion": True}
    target = GPUTarget("cuda", int(variant.arch.removeprefix("sm_")), 32)
    kernel = triton.compile(source, target=target, options=options)
    machine_code = importlib.import_module(f"{PACKAGE}._shared.machine_code")
    figures: dict[str, Any] = machine_code.figures(
        kernel.asm["cubin"], Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    )
    blocks = [value for name, value in variant.constants.items() if name.startswith(("BLOCK_", "ROWS"))]
    launch = {"blocks": blocks, "warps": variant.warps, "stages": variant.stages, "wants_wgmma": variant.wants_wgmma}
    return launch | {"shared": kernel.metadata.shared} | figures


def _compile(job: tuple[str, str, "Variant"]) -> Named:
    name, operation, variant = job
    try:
        return name, compile_variant(operation, variant)
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise RuntimeError(f"{name} does not compile: {type(cause).__name__}: {str(cause)[-2000:]}") from None


def compile_all(jobs: int, only: str = "") -> dict[str, dict[str, Any]]:
    """Rows by name, of the variants whose name the regular expression `only` finds."""
    # The packages first: the worker processes get variants of their classes.
    wanted = [job for job in all_variants() if re.search(only, job[0])]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_prepare) as workers:
        return dict(_counted(workers.map(_compile, wanted), len(wanted)))


def _counted(rows: Iterable[Named], total: int) -> Iterator[Named]:
    """The rows as they come; a terminal shows how many there are."""
    for number, row in enumerate(rows, 1):
        if sys.stderr.isatty():
            print(f"\r{number}/{total}", end="\n" if number == total else "", file=sys.stderr, flush=True)
        yield row


def _prepare() -> None:
    for operation in operations():
        load(operation, "signatures")


def write(path: Path | None, document: dict[str, Any]) -> None:
    """JSON with one row a line, so that a difference reads well."""
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in document["rows"].items())
    head = "".join(f" {json.dumps(key)}: {json.dumps(document[key])},\n" for key in ("triton", "sources"))
    text = f'{{\n{head} "rows": {{\n{rows}\n }}\n}}\n'
    if path is None:
        sys.stdout.write(text)
        return
    if path.is_dir():
        path /= f"{document['triton']}.json"
    path.write_text(text, encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--out", type=Path, help="file to write, or a folder for VERSION.json; otherwise standard output"
    )
    parser.add_argument("--only", default="", metavar="PATTERN", help="regular expression; rows whose name it finds")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    arguments = parser.parse_args()
    if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
        parser.error("TRITON_INTERPRET is set: its kernels are interpreted, never compiled; unset it")
    import triton

    with TemporaryDirectory() as folder:
        os.environ["TRITON_CACHE_DIR"] = folder  # nothing compiled before may be reused
        rows = compile_all(arguments.jobs, arguments.only)
    write(arguments.out, {"triton": triton.__version__, "sources": source_hash(), "rows": rows})


if __name__ == "__main__":
    main()
