"""Low-rank adapters and partial fine-tuning: the settings of what SFT, reward modeling and RL train of a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Literal

from stategpt.config.checks import require, require_choice, require_positive
from stategpt.config.model import GPTConfig
from stategpt.shown_fields import documented

BaseFormat = Literal["float32", "bfloat16", "int8", "nf4"]
BASE_FORMATS = ("float32", "bfloat16", "int8", "nf4")

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
TARGET_GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"attention": ATTENTION, "mlp": MLP, "all": (*ATTENTION, *MLP)}
)
"""Names of several layers: "all" are the linear layers of the blocks, without the prediction matrix."""

_LAST = re.compile(r"last_([1-9][0-9]{0,3})_layers", re.ASCII)


@documented
@dataclass(frozen=True)
class LoRAConfig:
    """Low-rank adapters of SFT, reward model and policy (arXiv 2106.09685); what they are added to is frozen."""

    rank: int = 0
    """Inner width of an adapter; 0 = none, the weights themselves are trained."""
    alpha: float = 16.0
    """An adapter's output is multiplied by alpha / rank."""
    targets: tuple[str, ...] = ("attention", "mlp")
    """Layers with an adapter: attention, mlp, all, or names such as "q_proj"."""
    dropout: float = 0.0
    """Share of an adapter's inputs that is set to 0 in training."""
    rslora: bool = False
    """Multiply by alpha / sqrt(rank) instead (arXiv 2312.03732)."""
    dora: bool = False
    """Train the norm of each row of the weights too (arXiv 2402.09353)."""
    base: BaseFormat = "float32"
    """Format of the frozen weights while an adapter is trained: float32, bfloat16, int8 or nf4 (arXiv 2305.14314)."""

    @property
    def without_prediction(self) -> LoRAConfig:
        """The same for a model without a prediction matrix, as a reward model is one."""
        return replace(self, targets=tuple(target for target in self.targets if target != "lm_head"))

    def __post_init__(self) -> None:
        require(self.rank >= 0, "lora.rank", self.rank, "must be 0 or more")
        require_positive("lora", alpha=self.alpha)
        require(0 <= self.dropout < 1, "lora.dropout", self.dropout, "must be at least 0 and below 1")
        require_choice("lora.base", self.base, BASE_FORMATS)
        require(bool(self.targets), "lora.targets", self.targets, "must name layers, as in ['attention', 'mlp']")
        for field in fields(self):
            value = getattr(self, field.name)
            unread = self.rank == 0 and value != field.default
            require(not unread, f"lora.{field.name}", value, "is not read with lora.rank = 0; set a rank, as 8")


def last_layers(train: str) -> int | None:
    """N of "last_N_layers"; None for other values of `train`."""
    found = _LAST.fullmatch(train)
    return int(found[1]) if found else None


def require_train(key: str, train: str) -> None:
    """Refuses a value of `train` that is none of all, no_embedding and last_N_layers."""
    known = train in ("all", "no_embedding") or last_layers(train) is not None
    require(known, key, train, 'must be "all", "no_embedding", or as "last_2_layers"')


def linear_shapes(model: GPTConfig) -> dict[str, tuple[int, int]]:
    """(outputs, inputs) of each linear layer of a block, and of an untied prediction matrix, by name."""
    width, query, kv, inner = model.width, model.query_width, model.kv_width, model.mlp_width
    shapes = {"self_attn.q_proj": (query, width), "self_attn.k_proj": (kv, width), "self_attn.v_proj": (kv, width)}
    shapes["self_attn.o_proj"] = (width, query)
    gated = {} if model.architecture.mlp == "gelu" else {"mlp.gate_proj": (inner, width)}
    shapes |= gated | {"mlp.up_proj": (inner, width), "mlp.down_proj": (width, inner)}
    return shapes if model.tied_embeddings else shapes | {"lm_head": (model.vocab_size, width)}


def layers_of(model: GPTConfig, name: str) -> list[str]:
    """Names of the layers of all blocks that `linear_shapes` calls `name`."""
    return [name] if name == "lm_head" else [f"layers.{n}.{name}" for n in range(model.depth)]


def matches(layer: str, targets: Iterable[str]) -> bool:
    """Tells whether one of `targets`, groups or ends of names, means the layer."""
    ends = (end for target in targets for end in TARGET_GROUPS.get(target, (target,)))
    return any(f".{layer}".endswith(f".{end}") for end in ends)


def require_targets(model: GPTConfig, lora: LoRAConfig) -> None:
    """Refuses a target that no layer of such a model has, or that its shape rules out."""
    for target in lora.targets if lora.rank else ():
        rule = "is a separate matrix in untied models only; with tied embeddings leave it out"
        require(target != "lm_head" or not model.tied_embeddings, "lora.targets", target, rule)
        layers = (layer for name in linear_shapes(model) for layer in layers_of(model, name))
        known = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in linear_shapes(model)))
        rule = f"matches no layer; there are {known}, and the groups {', '.join(TARGET_GROUPS)}"
        require(any(matches(layer, [target]) for layer in layers), "lora.targets", target, rule)
