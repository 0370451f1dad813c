"""Fine-tuning of parts of a model: freezes what is not trained."""

from __future__ import annotations

from torch import nn

from stategpt.config.lora import last_layers, require_train
from stategpt.errors import InvalidArgument

from .lora_targets import Model, trunk_of


def train_only(model: Model, train: str) -> Model:
    """Freezes all of the GPT in `model` but what `train` names, in place; heads stay trained. -> `model`.

    "all"; "no_embedding": all but embeddings, where the prediction is tied to them that too; "last_2_layers": the last
    two blocks and the last norm.
    Raises `ConfigError` for another value, `InvalidArgument` for more layers than there are.
    """
    require_train("train", train)
    _, gpt = trunk_of(model)
    layers = last_layers(train)
    if layers is not None and layers > len(gpt.layers):
        raise InvalidArgument(f"train is {train!r}, and the model has {len(gpt.layers)} layers")
    gpt.requires_grad_(layers is None)
    trained: list[nn.Module] = [] if layers is None else [*gpt.layers[-layers:], gpt.norm]
    for module in trained:
        module.requires_grad_(True)
    if train == "no_embedding":
        gpt.embed_tokens.requires_grad_(False)
        if gpt.config.architecture.learned_positions:
            gpt.embed_positions.requires_grad_(False)
    return model
