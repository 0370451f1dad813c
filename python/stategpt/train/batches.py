"""Batches of next-token prediction from the loader: the same path for pretraining, SFT and users' own loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch

from stategpt.errors import InvalidArgument
from stategpt.model.token_batch import TokenBatch
from stategpt.packing import Batch, Loader, Mixture, Packed


class RowBatches:
    """Batches of packed rows: step s reads the rows [s * batch_rows, (s + 1) * batch_rows), in micro-batches.

    Args:
        rows: what `sg.pack` or `sg.Mixture` made.
        steps: optimizer steps of the stage.
        batch_rows: rows per optimizer step.
        micro_batch_rows: rows per forward and backward pass; a divisor of `batch_rows`.
        device: where batches are copied to.
        changed: makes of each batch the one that is trained on (`packing.first_tokens`); None: as it is.
    """

    def __init__(
        self,
        rows: Mixture | Packed,
        steps: int,
        batch_rows: int,
        micro_batch_rows: int,
        device: torch.device,
        changed: Callable[[Batch], Batch] | None = None,
    ) -> None:
        if batch_rows % micro_batch_rows:
            raise InvalidArgument(f"micro_batch_rows is {micro_batch_rows}, not a divisor of batch_rows = {batch_rows}")
        self.rows, self.steps, self.device = rows, steps, device
        self.batch_rows, self.micro_batch_rows = batch_rows, micro_batch_rows
        self._changed = changed
        self._loader: Loader | None = None

    def updates(self, step: int) -> Iterable[Sequence[TokenBatch]]:
        """The one update of a step."""
        loader, first = self._loader, step * self.batch_rows
        if loader is None or loader.state()["row"] != first:
            loader = self._loader = Loader(self.rows, self.micro_batch_rows, start=first)
        passes = self.batch_rows // self.micro_batch_rows
        batches = (next(loader) for _ in range(passes))
        changed = batches if self._changed is None else map(self._changed, batches)
        yield [TokenBatch.of(batch, self.device) for batch in changed]
