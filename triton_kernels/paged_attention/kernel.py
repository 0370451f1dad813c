"""Attention of one new token a sequence over keys and values in pages: partial softmaxes, then their merge.

    o[b] = sum_j p[j] v[j],  p = softmax over the keys that sequence b sees of  cap(scale * q[b] . k[j])

Decoding reads every key once and computes little, so it is fast when all multiprocessors read all the time:

    partial   one program a tile of rows, key-value head and split of the keys    partials, lse
    merge     one program a sequence and query head                               o

The rows of a tile are (sample, query head) pairs that read the same keys: the query heads of one key-value head (the
grouping of FlashAttention-3's `pack_gqa`), times the samples that share a prefix. A split walks a contiguous share of
the keys (flash-decoding, Dao et al. 2023). Grids depend on shapes alone and lengths are read on the device, so that a
CUDA graph stays valid while sequences grow; programs without keys return at once.

Legend: B sequences, H query heads, G key-value heads, group = H / G, P pages of S slots (S = 1 << page_shift), F shared
prefixes. q, o are [B, H, D]; pages [P, S, G, D], last axis contiguous; partials [splits, B, H, D] and lse (base 2)
[splits, B, H] are contiguous float32. D <= WIDTH, a power of two, and columns from D on read as 0.
"""

import triton
import triton.language as tl

from .._shared.softmax import LOG2_E, softmax_step, tanh

NO_LIMIT = tl.constexpr(2147483647)


@triton.jit
def first_tile(starts, prefix, group, BLOCK_Q: tl.constexpr) -> tl.tensor:
    """Tile at which the rows of a prefix begin: at least ceil(rows / BLOCK_Q) before those of the next one.

    It follows from `starts` alone. Each prefix may waste one tile; in return the host need not know how many samples
    share it.
    """
    return tl.load(starts + prefix) * group // BLOCK_Q + prefix


@triton.jit
def prefix_of(starts, prefixes, tile, group, BLOCK_Q: tl.constexpr) -> tl.tensor:
    """The prefix whose rows the tile holds, by bisection (the search of vLLM's unified attention, arXiv 2511.11581)."""
    low = tl.minimum(tile, 0)
    high = prefixes + low
    while high - low > 1:
        middle = (low + high) // 2
        before = first_tile(starts, middle, group, BLOCK_Q) <= tile
        low = tl.where(before, middle, low)
        high = tl.where(before, high, middle)
    return low


