"""What a stage trains of the model that it continues: adapters, parts of the weights, or all of them.

With `lora.rank` a stage publishes the merged `model/`, from which the next one starts, and beside it `adapter/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic

import torch

from stategpt.artifacts import publish_folder
from stategpt.config import RunConfig
from stategpt.config.stages import FineTuneConfig
from stategpt.model import save_adapter
from stategpt.model.adapter import base_hash
from stategpt.model.lora import frozen_copy, lora, merge
from stategpt.model.lora_targets import Model, trunk_of
from stategpt.model.quantize import quantize
from stategpt.model.trained_parts import train_only
from stategpt.randomness import bits

ADAPTER = "adapter"


@dataclass(frozen=True)
class FineTuning(Generic[Model]):
    """A model that is ready to be trained by a stage."""

    model: Model
    """With adapters, or frozen in part; in the format `lora.base` where it is frozen."""
    base: str
    """`base_hash` of the weights as they came; "" without adapters."""

    @classmethod
    def of(cls, run: RunConfig, stage: str, model: Model, seed: int) -> FineTuning[Model]:
        """Prepares `model`, in place, as the settings of the run say for `stage`.

        `seed` decides the first factors of adapters and their dropout.
        """
        config: FineTuneConfig = getattr(run, stage)
        if not run.lora.rank:
            return cls(train_only(model, config.train), "")
        prefix, gpt = trunk_of(model)
        chosen = run.lora.without_prediction if prefix else run.lora
        base = base_hash(model)
        if chosen.base == "bfloat16":
            gpt.to(torch.bfloat16)
        elif chosen.base != "float32":
            quantize(gpt, chosen.base)
        lora(
            model,
            chosen.rank,
            chosen.alpha,
            chosen.targets,
            chosen.dropout,
            chosen.rslora,
            chosen.dora,
            seed=int(bits(seed, "lora", stage)),
        )
        return cls(model, base)

    def reference(self) -> Model:
        """The model as it is before training, frozen: with adapters it shares all weights, else what is frozen."""
        return frozen_copy(self.model)

    def finish(self, folder: Path, fingerprint: str) -> None:
        """Publishes the adapters in `folder` and merges them into the weights in float32, in place; else nothing."""
        if not self.base:
            return

        def write(temporary: Path) -> None:
            """Writes PEFT's files."""
            save_adapter(self.model, temporary, base=self.base)

        publish_folder(folder / ADAPTER, write, kind=ADAPTER, fingerprints={"config": fingerprint, "base": self.base})
        trunk_of(self.model)[1].float()
        merge(self.model, keep=False)
