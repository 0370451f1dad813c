"""How every shipped launch calls its kernel: what the launcher passes, and what a compiler without a GPU gets.

The launcher takes its constants from here, so that what the gate compiles is what runs. Standard library only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .._shared.configs import Key, Launch, Table, read_table
from .._shared.variants import Variant

OPERANDS = {
    "forward": ("q", "k", "v", "o"),
    "backward_q": ("q", "k", "v", "do", "dq"),
    "backward_kv": ("q", "k", "v", "do", "dk", "dv"),
    "delta": ("o", "do"),
}
"""Tensors [N, heads, D] of each kernel, each with the strides stride_xn and stride_xh."""
BY_HEAD = {"forward": ("lse",), "backward_q": ("lse", "deltas"), "backward_kv": ("lse", "deltas"), "delta": ("deltas",)}
"""float32 [H, N] of each kernel."""
TILES = {"forward": ("query_tiles",), "backward_q": ("query_tiles",), "backward_kv": ("key_tiles",), "delta": ()}
BOUNDS = ("near_starts", "far_starts", "far_ends")
MASK_KINDS = ("causal", "window", "prefix", "softcap")
TABLED_WIDTHS = (64, 80, 96, 128, 256)
"""Values of head_dim with entries in the table of launches."""
HALF_WIDTH = 128
"""float16 differs from bfloat16 in the kind of the products alone: one head width shows that it compiles."""


@dataclass(frozen=True)
class Use:
    """One way to run a launch."""

    prefix: bool = False
    softcap: bool = False
    one_pass: bool = False

    def label(self) -> str:
        """As in `prefix softcap`."""
        words = {"prefix": self.prefix, "softcap": self.softcap, "one-pass": self.one_pass}
        return " ".join(word for word, used in words.items() if used) or "plain"


def width(head_dim: int) -> int:
    """Columns of a tile: the power of two, 16 at least (what a product takes), that holds a head."""
    return max(16, 1 << (head_dim - 1).bit_length())


def uses_descriptors(arch: str, head_dim: int, dtype: str = "16bit") -> bool:
    """Do the tensors come as TMA descriptors?

    Their boxes cannot mask columns, so a head must fill its tile. Products of float32 read registers: what TMA
    leaves in shared memory is copied there at once, which spilled 520 bytes where pointers spill none.
    """
    return arch == "sm_90" and dtype == "16bit" and head_dim in TABLED_WIDTHS and head_dim == width(head_dim)


def tabled_width(head_dim: int) -> int:
    """The width whose launches serve a head: its own, or the next one that has any. Heads are at most 256 wide."""
    return next(tabled for tabled in TABLED_WIDTHS if tabled >= head_dim)


def constants(
    kernel: str,
    head_dim: int,
    launch: Launch,
    *,
    prefix: bool,
    softcap: bool,
    descriptors: bool,
    one_pass: bool = False,
) -> dict[str, int | bool]:
    """The constexpr arguments of `kernel`; a `delta` program takes block_q rows."""
    shape: dict[str, int | bool] = {"D": head_dim, "WIDTH": width(head_dim)}
    if kernel == "delta":
        return shape | {"ROWS": launch.block_q}
    shape |= {"BLOCK_Q": launch.block_q, "BLOCK_K": launch.block_k}
    shape |= {"PREFIX": prefix, "SOFTCAP": softcap, "DESCRIPTORS": descriptors}
    return shape | {"ONE_PASS": one_pass} if kernel == "backward_kv" else shape


def mask_kind(*, prefix: bool, window: bool, softcap: bool) -> str:
    """The field `mask` of a key: what costs a kernel most registers comes first."""
    kinds = {"softcap": softcap, "prefix": prefix, "window": window}
    return next((kind for kind, used in kinds.items() if used), "causal")


def variants(table: Table | None = None) -> Iterator[Variant]:
    """Every kernel of every entry, in each of its uses."""
    table = table or read_table(Path(__file__).with_name("configs.json"))
    for key, launches in table.entries.items():
        fields = dict(zip(table.fields, key, strict=True))
        for dtype in _dtypes(fields):
            for kernel, launch in launches.items():
                for use in _uses(kernel, fields, table):
                    yield _variant(kernel, dtype, key, launch, use)


def _dtypes(fields: dict[str, str]) -> tuple[str, ...]:
    if fields["dtype"] == "32bit":
        return ("fp32",)
    return ("bf16", "fp16") if fields["head_dim"] == str(HALF_WIDTH) and fields["mask"] == "*" else ("bf16",)


def _uses(kernel: str, fields: dict[str, str], table: Table) -> Iterator[Use]:
    """What ships of an entry: the uses for which no other entry of its head width is the more specific one."""
    if kernel == "delta":
        yield Use()
        return
    own = {kind for kind in MASK_KINDS if _serves(fields, kind, table)}
    passes = (False, True) if kernel == "backward_kv" else (False,)
    for one_pass in passes:
        if own & {"causal", "window"}:
            yield Use(one_pass=one_pass)
        if "prefix" in own and fields["dtype"] == "16bit":  # float32 compiles longest: the last use represents it
            yield Use(prefix=True, one_pass=one_pass)
        if "softcap" in own and fields["dtype"] == "16bit":
            yield Use(softcap=True, one_pass=one_pass)
        if "softcap" in own:
            yield Use(prefix=True, softcap=True, one_pass=one_pass)


def _serves(fields: dict[str, str], kind: str, table: Table) -> bool:
    """Is an entry with these fields the one found for a kind of mask?"""
    wanted = fields | {"mask": kind}
    key = tuple(wanted.values())
    return fields["mask"] == kind or (fields["mask"] == "*" and key not in table.entries)


def _variant(kernel: str, dtype: str, key: Key, launch: Launch, use: Use) -> Variant:
    arch, head_dim = key[0], int(key[2])
    descriptors = kernel != "delta" and uses_descriptors(arch, head_dim, key[1])
    values = constants(
        kernel,
        head_dim,
        launch,
        prefix=use.prefix,
        softcap=use.softcap,
        descriptors=descriptors,
        one_pass=use.one_pass,
    )
    signature = _pointers(kernel, dtype) | (_described(kernel, dtype, values) if descriptors else {}) | _numbers(kernel)
    strides = [name for name in signature if name.startswith("stride_") and name not in ("stride_lse", "stride_delta")]
    return Variant(
        kernel=kernel,
        arch=arch,
        dtype=dtype,
        label=f"{'/'.join(key[2:])} {use.label()}",
        signature=signature | dict.fromkeys(values, "constexpr"),
        constants=dict(values),
        aligned=(*(name for name, kind in signature.items() if kind.startswith("*")), *strides),
        warps=launch.warps,
        stages=launch.stages,
        wants_wgmma=arch == "sm_90" and dtype != "fp32" and kernel != "delta",
    )


def _pointers(kernel: str, dtype: str) -> dict[str, str]:
    """Types of the arguments that are addresses."""
    types = dict.fromkeys(OPERANDS[kernel], f"*{dtype}") | dict.fromkeys(BY_HEAD[kernel], "*fp32")
    if kernel != "delta":
        types |= dict.fromkeys((*TILES[kernel], *BOUNDS), "*i32")
    return types | {"dq_sums": "*fp32"} if kernel == "backward_kv" else types


def _described(kernel: str, dtype: str, values: dict[str, int | bool]) -> dict[str, str]:
    """Types of the arguments that come as descriptors; the forward pass writes lse and reads bounds by pointer."""
    block_q, block_k, columns = values["BLOCK_Q"], values["BLOCK_K"], values["WIDTH"]
    rows = {name: block_k if name in ("k", "v", "dk", "dv") else block_q for name in OPERANDS[kernel]}
    types = {name: f"tensordesc<{dtype}[{count}, {columns}]>" for name, count in rows.items()}
    if kernel == "forward":
        return types
    types |= dict.fromkeys(BY_HEAD[kernel], f"tensordesc<fp32[1, {block_q}]>")
    return types | dict.fromkeys(BOUNDS, f"tensordesc<i32[{block_q}]>")


def _numbers(kernel: str) -> dict[str, str]:
    """Types of the numbers; a stride that fits is 32 bits wide."""
    strides = {f"stride_{name}{axis}": "i32" for name in OPERANDS[kernel] for axis in "nh"}
    if kernel == "delta":
        return {"tokens": "i32", "heads": "i32", "stride_delta": "i32"} | strides
    sizes = dict.fromkeys(("tokens", "heads", "group", "stride_lse"), "i32") | {"scale": "fp32", "softcap": "fp32"}
    return sizes | ({} if kernel == "forward" else {"stride_delta": "i32"}) | strides