@triton.jit
def rows_of(
    starts, prefixes, row_tiles, group, BLOCK_Q: tl.constexpr, SHARED: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Whose keys this program reads, and for which rows. -> owner, samples[BLOCK_Q], head in group, row exists."""
    tile = tl.program_id(0)
    if SHARED:
        owner = prefix_of(starts, prefixes, tile, group, BLOCK_Q)
        tile = tile - first_tile(starts, owner, group, BLOCK_Q)
        sample = tl.load(starts + owner)
        count = (tl.load(starts + owner + 1) - sample) * group
    else:
        owner = tile // row_tiles
        tile = tile % row_tiles
        sample = owner
        count = group
    rows = tile * BLOCK_Q + tl.arange(0, BLOCK_Q)
    return owner, sample + rows // group, rows % group, (rows >= 0) & (rows < count)


@triton.jit
def share_of(first, length, min_blocks, BLOCK_K: tl.constexpr) -> tuple[tl.tensor, tl.tensor]:
    """Keys [begin, stop) of this program's split; begin is a multiple of BLOCK_K, an empty split has begin >= stop."""
    aligned = tl.minimum(first, length) // BLOCK_K * BLOCK_K
    blocks = tl.cdiv(length - aligned, BLOCK_K)
    share = tl.maximum(tl.cdiv(blocks, tl.num_programs(2)), min_blocks) * BLOCK_K
    begin = aligned + tl.program_id(2) * share
    return begin, tl.minimum(begin + share, length)


@triton.jit
def places(table, key, keys, inside, page_shift, ONE_PAGE: tl.constexpr) -> tuple[tl.tensor, tl.tensor]:
    """Page and slot of each key of a step; with ONE_PAGE all keys of a step are in one page. int64, int32."""
    slots = keys & ((1 << page_shift) - 1)
    if ONE_PAGE:
        return tl.load(table + (key >> page_shift)).to(tl.int64), slots
    else:
        # Entries of the table past a sequence's length may hold anything, so they are not read.
        return tl.load(table + (keys >> page_shift), mask=inside, other=0).to(tl.int64)[:, None], slots


@triton.jit
def load_keys(x, page, slots, inside, stride_p, stride_s, D: tl.constexpr, WIDTH: tl.constexpr) -> tl.tensor:
    """One step's rows of a head; entries outside read as 0, whatever the pages hold there. -> [BLOCK_K, WIDTH]"""
    columns = tl.arange(0, WIDTH)
    at = page * stride_p + slots.to(tl.int64)[:, None] * stride_s + columns[None, :]
    return tl.load(x + at, mask=inside[:, None] & (columns < D)[None, :], other=0.0)


@triton.jit
def scores(q_tile, k_tile, scale, softcap, SOFTCAP: tl.constexpr) -> tl.tensor:
    """cap(scale * q . k) in units of log 2."""
    x = tl.dot(q_tile, tl.trans(k_tile), input_precision="ieee")
    if SOFTCAP:
        return tanh(x * (scale / softcap)) * (softcap * LOG2_E)
    else:
        return x * (scale * LOG2_E)


@triton.jit(
    do_not_specialize=[
        *("batch", "heads", "group", "prefixes", "row_tiles", "page_shift", "min_blocks", "first_split", "window"),
        "stride_table",
    ]
)
def partial(
    q, k_pages, v_pages, partials, lse, page_table, lengths, own_lengths, starts,
    batch, heads, group, prefixes, row_tiles, page_shift, min_blocks, first_split, window, scale, softcap,
    stride_qb, stride_qh, stride_kp, stride_ks, stride_kh, stride_vp, stride_vs, stride_vh, stride_table,
    D: tl.constexpr, WIDTH: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
    SHARED: tl.constexpr, ONE_PAGE: tl.constexpr, SOFTCAP: tl.constexpr, WHOLE: tl.constexpr,
) -> None:  # fmt: skip
    """The softmax over one split of the keys, for one tile of rows; an empty split has lse = -inf and no o.

    page_table and lengths are the prefixes' with SHARED, else the sequences' own; own_lengths are always the latter.
    With WHOLE there is a single split: `partials` is o itself, and nothing seen is written as 0.
    """
    owner, samples, heads_in, exists = rows_of(starts, prefixes, row_tiles, group, BLOCK_Q, SHARED)
    length = tl.load(lengths + owner)
    if SHARED:
        ends = length + tl.load(own_lengths + samples, mask=exists, other=0)
    else:
        ends = tl.where(exists, length, 0)
    firsts = tl.where(exists, tl.maximum(ends - window, 0), NO_LIMIT)
    first = tl.min(firsts, 0)
    length = tl.where(first < length, length, 0)
    begin, stop = share_of(first, length, min_blocks, BLOCK_K)
    writes = exists & (tl.full([BLOCK_Q], 0, tl.int32) + begin < stop)  # the interpreter cannot mask by a scalar bool

    kv_head = tl.program_id(1)
    columns = tl.arange(0, WIDTH)
    inner = (columns < D)[None, :]
    row_heads = kv_head * group + heads_in
    at = samples.to(tl.int64)[:, None] * stride_qb + row_heads.to(tl.int64)[:, None] * stride_qh + columns[None, :]
    q_tile = tl.load(q + at, mask=writes[:, None] & inner, other=0.0)
    k_head = k_pages + kv_head.to(tl.int64) * stride_kh
    v_head = v_pages + kv_head.to(tl.int64) * stride_vh
    table = page_table + owner.to(tl.int64) * stride_table
    acc = tl.zeros([BLOCK_Q, WIDTH], tl.float32)
    total = tl.zeros([BLOCK_Q], tl.float32)
    top = tl.full([BLOCK_Q], float("-inf"), tl.float32)

    # Counted from 0: with `range(begin, stop, BLOCK_K)` Triton 3.9 overlaps no loads when SHARED.
    for j in tl.range(0, tl.cdiv(stop - begin, BLOCK_K)):
        key = begin + j * BLOCK_K
        keys = key + tl.arange(0, BLOCK_K)
        inside = (keys >= first) & (keys < stop)
        page, slots = places(table, key, keys, inside, page_shift, ONE_PAGE)
        k_tile = load_keys(k_head, page, slots, inside, stride_kp, stride_ks, D, WIDTH)
        x = scores(q_tile, k_tile, scale, softcap, SOFTCAP)
        x = tl.where((keys < stop)[None, :] & (keys[None, :] >= firsts[:, None]), x, float("-inf"))
        v_tile = load_keys(v_head, page, slots, inside, stride_vp, stride_vs, D, WIDTH)
        acc, total, top = softmax_step(acc, total, top, x, v_tile, False)

    some = total > 0.0
    total = tl.where(some, total, 1.0)
    row = ((first_split + tl.program_id(2)).to(tl.int64) * batch + samples) * heads + row_heads
    if WHOLE:
        writes = exists
    else:
        row_lse = tl.where(some, top + tl.log2(total), float("-inf"))
        tl.store(lse + row, row_lse, mask=exists)
    o_tile = (acc / total[:, None]).to(partials.dtype.element_ty)
    tl.store(partials + row[:, None] * D + columns[None, :], o_tile, mask=writes[:, None] & inner)


@triton.jit(do_not_specialize=["prefix_splits", "splits", "prefixes"])
def merge(
    partials, lse, o, starts, prefix_splits, splits, prefixes,
    D: tl.constexpr, WIDTH: tl.constexpr, BLOCK_S: tl.constexpr, SHARED: tl.constexpr,
) -> None:  # fmt: skip
    """o = the partial softmaxes weighted by their sums, 0 where no split saw a key. The prefixes' splits come first."""
    sample, head = tl.program_id(0), tl.program_id(1)
    row = sample.to(tl.int64) * tl.num_programs(1) + head
    rows = tl.num_programs(0).to(tl.int64) * tl.num_programs(1)
    columns = tl.arange(0, WIDTH)
    inner = columns < D
    first = prefix_splits
    if SHARED:
        # No program wrote the prefix splits of a sequence that has no prefix.
        has_one = (sample >= tl.load(starts)) & (sample < tl.load(starts + prefixes))
        first = tl.where(has_one, 0, prefix_splits)
    acc = tl.zeros([WIDTH], tl.float32)
    total = tl.zeros([], tl.float32)
    top = tl.full([], float("-inf"), tl.float32)
    for begin in tl.range(first, splits, BLOCK_S):
        split = begin + tl.arange(0, BLOCK_S)
        at = split.to(tl.int64) * rows + row
        x = tl.load(lse + at, mask=split < splits, other=float("-inf"))
        full = (x > float("-inf"))[:, None] & inner[None, :]
        tile = tl.load(partials + at[:, None] * D + columns[None, :], mask=full, other=0.0)
        new_top = tl.maximum(top, tl.max(x, 0))
        shift = tl.where(new_top == float("-inf"), 0.0, new_top)
        p = tl.exp2(x - shift)
        shrink = tl.exp2(top - shift)
        acc = acc * shrink + tl.sum(p[:, None] * tile, 0)
        total = total * shrink + tl.sum(p, 0)
        top = new_top
    acc = acc / tl.where(total > 0.0, total, 1.0)
    tl.store(o + row * D + columns, acc.to(o.dtype.element_ty), mask=inner)
