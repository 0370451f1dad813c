"""Fused attention over a layout: the forward pass, and a backward pass that is deterministic by default.

    o[t] = sum_j p[t, j] v[j],  p[t, :] = softmax over the keys t sees of  cap(scale * q[t] . k[j])

cap(x) = softcap * tanh(x / softcap), or x. Token t sees the keys [near_start[t], t] and [far_start[t], far_end[t]).
FlashAttention-2's algorithm (Dao 2023, arXiv 2307.08691): scores exist in registers only, the softmax is online,
and the backward pass recomputes the probabilities from `lse`, in units of log 2 (natural for float32).

    forward        one program a query tile and head         o, lse
    delta          one program ROWS tokens and head          rowsum(o * do), algorithm 2 line 4
    backward_q     one program a query tile and head         dq, in registers to the end
    backward_kv    one program a key tile and key-value head dk, dv over the query heads of the group; with ONE_PASS
                   also dq by float32 atomics: five products a step where the two passes have seven, in no fixed order

The work list gives the keys of each query tile (and the queries of each key tile), longest tile first. A step is full,
every query of the tile sees every key of it and no mask is applied, or masked. A softmax can be taken in any order: so
each kernel takes its full steps in one loop, then its masked ones in a second, whichever range of keys they are in.

Legend: N tokens, H query heads, G key-value heads, group = H / G. Tensors are [N, heads, D], the last axis contiguous;
D <= WIDTH, a power of two, and columns from D on read as 0. lse and delta are float32 [H, N] with their own stride.
With DESCRIPTORS tensors come as TMA descriptors of [N, heads * D] (D = WIDTH, heads adjacent), else as pointers.
"""

import triton
import triton.language as tl

from .._shared import tiles
from .._shared.softmax import LOG2_E, logarithm, power, softmax_step, tanh

NO_LIMIT = tl.constexpr(2147483647)
QUERY_TILE_FIELDS = tl.constexpr(tiles.QUERY_TILE_FIELDS)
KEY_TILE_FIELDS = tl.constexpr(tiles.KEY_TILE_FIELDS)


