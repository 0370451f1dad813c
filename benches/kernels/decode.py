"""Decoding over pages beside the speed of copying, and a shared prefix beside the same keys unshared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from attention_rows import AGREEMENT, relative
from ceilings import COPY, copy_rounds
from rows import OURS, Goal, Row
from timing import Call, Clock, in_turns
from torch import Tensor

from stategpt.ops import SharedPrefix, paged_attention

CLIFF = "smaller batches"
COPY_GOAL = (Goal(COPY, 0.75, 0.85),)
CLIFF_GOAL = (Goal(CLIFF, 0.85),)
"""A larger batch reads at no less than this share of the best speed of any smaller one."""
SHARED_GOAL = (Goal("own copies", 5.0, 10.0),)


@dataclass(frozen=True)
class Sizes:
    """Of the caches; full size unless rehearsed."""

    keys: int = 8192
    batches: tuple[int, ...] = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)
    batch: int = 64
    own_keys: int = 256
    """Behind a shared prefix."""
    heads: int = 32
    kv_heads: int = 8
    head_dim: int = 128
    page_slots: int = 64
    copy_bytes: int = 2 << 30


REHEARSED = Sizes(128, (1, 3), 3, 16, 4, 2, 16, 64, 1 << 20)


@dataclass(frozen=True)
class Cache:
    """Sequences in shuffled pages, and one query for each."""

    q_BHD: Tensor
    k_pages_PSGD: Tensor
    v_pages_PSGD: Tensor
    page_table_BM: Tensor
    lengths_B: Tensor
    prefix: SharedPrefix | None = None

    @classmethod
    def of(cls, sizes: Sizes, sequences: int, keys: int, device: torch.device, dtype: torch.dtype) -> Cache:
        """Normal numbers in as many pages as that takes."""
        columns = -(-keys // sizes.page_slots)
        pages = sequences * columns
        shape = (pages, sizes.page_slots, sizes.kv_heads, sizes.head_dim)
        generator = torch.Generator(device).manual_seed(0)

        def draw(*shape: int) -> Tensor:
            return torch.empty(shape, dtype=dtype, device=device).normal_(generator=generator)

        order = torch.randperm(pages, generator=torch.Generator().manual_seed(0)).to(torch.int32)
        table, lengths = order.view(sequences, columns), torch.full((sequences,), keys, dtype=torch.int32)
        q = draw(sequences, sizes.heads, sizes.head_dim)
        return cls(q, draw(*shape), draw(*shape), table.to(device), lengths.to(device))

    def first(self, sequences: int) -> Cache:
        """The same with fewer sequences."""
        few = (self.q_BHD[:sequences], self.page_table_BM[:sequences], self.lengths_B[:sequences])
        return Cache(few[0], self.k_pages_PSGD, self.v_pages_PSGD, few[1].contiguous(), few[2])

    def attend(self) -> Tensor:
        """o_BHD by the kernels."""
        tensors = self.q_BHD, self.k_pages_PSGD, self.v_pages_PSGD, self.page_table_BM, self.lengths_B
        return paged_attention(*tensors, prefix=self.prefix, backend="triton")

    def gathered(self) -> tuple[Tensor, Tensor]:
        """Keys and values of the first sequence. -> [L, G, D] x 2"""
        pages, length = self.page_table_BM[0].long(), int(self.lengths_B[0])
        k, v = (x[pages].flatten(0, 1)[:length] for x in (self.k_pages_PSGD, self.v_pages_PSGD))
        return k, v

    def read_bytes(self) -> int:
        """Keys and values of all sequences."""
        token = 2 * self.k_pages_PSGD[0, 0].numel() * self.k_pages_PSGD.element_size()
        return int(self.lengths_B.sum()) * token


def rows(
    sizes: Sizes, device: torch.device, dtype: torch.dtype, rounds: int, clock: Clock, said: Callable[[str], None]
) -> Iterator[Row]:
    """Rows of one batch, of all batches, of a shared prefix."""
    said("decode, batches")
    cache = Cache.of(sizes, max(sizes.batches), sizes.keys, device, dtype)
    fault = _disagreement(cache.first(1), dtype)
    copied = copy_rounds(sizes.copy_bytes, device, rounds)
    times = {}
    for batch in sizes.batches:
        if clock.over or fault:
            break
        times[batch] = in_turns({OURS: graphed(cache.first(batch))}, device, rounds)[OURS]
    yield _one_batch(cache, sizes, times, copied, fault)
    yield _all_batches(cache, times, fault)
    del cache
    if clock.over or fault:
        reason = fault or f"not measured: {clock.seconds:.0f} s were over"
        yield Row("decode, shared prefix", "", "sequences/s", goals=SHARED_GOAL, failed={OURS: reason})
        return
    said("decode, shared prefix")
    yield _shared_prefix(sizes, device, dtype, rounds)


def graphed(cache: Cache) -> Call:
    """A call replayed as a CUDA graph, as a sampler replays it; called plainly on a CPU."""
    if cache.q_BHD.device.type != "cuda":
        return Call(lambda _: cache.attend())
    cache.attend()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        cache.attend()
    return Call(lambda _: graph.replay())


def _disagreement(cache: Cache, dtype: torch.dtype) -> str:
    """How far the first sequence is from torch's attention, if too far."""
    k_LGD, v_LGD = cache.gathered()
    q_H1D, k_GLD, v_GLD = cache.q_BHD[0].unsqueeze(1), k_LGD.transpose(0, 1), v_LGD.transpose(0, 1)
    expected = torch.nn.functional.scaled_dot_product_attention(
        q_H1D[None].float(), k_GLD[None].float(), v_GLD[None].float(), enable_gqa=True
    )[0, :, 0]
    found = relative(expected, cache.attend()[0])
    return "" if found <= AGREEMENT[dtype] else f"differs from torch by {found:.1e}"


