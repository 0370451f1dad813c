"""Which linear layers of a model get adapters, by the names that `lora(targets=...)` takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from torch import nn

from stategpt.config.lora import TARGET_GROUPS, matches
from stategpt.errors import InvalidArgument

from .gpt import GPT
from .joined import is_plain
from .lora_layer import LoRALinear
from .quantize import QuantizedLinear

Model = TypeVar("Model", bound=nn.Module)

_EMBEDDINGS = ("embed_tokens", "embed_positions")


def trunk_of(model: nn.Module) -> tuple[str, GPT]:
    """Finds the GPT in `model`: itself, or its `gpt`, as a reward model has it. -> prefix of its names, GPT.

    Raises `InvalidArgument` for a module without one.
    """
    if isinstance(model, GPT):
        return "", model
    gpt = getattr(model, "gpt", None)
    if isinstance(gpt, GPT):
        return "gpt.", gpt
    raise InvalidArgument(
        f"{type(model).__name__} is no GPT and has none as its `gpt`; adapters are added to sg.GPT and sg.RewardModel"
    )


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    """Yields the adapted layers of `model` with their names."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, LoRALinear))


def put(gpt: nn.Module, name: str, module: nn.Module) -> None:
    """Puts `module` in the place of the layer `name` of `gpt`."""
    parent, _, last = name.rpartition(".")
    setattr(gpt.get_submodule(parent), last, module)


def linear_layers(gpt: GPT) -> dict[str, nn.Module]:
    """Layers that can have an adapter, by name in `gpt`: linear, quantized or not, and untied prediction included."""
    return {name: module for name, module in gpt.named_modules() if adaptable(module)}


def adaptable(module: nn.Module) -> bool:
    """Whether the module is a plain linear layer or a quantized one."""
    return is_plain(module, nn.Linear) or isinstance(module, QuantizedLinear)


def find_targets(gpt: GPT, targets: str | Sequence[str]) -> dict[str, nn.Module]:
    """Returns the layers that `targets` name, in the order of the model.

    A name is a group ("attention", "mlp", or "all": every linear layer of the blocks), or the end of a layer's name,
    whole parts of it: "q_proj", "self_attn.q_proj", "layers.0.mlp.up_proj", "lm_head". A string may join several
    with "+".

    Raises:
        InvalidArgument: a name that matches nothing, with what there is; an embedding; `lm_head` of a tied model.
    """
    wanted = targets.split("+") if isinstance(targets, str) else list(targets)
    layers = linear_layers(gpt)
    chosen: set[str] = set()
    for name in wanted:
        found = {layer for layer in layers if matches(layer, [name])}
        if not found:
            raise _no_match(gpt, layers, name)
        chosen |= found
    if not chosen:
        raise InvalidArgument("targets is empty; name the layers that get adapters, as in targets='attention+mlp'")
    return {name: layer for name, layer in layers.items() if name in chosen}


def _no_match(gpt: GPT, layers: Mapping[str, nn.Module], name: str) -> InvalidArgument:
    if name == "lm_head" and gpt.config.tied_embeddings:
        return InvalidArgument(
            "target 'lm_head': this model predicts with its embedding matrix (tied embeddings), so merging an adapter "
            "of the prediction would change the embedding too; leave lm_head out"
        )
    if name in _EMBEDDINGS:
        return InvalidArgument(
            f"target {name!r}: a look-up has no adapter here; leave it out, or train the embedding itself without LoRA"
        )
    ends = list(dict.fromkeys(layer.rpartition(".")[2] for layer in layers))
    return InvalidArgument(
        f"target {name[:100]!r} matches no linear layer; there are {', '.join(ends)}, and the groups "
        f"{', '.join(TARGET_GROUPS)}"
    )
