"""What a training step changes of a model, described without torch: all weights, parts of them, or adapters."""

from __future__ import annotations

from dataclasses import dataclass

from stategpt.config.architecture import NORM_VECTORS
from stategpt.config.lora import LoRAConfig, last_layers, layers_of, linear_shapes, matches
from stategpt.config.model import GPTConfig

NO_ADAPTERS = LoRAConfig()


@dataclass(frozen=True)
class Trained:
    """What is trained, and what its gradients pass.

    Attributes:
        numbers: trained numbers, heads and adapters included.
        blocks: the last blocks of the model, as many as gradients pass; nothing is kept of those before them.
        matrix: whether the matrix that predicts tokens gets a gradient.
        lora: adapters; with rank 0 the weights themselves are trained.
    """

    numbers: int
    blocks: int
    matrix: bool
    lora: LoRAConfig = NO_ADAPTERS

    @classmethod
    def of(cls, model: GPTConfig, train: str = "all", lora: LoRAConfig = NO_ADAPTERS, head: int = 0) -> Trained:
        """Counts what `train` or the adapters `lora` train of `model`, and a head of `head` numbers."""
        if lora.rank:
            adapted = [layer for layer in range(model.depth) if adapted_in(model, lora, layer)]
            numbers = adapter_parameters(model, lora) + head
            return cls(numbers, model.depth - adapted[0] if adapted else 0, False, lora)
        numbers, layers = numbers_of(model, train) + head, last_layers(train)
        matrix = train == "all" or (train == "no_embedding" and not model.tied_embeddings)
        return cls(numbers, model.depth if layers is None else layers, matrix)


def adapted_in(model: GPTConfig, lora: LoRAConfig, layer: int) -> dict[str, tuple[int, int]]:
    """(outputs, inputs) of the linear layers of block `layer` that have an adapter, by their last name."""
    shapes = ((name, shape) for name, shape in linear_shapes(model).items() if name != "lm_head")
    return {name.rpartition(".")[2]: shape for name, shape in shapes if matches(f"layers.{layer}.{name}", lora.targets)}


def adapter_parameters(model: GPTConfig, lora: LoRAConfig) -> int:
    """Numbers in the adapters of a model: rank (inputs + outputs) a layer, with DoRA one for each output more."""
    total = 0
    for name, (outputs, inputs) in linear_shapes(model).items():
        for layer in layers_of(model, name):
            if matches(layer, lora.targets):
                total += lora.rank * (inputs + outputs) + (outputs if lora.dora else 0)
    return total


def numbers_of(model: GPTConfig, train: str) -> int:
    """Numbers of a GPT that `train` names."""
    norm = NORM_VECTORS[model.architecture.norm] * model.width
    layers = last_layers(train)
    if layers is not None:
        return layers * model.block_parameters + norm
    if train == "all":
        return model.parameters
    prediction = 0 if model.tied_embeddings else model.vocab_size * model.width
    return model.depth * model.block_parameters + norm + prediction
