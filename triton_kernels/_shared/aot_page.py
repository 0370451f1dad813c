"""Checks what `aot.py` wrote, a file for each version of Triton, and makes the page that a person reads.

python triton_kernels/_shared/aot_page.py FOLDER PAGE README
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

Document = dict[str, Any]

HEAD = """\
# What the kernels compile to

Every shipped launch of every Triton kernel, compiled without a GPU; made by `make aot` and checked by the tests. Each
figure is given for Triton {versions}, and once where they agree. Spills are bytes of stack a thread (accesses within
loops in brackets); products are `wgmma` on sm_90, else warp `mma` instructions; float32 products run on the plain
units. Shared memory is in KiB. A label is head width, group, mask, length, then the use. Rules and exceptions:
[gate.py](../triton_kernels/_shared/gate.py).
"""
MARK = "<!-- made by make aot -->"
COLUMNS = ("label", "tile", "warps", "stages", "registers", "spills", "shared", "products", "TMA / async loads")


def read(folder: Path) -> list[Document]:
    """The documents of a folder, oldest Triton first."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return sorted(documents, key=lambda document: tuple(int(part) for part in document["triton"].split(".")[:2]))


def page(documents: list[Document]) -> str:
    """Markdown: a table for each operation, architecture, type and kernel."""
    text = HEAD.format(versions=" / ".join(document["triton"] for document in documents))
    sections: dict[str, list[str]] = {}
    for name in documents[0]["rows"]:
        sections.setdefault(" ".join(name.split(" ", 4)[:4]), []).append(name)
    for title, names in sections.items():
        text += f"\n## {title}\n\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n"
        for name in names:
            rows = [document["rows"][name] for document in documents]
            text += f"| {' | '.join([_label(name), *_cells(rows)])} |\n"
    return text


def summary(documents: list[Document]) -> str:
    """What most people train with, for the README: bf16 on sm_90, no mask but the layout's."""
    text = f"| kernel, head width | {' | '.join(COLUMNS[1:])} |\n|{'---|' * len(COLUMNS)}\n"
    for kernel in ("forward", "backward_q", "backward_kv"):
        for width in ("64", "128", "256"):
            name = f"attention sm_90 bf16 {kernel} {width}/*/*/* plain"
            text += f"| `{kernel}` {width} | {' | '.join(_cells([d['rows'][name] for d in documents]))} |\n"
    return text


def with_summary(readme: str, documents: list[Document]) -> str:
    """The README with today's summary between its two marks."""
    before, rest = readme.split(MARK, 1)
    return f"{before}{MARK}\n{summary(documents)}{MARK}{rest.split(MARK, 1)[1]}"


def _label(name: str) -> str:
    return "`" + name.split(" ", 4)[4] + "`"


def _cells(rows: list[Document]) -> list[str]:
    first = rows[0]
    launch = ["×".join(str(block) for block in first["blocks"]), str(first["warps"]), str(first["stages"])]
    figures = [
        [str(row["registers"]) for row in rows],
        [f"{row['stack']} ({row['loop_spills']})" if row["stack"] else "0" for row in rows],
        [str(-(-row["shared"] // 1024)) for row in rows],
        [str(row["wgmma"] or row["mma"]) for row in rows],
        [str(row["tma_loads"] or row["async_copies"]) for row in rows],
    ]
    return launch + [" / ".join(values if len(set(values)) > 1 else values[:1]) for values in figures]


def main() -> None:
    """The command line."""
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} FOLDER PAGE README")
    documents = read(Path(sys.argv[1]))
    gate = importlib.import_module("gate")  # it is next to this script
    broken = [f"Triton {d['triton']}: {problem}" for d in documents for problem in gate.problems(d["rows"])]
    if broken:
        sys.exit("\n".join(broken))
    Path(sys.argv[2]).write_text(page(documents), encoding="utf-8")
    readme = Path(sys.argv[3])
    readme.write_text(with_summary(readme.read_text(encoding="utf-8"), documents), encoding="utf-8")


if __name__ == "__main__":
    main()
