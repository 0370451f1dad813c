"""How every shipped launch calls its kernel, for a compiler without a GPU. Imports the standard library only."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .._shared.configs import Launch, read_table
from .._shared.variants import Variant

WIDTHS = (128, 256)
"""Widths compiled: the widest that each kind of entry serves. Narrower heads take less of everything."""
TYPES = {"16bit": "bf16", "32bit": "fp32"}

POINTERS = ("q", "k_pages", "v_pages", "partials", "lse", "page_table", "lengths", "own_lengths", "starts")
SIZES = ("batch", "heads", "group", "prefixes", "row_tiles", "page_shift", "min_blocks", "first_split", "window")
FACTORS = ("scale", "softcap")
STRIDES = (
    *("stride_qb", "stride_qh", "stride_kp", "stride_ks", "stride_kh", "stride_vp", "stride_vs", "stride_vh"),
    "stride_table",
)
PARTIAL_CONSTANTS = ("D", "WIDTH", "BLOCK_Q", "BLOCK_K", "SHARED", "ONE_PAGE", "SOFTCAP", "WHOLE")
MERGE_POINTERS = ("partials", "lse", "o", "starts")
MERGE_SIZES = ("prefix_splits", "splits", "prefixes")
MERGE_CONSTANTS = ("D", "WIDTH", "BLOCK_S", "SHARED")


@dataclass(frozen=True)
class Use:
    """One way in which a launch is used; together they cover each branch of the kernel at its costliest."""

    launch: str
    """Entry of the table: narrow or wide."""
    shared: bool
    """Rows are those of all samples of a prefix."""
    one_page: bool
    """All keys of a step are in one page; otherwise each key looks its page up."""
    softcap: bool
    """Scores are bent."""
    filled: bool
    """D equals WIDTH; otherwise it is five eighths of it (80 of 128) and the columns are masked."""
    whole: bool = False
    """There is one split, which writes the output itself."""

    def label(self, width: int) -> str:
        """As in `narrow 80/128 own gathered softcap`."""
        words = ["shared" if self.shared else "own", "one-page" if self.one_page else "gathered"]
        words += ["softcap"] * self.softcap + ["whole"] * self.whole
        return " ".join([self.launch, f"{self.head_size(width)}/{width}", *words])

    def head_size(self, width: int) -> int:
        """D."""
        return width if self.filled else width * 5 // 8


USES = (
    Use("narrow", shared=False, one_page=True, softcap=False, filled=True),
    Use("narrow", shared=False, one_page=True, softcap=False, filled=True, whole=True),
    Use("narrow", shared=False, one_page=False, softcap=True, filled=False),
    Use("wide", shared=True, one_page=True, softcap=False, filled=True),
    Use("wide", shared=True, one_page=False, softcap=True, filled=False),
)


def variants() -> Iterator[Variant]:
    """Each shipped launch in each of its uses."""
    table = read_table(Path(__file__).with_name("configs.json"))
    for arch in ("sm_80", "sm_90"):
        for bits, dtype in TYPES.items():
            for width in WIDTHS:
                launches = table.find(arch=arch, dtype=bits, head_dim=str(width))
                for use in USES:
                    yield _partial(arch, dtype, width, launches[use.launch], use)
                yield _merge(arch, dtype, width, launches["merge"])


def _partial(arch: str, dtype: str, width: int, launch: Launch, use: Use) -> Variant:
    kinds = {"q": dtype, "k_pages": dtype, "v_pages": dtype, "partials": dtype if use.whole else "fp32", "lse": "fp32"}
    signature = {name: "*" + kinds.get(name, "i32") for name in POINTERS}
    signature |= dict.fromkeys(SIZES, "i32") | dict.fromkeys(FACTORS, "fp32") | dict.fromkeys(STRIDES, "i32")
    values = (
        *(use.head_size(width), width, launch.block_q, launch.block_k),
        *(use.shared, use.one_page, use.softcap, use.whole),
    )
    return Variant(
        kernel="partial",
        arch=arch,
        dtype=dtype,
        label=use.label(width),
        signature=signature | dict.fromkeys(PARTIAL_CONSTANTS, "constexpr"),
        constants=dict(zip(PARTIAL_CONSTANTS, values, strict=True)),
        aligned=(*POINTERS, *STRIDES[:-1]),
        warps=launch.warps,
        stages=launch.stages,
        wants_wgmma=arch == "sm_90" and dtype != "fp32" and launch.block_q >= 64,
    )


def _merge(arch: str, dtype: str, width: int, launch: Launch) -> Variant:
    kinds = {"partials": "fp32", "lse": "fp32", "o": dtype}
    signature = {name: "*" + kinds.get(name, "i32") for name in MERGE_POINTERS} | dict.fromkeys(MERGE_SIZES, "i32")
    return Variant(
        kernel="merge",
        arch=arch,
        dtype=dtype,
        label=f"merge {width}",
        signature=signature | dict.fromkeys(MERGE_CONSTANTS, "constexpr"),
        constants=dict(zip(MERGE_CONSTANTS, (width, width, launch.block_k, True), strict=True)),
        aligned=MERGE_POINTERS,
        warps=launch.warps,
        stages=launch.stages,
        wants_wgmma=False,
    )
