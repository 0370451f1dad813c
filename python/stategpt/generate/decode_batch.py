"""One decoding batch: rows that are prefilled together, sampled step by step, and removed when they are finished.

Legend: M rows still running, P different prompts among them, T tokens of the longest prompt, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.model import GPT, KVCache
from stategpt.model.token_batch import lay_out_rows

from .detokenized_stream import DetokenizedStream
from .sampler import Sampler

Ids = NDArray[np.uint32]
Reason = Literal["end", "stop", "length"]


class Item(NamedTuple):
    """One completion to make. Sorted, prompts of similar length come together, and so do the samples of a prompt."""

    prompt_tokens: int
    """Length of the prompt."""
    prompt: int
    """Index of the prompt."""
    sample: int
    """Which sample of it."""
    stream: int
    """Number of the prompt's random stream."""
    max_tokens: int
    """Tokens after which it is cut."""


class Sampled(NamedTuple):
    """A finished row."""

    item: Item
    ids: Ids
    log_probs: NDArray[np.float32]
    reason: Reason


class DecodeBatch:
    """The running rows of `items`: their cache, the logits of their next token, and the tokens sampled so far.

    Everything is kept in the order of the cache's rows, and for running rows only.
    """

    def __init__(
        self,
        model: GPT,
        sampler: Sampler,
        items: Sequence[Item],
        prompts: Sequence[Ids],
        end_ids: Sequence[int],
        texts: Sequence[DetokenizedStream] = (),
    ) -> None:
        """Each of `end_ids` ends a row; `texts` (one for each item, or none at all) follow the tokens and may stop."""
        self._model, self._sampler = model, sampler
        self._end_ids = np.array(end_ids, dtype=np.int64)
        self._items, self._texts = list(items), list(texts)
        self._streams, self._samples = _column(items, "stream"), _column(items, "sample")
        self._max_tokens = _column(items, "max_tokens")
        most = int(self._max_tokens.max())
        self._ids = np.zeros((len(items), most), dtype=np.uint32)
        self._log_probs = np.zeros((len(items), most), dtype=np.float32)
        self._position = 0
        self._cache, self._logits_MV = self._prefill(prompts, most)

    @property
    def running(self) -> bool:
        """Whether any row is unfinished."""
        return bool(self._items)

    def step(self) -> list[Sampled]:
        """Draws one token for each row; returns the rows that it finishes."""
        drawn = self._sampler.draw(self._logits_MV, self._streams, self._samples, self._position)
        ids_M = drawn.ids_M.cpu().numpy()
        self._ids[:, self._position] = ids_M
        self._log_probs[:, self._position] = drawn.log_probs_M.cpu().numpy()
        self._position += 1
        ended = (ids_M[:, None] == self._end_ids).any(axis=1)
        stopped = self._follow(ids_M, ended)
        finished = ended | stopped | (self._max_tokens == self._position)
        done = [
            self._sampled(row, "end" if ended[row] else "stop" if stopped[row] else "length")
            for row in np.flatnonzero(finished).tolist()
        ]
        rows = self._drop(finished) if done else torch.arange(len(self._items), device=drawn.ids_M.device)
        if self._items:
            hidden_M1W = self._model.decode(drawn.ids_M[rows, None], self._cache)
            self._logits_MV = self._model.unembed(hidden_M1W[:, 0])
        return done

    def _prefill(self, prompts: Sequence[Ids], max_tokens: int) -> tuple[KVCache, Tensor]:
        """Runs each different prompt once, padded on the right; then every row gets a copy of its cache and logits."""
        device = self._model.device
        different = sorted({item.prompt for item in self._items})
        place = {prompt: row for row, prompt in enumerate(different)}
        lengths = np.array([len(prompts[prompt]) for prompt in different], dtype=np.int64)
        padded = lay_out_rows([[prompts[prompt]] for prompt in different], int(lengths.max()), 0)
        config = self._model.config
        capacity = min(padded.shape[1] + max_tokens, config.context_tokens)
        cache = KVCache.allocate(config, len(different), capacity, device, _number_format(self._model))
        lengths_P = torch.from_numpy(lengths).to(device)
        hidden_PTW = self._model.decode(torch.from_numpy(padded).to(device), cache, lengths_P)
        last_PW = hidden_PTW[torch.arange(len(different), device=device), lengths_P - 1]
        rows_M = torch.tensor([place[item.prompt] for item in self._items], device=device)
        return cache.select(rows_M), self._model.unembed(last_PW)[rows_M]

    def _follow(self, ids_M: NDArray[np.int64], ended: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Adds each row's token to its text; true where that completed a stop string."""
        stopped = np.zeros(len(ids_M), dtype=np.bool_)
        for row, text in enumerate(self._texts):
            if not ended[row]:
                text.push(int(ids_M[row]))
                stopped[row] = text.stopped
        return stopped

    def _sampled(self, row: int, reason: Reason) -> Sampled:
        drawn = slice(0, self._position)
        return Sampled(self._items[row], self._ids[row, drawn].copy(), self._log_probs[row, drawn].copy(), reason)

    def _drop(self, finished: NDArray[np.bool_]) -> Tensor:
        """Forgets finished rows everywhere; returns the old numbers of those that stay, in their new order."""
        rows_M = self._cache.drop(torch.from_numpy(finished).to(self._model.device))
        order = rows_M.cpu().numpy()
        self._items = [self._items[row] for row in order]
        self._texts = [self._texts[row] for row in order] if self._texts else []
        self._streams, self._samples = self._streams[order], self._samples[order]
        self._max_tokens = self._max_tokens[order]
        self._ids, self._log_probs = self._ids[order], self._log_probs[order]
        return rows_M


def _column(items: Sequence[Item], name: str) -> NDArray[np.int64]:
    return np.array([getattr(item, name) for item in items], dtype=np.int64)


def _number_format(model: GPT) -> torch.dtype:
    """The cache holds what the projections give: autocast's format, or the weights'."""
    kind = model.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else model.dtype