def _one_batch(cache: Cache, sizes: Sizes, times: dict[int, list[float]], copied: list[float], fault: str) -> Row:
    row = Row("decode, paged", f"B {sizes.batch} x {sizes.keys} keys", "GB/s", goals=COPY_GOAL)
    if sizes.batch not in times:
        row.failed = {OURS: fault or "not measured: the time was over"}
        return row
    read = cache.first(sizes.batch).read_bytes()
    row.add({OURS: times[sizes.batch]}, read / 1e6)
    row.add({COPY: copied}, 2 * sizes.copy_bytes / 1e6)
    per_gb_ours = [ms / read for ms in times[sizes.batch]]
    scaled = Row("", "", "")
    scaled.add({OURS: per_gb_ours, COPY: [ms / (2 * sizes.copy_bytes) for ms in copied]}, 1.0)
    row.ratios = scaled.ratios
    row.notes = {COPY: "bytes read and written; ours are bytes read"}
    return row


def _all_batches(cache: Cache, times: dict[int, list[float]], fault: str) -> Row:
    row = Row(
        "decode, paged, by batch", f"{min(times, default=0)} to {max(times, default=0)}", "GB/s", goals=CLIFF_GOAL
    )
    if not times:
        row.failed = {OURS: fault or "not measured: the time was over"}
        return row
    for batch, rounds in times.items():
        row.add({f"B {batch}": rounds}, cache.first(batch).read_bytes() / 1e6)
    speeds = list(row.values.values())
    share = min(speed / max(speeds[: i + 1]) for i, speed in enumerate(speeds))
    single = Row("", "", "")
    single.add({OURS: [1.0], CLIFF: [share]}, 1.0)
    row.ratios = single.ratios
    return row


def _shared_prefix(sizes: Sizes, device: torch.device, dtype: torch.dtype, rounds: int) -> Row:
    """The same sequences three times: one prefix read once; its pages in every table; a copy for each sequence."""
    B, S = sizes.batch, sizes.page_slots
    own = Cache.of(sizes, B, sizes.own_keys, device, dtype)
    whole = Cache.of(sizes, 1, sizes.keys, device, dtype)
    k, v = (
        torch.cat([a, b]) for a, b in ((whole.k_pages_PSGD, own.k_pages_PSGD), (whole.v_pages_PSGD, own.v_pages_PSGD))
    )
    table, own_table = whole.page_table_BM, own.page_table_BM + sizes.keys // S
    starts = torch.tensor([0, B], dtype=torch.int32, device=device)
    shared = Cache(own.q_BHD, k, v, own_table, own.lengths_B, SharedPrefix(table, whole.lengths_B, starts))
    everything = torch.cat([table.expand(B, -1), own_table], dim=1)
    same = dataclasses.replace(shared, page_table_BM=everything, lengths_B=own.lengths_B + sizes.keys, prefix=None)
    flat, own_order = everything.flatten().long(), torch.arange(everything.numel(), dtype=torch.int32, device=device)
    copies = dataclasses.replace(
        same, k_pages_PSGD=k[flat], v_pages_PSGD=v[flat], page_table_BM=own_order.view_as(everything)
    )
    row = Row(
        "decode, shared prefix", f"{B} samples of {sizes.keys} + {sizes.own_keys}", "sequences/s", goals=SHARED_GOAL
    )
    found = relative(copies.attend(), shared.attend())
    if not found <= AGREEMENT[dtype]:
        row.failed = {OURS: f"differs from its own unshared result by {found:.1e}"}
        return row
    calls = {OURS: graphed(shared), "own copies": graphed(copies), "same pages": graphed(same)}
    row.add(in_turns(calls, device, rounds), B * 1e3)
    return row
