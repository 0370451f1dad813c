"""Where the parameters of a model are in the files of a family: names, several in one tensor, transposed ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from stategpt.config.family import Family, spelled


@dataclass(frozen=True)
class TensorNames:
    """Names on disk in folders of `family`; `standard` gives the standard name of a module's parameter."""

    family: Family
    standard: Callable[[str], str]

    def __call__(self, name: str) -> str:
        """Returns the name on disk of the parameter `name`; several may share one tensor."""
        return self._spelled(self.standard(name))

    @property
    def embedding(self) -> str:
        """Name on disk of the embedding, of a language model and of a reward model alike."""
        return self._spelled("model.embed_tokens.weight")

    @property
    def prediction(self) -> str:
        """Name on disk of the prediction matrix of a language model."""
        return self._spelled("lm_head.weight")

    def _spelled(self, found: str) -> str:
        return spelled(found, self.family.tensor_names)

    def transposed(self, disk_name: str) -> bool:
        """Whether the matrix is stored as [inputs, outputs]."""
        return disk_name.endswith(self.family.transposed)

    def groups(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Returns the parameters in each tensor on disk, in the order of its rows."""
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(self(name), []).append(name)
        return found

    def stored_shape(self, disk_name: str, parts: list[tuple[int, ...]]) -> tuple[int, ...]:
        """Returns the shape on disk of a tensor of the parameters with these shapes."""
        shape = (sum(part[0] for part in parts), *parts[0][1:])
        return shape[::-1] if self.transposed(disk_name) else shape

    def stored(self, disk_name: str, parts: list[Tensor]) -> Tensor:
        """Joins parameters into the tensor on disk; one that is alone and not transposed is taken as it is."""
        whole = torch.cat(parts) if len(parts) > 1 else parts[0]
        return whole.t().contiguous() if self.transposed(disk_name) else whole

    def parameters(self, disk_name: str, whole: Tensor, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """Takes a tensor on disk apart into parameters of `shapes`, none of which shares memory with another."""
        if self.transposed(disk_name):
            whole = whole.t().contiguous()
        if len(shapes) == 1:
            return dict.fromkeys(shapes, whole)
        pieces = torch.split(whole, [shape[0] for shape in shapes.values()])
        return {name: piece.clone() for name, piece in zip(shapes, pieces, strict=True)}
