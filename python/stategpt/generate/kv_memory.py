"""Memory of an engine's keys and values: the pool, the prefixes that are known, and for which weights they hold.

Keys and values are those of one set of weights. Between two calls the model may be trained, and no counter tells:
fused optimizers change a parameter without raising its version. So known prefixes live for one call, unless the engine
is told that they may be kept; then, and for open sessions, versions and a sample of the values are compared at each
call.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol
from weakref import WeakSet

import torch
from torch import Tensor, nn

from stategpt.arguments import whole
from stategpt.errors import InvalidArgument
from stategpt.machine import memory_bytes
from stategpt.model import GPT, Precision

from .branch import Branch
from .pages import PAGE_TOKENS, PagePool, PrefixIndex, page_bytes, pages_of

Marks = tuple[tuple[tuple[int, int, int], ...], bytes]

_SHARE = 4
"""By default at most this part of the machine's memory holds keys and values: one quarter."""
_UNKNOWN_MEMORY = 8 << 30
"""What a machine has that does not say."""
_PROBED = 8
"""Values of each parameter that are compared."""


class Holder(Protocol):
    """A session: it has pages that can be computed again."""

    branch: Branch
    last_used: int


class KVMemory:
    """The pool of `model`, made at its first use, and made again when the model has moved or changed its format."""

    def __init__(self, model: GPT, precision: Precision, kv_bytes: int | None, rows: int, keep_prefixes: bool) -> None:
        each = page_bytes(model.config, self._format(model, precision))
        if kv_bytes is not None and whole("kv_bytes", kv_bytes, 1) < each:
            raise InvalidArgument(
                f"kv_bytes is {kv_bytes:,}, and keys and values of {PAGE_TOKENS} tokens take {each:,}; give more"
            )
        self.model, self.precision, self.keep_prefixes = model, precision, keep_prefixes
        self._kv_bytes, self._rows = kv_bytes, rows
        self._pool: PagePool | None = None
        self._index: PrefixIndex | None = None
        self._marks: Marks | None = None
        self.generation = 0
        """Raised when everything known is forgotten: what began before must not be remembered after."""
        self.sessions: WeakSet[Holder] = WeakSet()
        """Open sessions, which give up their pages when there are no others."""
        self.finished: WeakSet[Branch] = WeakSet()
        """What was sampled for sessions of a batch that still runs; it gives up its pages as sessions do."""

    @staticmethod
    def _format(model: GPT, precision: Precision) -> torch.dtype:
        """Keys and values have the format of the projections: autocast's, or the weights'."""
        return torch.bfloat16 if precision == "bfloat16" else model.dtype

    @property
    def pages(self) -> int:
        """Pages of the pool, whether or not it is made."""
        if self._pool is not None:
            return self._pool.pages
        config = self.model.config
        each = page_bytes(config, self._format(self.model, self.precision))
        if self._kv_bytes is not None:
            return self._kv_bytes // each
        # One more than its samples: a prompt's last page is copied for each of them.
        wanted = (self._rows + 1) * (pages_of(config.context_tokens) + 1)
        available = (memory_bytes() or _UNKNOWN_MEMORY) // _SHARE
        if self.model.device.type == "cuda":
            available = torch.cuda.mem_get_info(self.model.device)[0] // 2
        # One sequence of the whole context always fits.
        return min(max(available // each, pages_of(config.context_tokens) + 1), wanted, 2**31 - 1)

    @property
    def pool(self) -> PagePool:
        """The pages."""
        model = self.model
        pool, dtype = self._pool, self._format(model, self.precision)
        if pool is not None and pool.device == model.device and pool.dtype == dtype:
            return pool
        self._pool = None
        made = PagePool(model.config, pages=self.pages, dtype=dtype, device=model.device)
        self._pool, self._index = made, PrefixIndex(made)
        made.reclaim = self._reclaim
        if pool is not None:
            self.generation += 1
        for session in self.sessions:
            session.branch.move(made)
        return made

    @property
    def index(self) -> PrefixIndex:
        """The known prefixes."""
        assert self.pool is not None
        assert self._index is not None
        return self._index

    def begin(self) -> None:
        """Starts a call: nothing that other weights computed is used from here on."""
        if self._pool is None:
            return
        self.pool  # noqa: B018 - made again if the model has moved
        if not self.keep_prefixes:
            self._forget_prefixes()
        if self.keep_prefixes or any(session.branch.sequence.length for session in self.sessions):
            marks = weight_marks(self.model)
            if self._marks is not None and marks != self._marks:
                self.forget()
            self._marks = marks
        else:
            self._marks = None

    def end(self) -> None:
        """Ends a call: gives up what the next one must not use."""
        if self._pool is None:
            return
        if not self.keep_prefixes:
            self._forget_prefixes()
        if self._marks is None and (self.keep_prefixes or self.sessions):
            self._marks = weight_marks(self.model)

    def forget(self) -> None:
        """Forgets all prefixes, and what sessions have computed: they compute it again from their ids."""
        if self._pool is None:
            return
        for session in self.sessions:
            session.branch.release()
        self._forget_prefixes()

    def _forget_prefixes(self) -> None:
        assert self._pool is not None
        self.generation += 1
        self.index.clear()
        if not any(session.branch.sequence.length for session in self.sessions):
            self._pool.forget_weights()

    def _reclaim(self, pages: int) -> int:
        """Frees pages: of prefixes that nobody uses, then of the sessions that were not used for longest."""
        freed = self.index.evict(pages)
        sessions = sorted(self.sessions, key=lambda each: each.last_used)
        open_ones = [branch for branch in self.finished if not branch.sequence.closed]
        for branch in [*(session.branch for session in sessions), *open_ones]:
            if freed >= pages:
                break
            before = self.pool.free_pages
            branch.release()
            freed += self.pool.free_pages - before
            if freed < pages:  # what it shared with the index
                freed += self.index.evict(pages - freed)
        return freed


def weight_marks(model: nn.Module) -> Marks:
    """Returns what differs after a training step: place and version of each weight, and some of its values.

    A fused optimizer raises no version. It changes nearly every value, so a few of each tensor are enough.
    """
    tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
    places = tuple(
        (tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version, tensor.numel()) for tensor in tensors
    )
    return places, b"".join(_probe(tensors))


def _probe(tensors: Iterable[Tensor]) -> Iterable[bytes]:
    by_kind: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        flat = tensor.detach().reshape(-1)
        stride = max(1, flat.numel() // _PROBED)
        by_kind.setdefault((tensor.dtype, tensor.device), []).append(flat[::stride][:_PROBED])
    for parts in by_kind.values():
        yield torch.cat(parts).cpu().contiguous().view(torch.uint8).numpy().tobytes()
