"""The attentions that ours is measured beside, all behind the same two calls on the same tensors."""

from __future__ import annotations

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from problems import Int32Array, Problem, starts_of
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from stategpt.kernels.attention.reference import attention_reference


class Refused(Exception):
    """A library cannot do it here, and why."""


class Library(ABC):
    """One attention. A mask is made from a problem's documents; a call attends under it."""

    name: str
    repeats = False
    """Keys and values are repeated for every query head, because it refuses fewer of them."""

    @abstractmethod
    def mask(self, problem: Problem) -> Any:
        """What the library needs to know of the documents. Raises `Refused`."""

    @abstractmethod
    def attend(self, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, mask: Any) -> Tensor:
        """o_NHD, differentiable."""

    @property
    def note(self) -> str:
        """What a reader of its times must know."""
        return "takes no grouped heads: keys and values are repeated, in its time" if self.repeats else ""

    def served(self, q_NHD: Tensor, *keys_and_values: Tensor) -> tuple[Tensor, ...]:
        """q, k and v with as many heads as the library takes."""
        if not self.repeats:
            return q_NHD, *keys_and_values
        return q_NHD, *(x.repeat_interleave(q_NHD.shape[1] // x.shape[1], 1) for x in keys_and_values)


@contextmanager
def reasons() -> Iterator[None]:
    """Turns an error into `Refused`, with what torch warned of: the reasons stand in the warnings."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            yield
        except Refused:
            raise
        except Exception as error:  # a library may fail in any way: the record says how, and the others go on
            said = [
                f"{type(error).__name__}: {str(error).strip()}".splitlines()[0],
                *(str(warning.message).splitlines()[0] for warning in heard),
            ]
            raise Refused("; ".join(dict.fromkeys(said))[:300]) from None


class Sdpa(Library):
    """`scaled_dot_product_attention` with one backend: flash is FlashAttention-2."""

    def __init__(self, name: str, backend: SDPBackend) -> None:
        self.name = name
        self._backend = backend

    def mask(self, problem: Problem) -> int:
        """Tokens a row."""
        if not problem.causal_rows:
            raise Refused("causal rows only: it has no mask of documents or windows")
        return problem.row_tokens

    def attend(self, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, mask: int) -> Tensor:
        """o_NHD."""
        q, k, v = (by_row(x, mask) for x in self.served(q_NHD, k_NGD, v_NGD))
        with sdpa_kernel(self._backend):
            o = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1])
        return o.transpose(1, 2).reshape(q_NHD.shape)


class Varlen(Library):
    """`torch.nn.attention.varlen.varlen_attn`, whose arguments differ between versions of torch."""

    name = "varlen_attn"

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def mask(self, problem: Problem) -> tuple[Tensor, int, dict[str, Any]]:
        """Starts of the documents on the device, the longest, and the arguments that say causal."""
        if self._device.type != "cuda":
            raise Refused("needs a CUDA device")
        try:
            from torch.nn.attention.varlen import varlen_attn
        except ImportError:
            raise Refused(f"torch {torch.__version__} has none") from None
        takes = inspect.signature(varlen_attn).parameters
        if "window_size" in takes:  # (keys before, keys behind), the token itself not counted; -1 is all
            options: dict[str, Any] = {"window_size": (-1 if problem.window is None else problem.window - 1, 0)}
        elif problem.window is not None:
            raise Refused(f"no window in torch {torch.__version__}")
        else:
            options = {"is_causal": True}
        if "enable_gqa" in takes:
            options["enable_gqa"] = problem.heads != problem.kv_heads and not self.repeats
        starts = on_its_way(starts_of(problem.lengths), self._device)
        return starts, max(problem.lengths), options

    def attend(self, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, mask: tuple[Tensor, int, dict[str, Any]]) -> Tensor:
        """o_NHD."""
        from torch.nn.attention import varlen

        starts, longest, options = mask
        served = self.served(q_NHD, k_NGD, v_NGD)
        call: Any = varlen.varlen_attn  # its arguments differ between versions
        o: Tensor = call(*served, starts, starts, longest, longest, **options)
        return o


class Flex(Library):
    """FlexAttention and its block masks, both compiled, once for each shape."""

    name = "flex"

    def __init__(self, device: torch.device) -> None:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        self._device = device
        self._attend = torch.compile(flex_attention, dynamic=False, fullgraph=True)
        self._create = torch.compile(create_block_mask, dynamic=False)
        self._documents: Tensor | None = None
        self._shape: tuple[object, ...] = ()
        self._sees: Callable[..., Tensor] = _causal

    def mask(self, problem: Problem) -> tuple[int, Any]:
        """Tokens a row and the block mask. Documents of a shape share one buffer, so that nothing compiles twice."""
        shape = (len(problem.rows), problem.row_tokens, problem.window, problem.causal_rows)
        if shape != self._shape:
            torch.compiler.reset()  # torch compiles a function for eight shapes at most
            self._shape, self._documents = shape, None
            self._sees = self._mask_of(problem)
        if self._documents is not None:
            self._documents.copy_(on_its_way(document_numbers(problem), self._device), non_blocking=True)
        rows = None if self._documents is None else len(problem.rows)
        length = problem.row_tokens
        return length, self._create(self._sees, rows, None, length, length, device=self._device)

    def _mask_of(self, problem: Problem) -> Callable[..., Tensor]:
        """Does query q see key k?"""
        window = problem.row_tokens if problem.window is None else problem.window
        if all(len(row) == 1 for row in problem.rows):
            return _causal if problem.window is None else lambda b, h, q, k: (q >= k) & (q - k < window)
        documents = self._documents = torch.empty(
            len(problem.rows), problem.row_tokens, dtype=torch.int32, device=self._device
        )
        if problem.window is None:
            return lambda b, h, q, k: (q >= k) & (documents[b, q] == documents[b, k])
        return lambda b, h, q, k: (q >= k) & (q - k < window) & (documents[b, q] == documents[b, k])

    def attend(self, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, mask: tuple[int, Any]) -> Tensor:
        """o_NHD."""
        row_tokens, blocks = mask
        q, k, v = (by_row(x, row_tokens) for x in self.served(q_NHD, k_NGD, v_NGD))
        o: Tensor = self._attend(q, k, v, block_mask=blocks, enable_gqa=q.shape != k.shape)
        return o.transpose(1, 2).reshape(q_NHD.shape)


class Reference(Library):
    """What attention means, token by token: for rehearsals."""

    name = "reference"

    def mask(self, problem: Problem) -> tuple[Tensor, Tensor, Tensor, int | None]:
        """The layout's vectors."""
        layout = problem.layout()
        segment, prefix, branch = map(torch.from_numpy, (layout.segment_start, layout.prefix_end, layout.branch_start))
        return segment, prefix, branch, problem.window

    def attend(self, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, mask: tuple[Any, ...]) -> Tensor:
        """o_NHD."""
        segment_start, prefix_end, branch_start, window = mask
        scale = q_NHD.shape[2] ** -0.5
        return attention_reference(q_NHD, k_NGD, v_NGD, segment_start, prefix_end, branch_start, scale, window)


def _causal(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
    return q >= k


def by_row(x_NHD: Tensor, row_tokens: int) -> Tensor:
    """The same memory as [rows, heads, tokens, D]: the order in which FlashAttention has it."""
    N, H, D = x_NHD.shape
    return x_NHD.view(N // row_tokens, row_tokens, H, D).transpose(1, 2)


def on_its_way(vector: Int32Array, device: torch.device) -> Tensor:
    """A copy on the device that the host does not wait for."""
    host = torch.from_numpy(vector)
    return host.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else host.to(device)


def document_numbers(problem: Problem) -> Int32Array:
    """int32[rows, tokens]: the number of each token's document within its row."""
    return np.stack([np.repeat(np.arange(len(row), dtype=np.int32), row) for row in problem.rows])


def every_peer(device: torch.device, rehearsal: bool) -> dict[str, Callable[[], Library]]:
    """What makes each library, by the name in the record. Flex takes longer to compile than all of a rehearsal."""
    peers: dict[str, Callable[[], Library]] = {
        "sdpa-flash": lambda: Sdpa("sdpa-flash", SDPBackend.FLASH_ATTENTION),
        "sdpa-cudnn": lambda: Sdpa("sdpa-cudnn", SDPBackend.CUDNN_ATTENTION),
        "flex": lambda: Flex(device),
        "varlen_attn": lambda: Varlen(device),
    }
    if rehearsal:
        del peers["flex"]
        peers["reference"] = Reference
    return peers