@triton.jit
def offsets(
    first, head, tokens, stride_n, stride_h, D: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """int64 offsets of rows [first, first + ROWS) of a head, and which are inside [N, D]. -> [ROWS, WIDTH] x 2"""
    rows = first + tl.arange(0, ROWS)
    columns = tl.arange(0, WIDTH)
    at = rows.to(tl.int64)[:, None] * stride_n + head.to(tl.int64) * stride_h + columns[None, :]
    return at, (rows < tokens)[:, None] & (columns < D)[None, :]


@triton.jit
def load_rows(
    x, first, head, tokens, stride_n, stride_h,
    D: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, DESCRIPTORS: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Rows [first, first + ROWS) of one head; entries outside [N, D] are 0. -> [ROWS, WIDTH]"""
    if DESCRIPTORS:
        return x.load([first, head * WIDTH])
    else:
        at, inside = offsets(first, head, tokens, stride_n, stride_h, D, ROWS, WIDTH)
        return tl.load(x + at, mask=inside, other=0.0)


@triton.jit
def store_rows(
    x, tile, first, head, tokens, stride_n, stride_h,
    D: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, DESCRIPTORS: tl.constexpr,
) -> None:  # fmt: skip
    """Writes the rows that `load_rows` reads, and nothing outside [N, D]."""
    if DESCRIPTORS:
        x.store([first, head * WIDTH], tile.to(x.dtype))
    else:
        at, inside = offsets(first, head, tokens, stride_n, stride_h, D, ROWS, WIDTH)
        tl.store(x + at, tile.to(x.dtype.element_ty), mask=inside)


@triton.jit
def load_vector(x, first, tokens, ROWS: tl.constexpr, DESCRIPTORS: tl.constexpr) -> tl.tensor:
    """Entries [first, first + ROWS) of a vector over tokens, 0 outside."""
    if DESCRIPTORS:
        return x.load([first])
    else:
        rows = first + tl.arange(0, ROWS)
        return tl.load(x + rows, mask=rows < tokens, other=0)


@triton.jit
def load_of_head(x, head, first, tokens, stride, ROWS: tl.constexpr, DESCRIPTORS: tl.constexpr) -> tl.tensor:
    """Entries [head, first : first + ROWS) of lse or delta, 0 outside."""
    if DESCRIPTORS:
        return x.load([head, first]).reshape([ROWS])
    else:
        rows = first + tl.arange(0, ROWS)
        return tl.load(x + head.to(tl.int64) * stride + rows, mask=rows < tokens, other=0.0)


@triton.constexpr_function
def natural(tile) -> bool:
    """Whether scores and lse are in natural units: float32 operands, for exactness; others use the exp2 instruction."""
    return tile.dtype == tl.float32


@triton.jit
def scores(q_tile, k_tile, scale, softcap, SOFTCAP: tl.constexpr) -> tuple[tl.tensor, tl.tensor]:
    """cap(scale * q . k) in the units of `power`, and the cap's derivative (without a cap: the scores once more)."""
    UNIT: tl.constexpr = 1.0 if natural(q_tile) else LOG2_E
    x = tl.dot(q_tile, tl.trans(k_tile), input_precision="ieee")
    if SOFTCAP:
        bent = tanh(x * (scale / softcap))
        return bent * (softcap * UNIT), 1.0 - bent * bent
    else:
        x = x * (scale * UNIT)
        return x, x


@triton.jit
def scores_gradient(p, dp, row_delta, slope, SOFTCAP: tl.constexpr) -> tl.tensor:
    """Gradient of the loss by scale * q . k (algorithm 2 line 16)."""
    ds = p * (dp - row_delta)
    if SOFTCAP:
        ds = ds * slope
    return ds


@triton.jit
def visible(rows, keys, near_start, far_start, far_end, PREFIX: tl.constexpr) -> tl.tensor:
    """Whether the row sees the key; shapes broadcast."""
    seen = (keys >= near_start) & (keys <= rows)
    if PREFIX:
        seen = seen | ((keys >= far_start) & (keys < far_end))
    return seen


@triton.jit
def walk(query_tiles, tile) -> tuple[tl.tensor, ...]:
    """The ranges of one query tile. -> its first query, the two ranges of keys, and its full and masked steps."""
    item = query_tiles + tile * QUERY_TILE_FIELDS
    far_lo, far_hi, near_lo, far_steps = tl.load(item + 1), tl.load(item + 2), tl.load(item + 3), tl.load(item + 4)
    far_full, near_full = tl.load(item + 5), tl.load(item + 7)
    far_count, near_count = tl.load(item + 6) - far_full, tl.load(item + 8) - near_full
    masked_steps = tl.load(item + 9) - far_count - near_count
    return tl.load(item), far_lo, far_hi, near_lo, far_steps, far_full, far_count, near_full, near_count, masked_steps


@triton.jit
def walk_queries(key_tiles, tile) -> tuple[tl.tensor, ...]:
    """The steps of one key tile. -> its first key, its first query, its first full step, its full and masked steps."""
    item = key_tiles + tile * KEY_TILE_FIELDS
    first, query_lo, full = tl.load(item), tl.load(item + 1), tl.load(item + 2)
    full_steps = tl.load(item + 3) - full
    masked_steps = tl.load(item + 4) - full_steps
    return first, query_lo, full, full_steps, masked_steps


@triton.jit
def full_step(j, far_lo, near_lo, far_steps, far_full, far_count, near_full, BLOCK_K: tl.constexpr) -> tl.tensor:
    """First key of the j-th full step."""
    step = tl.where(j < far_count, far_full + j, near_full + j - far_count)
    return tl.where(step < far_steps, far_lo + step * BLOCK_K, near_lo + (step - far_steps) * BLOCK_K)


@triton.jit
def masked_step(
    j, far_lo, far_hi, near_lo, far_steps, far_full, far_count, near_full, near_count, BLOCK_K: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """First key of the j-th masked step, and the end of its range: past it another range counts the keys."""
    step = tl.where(j < far_full, j, j + far_count)
    step = tl.where(step < near_full, step, step + near_count)
    in_far = step < far_steps
    key = tl.where(in_far, far_lo + step * BLOCK_K, near_lo + (step - far_steps) * BLOCK_K)
    return key, tl.where(in_far, far_hi, NO_LIMIT)


@triton.jit(do_not_specialize=["tokens", "heads", "group", "stride_lse"])
def forward(
    q, k, v, o, lse, query_tiles, near_starts, far_starts, far_ends,
    tokens, heads, group, scale, softcap, stride_lse,
    stride_qn, stride_qh, stride_kn, stride_kh, stride_vn, stride_vh, stride_on, stride_oh,
    D: tl.constexpr, WIDTH: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
    PREFIX: tl.constexpr, SOFTCAP: tl.constexpr, DESCRIPTORS: tl.constexpr,
) -> None:  # fmt: skip
    """o and lse, the logarithm of the softmax denominators. A row that sees nothing has o = 0 and lse = -inf."""
    program = tl.program_id(0)
    head = program % heads  # the heads of a group run side by side and find k and v in L2
    kv_head = head // group
    first, far_lo, far_hi, near_lo, far_steps, far_full, far_count, near_full, near_count, masked_steps = walk(
        query_tiles, program // heads
    )
    q_tile = load_rows(q, first, head, tokens, stride_qn, stride_qh, D, BLOCK_Q, WIDTH, DESCRIPTORS)
    acc = tl.zeros([BLOCK_Q, WIDTH], tl.float32)
    total = tl.zeros([BLOCK_Q], tl.float32)
    top = tl.full([BLOCK_Q], float("-inf"), tl.float32)

    for j in tl.range(0, far_count + near_count):
        key = full_step(j, far_lo, near_lo, far_steps, far_full, far_count, near_full, BLOCK_K)
        k_tile = load_rows(k, key, kv_head, tokens, stride_kn, stride_kh, D, BLOCK_K, WIDTH, DESCRIPTORS)
        x, _ = scores(q_tile, k_tile, scale, softcap, SOFTCAP)
        v_tile = load_rows(v, key, kv_head, tokens, stride_vn, stride_vh, D, BLOCK_K, WIDTH, DESCRIPTORS)
        acc, total, top = softmax_step(acc, total, top, x, v_tile, natural(q_tile))

    rows = first + tl.arange(0, BLOCK_Q)
    near_start = load_vector(near_starts, first, tokens, BLOCK_Q, False)
    far_start, far_end = near_start, near_start
    if PREFIX:
        far_start = load_vector(far_starts, first, tokens, BLOCK_Q, False)
        far_end = load_vector(far_ends, first, tokens, BLOCK_Q, False)
    for j in tl.range(0, masked_steps):
        key, end = masked_step(
            j, far_lo, far_hi, near_lo, far_steps, far_full, far_count, near_full, near_count, BLOCK_K
        )
        k_tile = load_rows(k, key, kv_head, tokens, stride_kn, stride_kh, D, BLOCK_K, WIDTH, DESCRIPTORS)
        x, _ = scores(q_tile, k_tile, scale, softcap, SOFTCAP)
        keys = key + tl.arange(0, BLOCK_K)
        seen = visible(rows[:, None], keys[None, :], near_start[:, None], far_start[:, None], far_end[:, None], PREFIX)
        if PREFIX:
            seen = seen & (keys < end)[None, :]
        v_tile = load_rows(v, key, kv_head, tokens, stride_vn, stride_vh, D, BLOCK_K, WIDTH, DESCRIPTORS)
        acc, total, top = softmax_step(acc, total, top, tl.where(seen, x, float("-inf")), v_tile, natural(q_tile))

    some = total > 0.0
    total = tl.where(some, total, 1.0)
    store_rows(o, acc / total[:, None], first, head, tokens, stride_on, stride_oh, D, BLOCK_Q, WIDTH, DESCRIPTORS)
    row_lse = tl.where(some, top + logarithm(total, natural(q_tile)), float("-inf"))
    tl.store(lse + head.to(tl.int64) * stride_lse + rows, row_lse, mask=rows < tokens)


@triton.jit(do_not_specialize=["tokens", "heads", "stride_delta"])
def delta(
    o, do, deltas, tokens, heads, stride_delta, stride_on, stride_oh, stride_don, stride_doh,
    D: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
) -> None:  # fmt: skip
    """deltas = rowsum(o * do), in float32."""
    program = tl.program_id(0)
    head = program % heads
    first = program // heads * ROWS
    o_tile = load_rows(o, first, head, tokens, stride_on, stride_oh, D, ROWS, WIDTH, False)
    do_tile = load_rows(do, first, head, tokens, stride_don, stride_doh, D, ROWS, WIDTH, False)
    rows = first + tl.arange(0, ROWS)
    sums = tl.sum(o_tile.to(tl.float32) * do_tile.to(tl.float32), 1)
    tl.store(deltas + head.to(tl.int64) * stride_delta + rows, sums, mask=rows < tokens)


@triton.jit(do_not_specialize=["tokens", "heads", "group", "stride_lse", "stride_delta"])
def backward_q(
    q, k, v, do, dq, lse, deltas, query_tiles, near_starts, far_starts, far_ends,
    tokens, heads, group, scale, softcap, stride_lse, stride_delta,
    stride_qn, stride_qh, stride_kn, stride_kh, stride_vn, stride_vh, stride_don, stride_doh, stride_dqn, stride_dqh,
    D: tl.constexpr, WIDTH: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
    PREFIX: tl.constexpr, SOFTCAP: tl.constexpr, DESCRIPTORS: tl.constexpr,
) -> None:  # fmt: skip
    """dq, over the keys of the forward pass."""
    program = tl.program_id(0)
    head = program % heads
    kv_head = head // group
    first, far_lo, far_hi, near_lo, far_steps, far_full, far_count, near_full, near_count, masked_steps = walk(
        query_tiles, program // heads
    )
    q_tile = load_rows(q, first, head, tokens, stride_qn, stride_qh, D, BLOCK_Q, WIDTH, DESCRIPTORS)
    do_tile = load_rows(do, first, head, tokens, stride_don, stride_doh, D, BLOCK_Q, WIDTH, DESCRIPTORS)
    row_lse = load_of_head(lse, head, first, tokens, stride_lse, BLOCK_Q, DESCRIPTORS)[:, None]
    row_delta = load_of_head(deltas, head, first, tokens, stride_delta, BLOCK_Q, DESCRIPTORS)[:, None]
    acc = tl.zeros([BLOCK_Q, WIDTH], tl.float32)

    for j in tl.range(0, far_count + near_count):
        key = full_step(j, far_lo, near_lo, far_steps, far_full, far_count, near_full, BLOCK_K)
        k_tile = load_rows(k, key, kv_head, tokens, stride_kn, stride_kh, D, BLOCK_K, WIDTH, DESCRIPTORS)
        x, slope = scores(q_tile, k_tile, scale, softcap, SOFTCAP)
        v_tile = load_rows(v, key, kv_head, tokens, stride_vn, stride_vh, D, BLOCK_K, WIDTH, DESCRIPTORS)
        dp = tl.dot(do_tile, tl.trans(v_tile), input_precision="ieee")
        ds = scores_gradient(power(x - row_lse, natural(k_tile)), dp, row_delta, slope, SOFTCAP)
        acc = tl.dot(ds.to(k_tile.dtype), k_tile, acc, input_precision="ieee")

    rows = first + tl.arange(0, BLOCK_Q)
    near_start = load_vector(near_starts, first, tokens, BLOCK_Q, DESCRIPTORS)
    far_start, far_end = near_start, near_start
    if PREFIX:
        far_start = load_vector(far_starts, first, tokens, BLOCK_Q, DESCRIPTORS)
        far_end = load_vector(far_ends, first, tokens, BLOCK_Q, DESCRIPTORS)
    for j in tl.range(0, masked_steps):
        key, end = masked_step(
            j, far_lo, far_hi, near_lo, far_steps, far_full, far_count, near_full, near_count, BLOCK_K
        )
        k_tile = load_rows(k, key, kv_head, tokens, stride_kn, stride_kh, D, BLOCK_K, WIDTH, DESCRIPTORS)
        x, slope = scores(q_tile, k_tile, scale, softcap, SOFTCAP)
        keys = key + tl.arange(0, BLOCK_K)
        seen = visible(rows[:, None], keys[None, :], near_start[:, None], far_start[:, None], far_end[:, None], PREFIX)
        if PREFIX:
            seen = seen & (keys < end)[None, :]
        p = tl.where(seen, power(x - row_lse, natural(k_tile)), 0.0)
        v_tile = load_rows(v, key, kv_head, tokens, stride_vn, stride_vh, D, BLOCK_K, WIDTH, DESCRIPTORS)
        dp = tl.dot(do_tile, tl.trans(v_tile), input_precision="ieee")
        ds = scores_gradient(p, dp, row_delta, slope, SOFTCAP)
        acc = tl.dot(ds.to(k_tile.dtype), k_tile, acc, input_precision="ieee")

    store_rows(dq, acc * scale, first, head, tokens, stride_dqn, stride_dqh, D, BLOCK_Q, WIDTH, DESCRIPTORS)


@triton.jit
def add_to_dq(
    dq_sums, ds, k_tile, first, head, tokens, heads, scale,
    D: tl.constexpr, BLOCK_Q: tl.constexpr, WIDTH: tl.constexpr,
) -> None:  # fmt: skip
    """dq_sums, float32 [N, H, D] and contiguous, += scale * ds^T k, in no fixed order."""
    at, inside = offsets(first, head, tokens, heads.to(tl.int64) * D, D, D, BLOCK_Q, WIDTH)
    tl.atomic_add(dq_sums + at, tl.dot(tl.trans(ds), k_tile, input_precision="ieee") * scale, inside, sem="relaxed")


@triton.jit
def add_to_dk_dv(
    dk_acc, dv_acc, p, slope, q_tile, k_tile, v_tile, do, deltas, dq_sums, query, head, tokens, heads, scale,
    stride_delta, stride_don, stride_doh, D: tl.constexpr, WIDTH: tl.constexpr, BLOCK_Q: tl.constexpr,
    SOFTCAP: tl.constexpr, DESCRIPTORS: tl.constexpr, ONE_PASS: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:  # fmt: skip
    """Adds the gradients of one step to dk and dv (and with ONE_PASS to dq), given its probabilities `p`."""
    do_tile = load_rows(do, query, head, tokens, stride_don, stride_doh, D, BLOCK_Q, WIDTH, DESCRIPTORS)
    dv_acc = tl.dot(p.to(do_tile.dtype), do_tile, dv_acc, input_precision="ieee")
    row_delta = load_of_head(deltas, head, query, tokens, stride_delta, BLOCK_Q, DESCRIPTORS)[None, :]
    dp = tl.dot(v_tile, tl.trans(do_tile), input_precision="ieee")
    ds = scores_gradient(p, dp, row_delta, slope, SOFTCAP).to(q_tile.dtype)
    dk_acc = tl.dot(ds, q_tile, dk_acc, input_precision="ieee")
    if ONE_PASS:
        add_to_dq(dq_sums, ds, k_tile, query, head, tokens, heads, scale, D, BLOCK_Q, WIDTH)
    return dk_acc, dv_acc


@triton.jit(do_not_specialize=["tokens", "heads", "group", "stride_lse", "stride_delta"])
def backward_kv(
    q, k, v, do, dk, dv, dq_sums, lse, deltas, key_tiles, near_starts, far_starts, far_ends,
    tokens, heads, group, scale, softcap, stride_lse, stride_delta,
    stride_qn, stride_qh, stride_kn, stride_kh, stride_vn, stride_vh, stride_don, stride_doh,
    stride_dkn, stride_dkh, stride_dvn, stride_dvh,
    D: tl.constexpr, WIDTH: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
    PREFIX: tl.constexpr, SOFTCAP: tl.constexpr, DESCRIPTORS: tl.constexpr, ONE_PASS: tl.constexpr,
) -> None:  # fmt: skip
    """dk and dv. Scores are transposed, [BLOCK_K, BLOCK_Q]; the heads of a group follow one another in one loop.

    Queries from N on need no mask: they read as q = do = 0 with lse = delta = 0, which adds nothing.
    """
    program = tl.program_id(0)
    kv_heads = heads // group
    kv_head = program % kv_heads
    first, query_lo, full, full_steps, masked_steps = walk_queries(key_tiles, program // kv_heads)
    k_tile = load_rows(k, first, kv_head, tokens, stride_kn, stride_kh, D, BLOCK_K, WIDTH, DESCRIPTORS)
    v_tile = load_rows(v, first, kv_head, tokens, stride_vn, stride_vh, D, BLOCK_K, WIDTH, DESCRIPTORS)
    keys = first + tl.arange(0, BLOCK_K)
    dk_acc = tl.zeros([BLOCK_K, WIDTH], tl.float32)
    dv_acc = tl.zeros([BLOCK_K, WIDTH], tl.float32)

    # Loads ahead of a loop compute their first addresses even where it has no step: no division by 0.
    full_of_head, masked_of_head = tl.maximum(full_steps, 1), tl.maximum(masked_steps, 1)
    for j in tl.range(0, group * full_steps):
        head = kv_head * group + j // full_of_head
        query = query_lo + (full + j % full_of_head) * BLOCK_Q
        q_tile = load_rows(q, query, head, tokens, stride_qn, stride_qh, D, BLOCK_Q, WIDTH, DESCRIPTORS)
        row_lse = load_of_head(lse, head, query, tokens, stride_lse, BLOCK_Q, DESCRIPTORS)[None, :]
        x, slope = scores(k_tile, q_tile, scale, softcap, SOFTCAP)
        p = power(x - row_lse, natural(k_tile))
        dk_acc, dv_acc = add_to_dk_dv(
            dk_acc, dv_acc, p, slope, q_tile, k_tile, v_tile, do, deltas, dq_sums, query, head, tokens, heads, scale,
            stride_delta, stride_don, stride_doh, D, WIDTH, BLOCK_Q, SOFTCAP, DESCRIPTORS, ONE_PASS,
        )  # fmt: skip

    for j in tl.range(0, group * masked_steps):
        head = kv_head * group + j // masked_of_head
        step = j % masked_of_head
        query = query_lo + tl.where(step < full, step, step + full_steps) * BLOCK_Q
        q_tile = load_rows(q, query, head, tokens, stride_qn, stride_qh, D, BLOCK_Q, WIDTH, DESCRIPTORS)
        row_lse = load_of_head(lse, head, query, tokens, stride_lse, BLOCK_Q, DESCRIPTORS)[None, :]
        near_start = load_vector(near_starts, query, tokens, BLOCK_Q, DESCRIPTORS)[None, :]
        far_start, far_end = near_start, near_start
        if PREFIX:
            far_start = load_vector(far_starts, query, tokens, BLOCK_Q, DESCRIPTORS)[None, :]
            far_end = load_vector(far_ends, query, tokens, BLOCK_Q, DESCRIPTORS)[None, :]
        rows = query + tl.arange(0, BLOCK_Q)
        x, slope = scores(k_tile, q_tile, scale, softcap, SOFTCAP)
        seen = visible(rows[None, :], keys[:, None], near_start, far_start, far_end, PREFIX)
        p = tl.where(seen, power(x - row_lse, natural(k_tile)), 0.0)
        dk_acc, dv_acc = add_to_dk_dv(
            dk_acc, dv_acc, p, slope, q_tile, k_tile, v_tile, do, deltas, dq_sums, query, head, tokens, heads, scale,
            stride_delta, stride_don, stride_doh, D, WIDTH, BLOCK_Q, SOFTCAP, DESCRIPTORS, ONE_PASS,
        )  # fmt: skip

    store_rows(dk, dk_acc * scale, first, kv_head, tokens, stride_dkn, stride_dkh, D, BLOCK_K, WIDTH, DESCRIPTORS)
    store_rows(dv, dv_acc, first, kv_head, tokens, stride_dvn, stride_dvh, D, BLOCK_K, WIDTH, DESCRIPTORS)
