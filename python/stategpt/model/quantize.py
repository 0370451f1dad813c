"""Low precision for weights that are not trained: linear layers in 8 bits or in 4.127 (NF4).

    model = quantize(sg.GPT.from_pretrained(folder), "nf4")     # the frozen base of adapters
    model = quantize(model, "int8", skip=())                    # for sampling: the prediction matrix, too

Quantized are the linear layers of the blocks. Never quantized are norms, biases, learned positions and the head of a
reward model: together less than a hundredth of a model, and the most sensitive. The prediction matrix is skipped unless
`skip` leaves it out, since an error there goes straight into every logit; where it is tied to the embedding, the
embedding's rows are then read from its 8-bit codes as well.

Activations are not quantized: a product is that of the dequantized weights in the activations' number format.

Legend: N tokens, W input width, O output width, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from stategpt.arguments import one_of
from stategpt.errors import InvalidArgument
from stategpt.ops.frozen_linear import frozen_linear
from stategpt.ops.int8 import Int8, from_int8, to_int8
from stategpt.ops.int8_product import Int8Product, suits
from stategpt.ops.nf4 import NF4, from_nf4, to_nf4

from .joined import is_plain

Kind = Literal["int8", "nf4"]
KINDS: tuple[Kind, ...] = ("int8", "nf4")
PREDICTION = "lm_head"
"""In `skip`, the prediction matrix: the module of this name, or the embedding that it is tied to."""
REWARD_HEAD = "head"
"""Of a `RewardModel`: a single row, always skipped."""

_Model = TypeVar("_Model", bound=nn.Module)


class _Quantized(nn.Module):
    """A frozen matrix in low precision. Its buffers are in the `state_dict`; changing the model's number format leaves
    them as they are, since rounded scales would be other weights."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _Quantized:
        """Moves the buffers; `.to(bfloat16)` finds only integers among them."""
        stored = {name: buffer for name, buffer in self.named_buffers() if buffer.dtype == torch.float32}
        for name in stored.keys() - self._non_persistent_buffers_set:
            setattr(self, name, stored[name].view(torch.int32))
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name in stored.keys() - self._non_persistent_buffers_set:
            setattr(self, name, self.get_buffer(name).view(torch.float32))
        return self


class QuantizedLinear(_Quantized, ABC):
    """Stands where an `nn.Linear` was: x times the dequantized weights, plus the bias, differentiable in x.

    The weights have no gradient; the bias is a parameter as it was.
    """

    kind: Kind
    bias: nn.Parameter | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.register_parameter("bias", linear.bias)

    @abstractmethod
    def dequantized(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Returns the weights that the layer multiplies by. -> [O, W], a new tensor without a gradient."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., W] -> [..., O], in x's number format, or autocast's."""
        return frozen_linear(x, self.dequantized, self.bias)

    def extra_repr(self) -> str:
        """What `print(model)` shows of the layer."""
        shape = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{shape}, bias={self.bias is not None}, kind={self.kind}"


class Int8Linear(QuantizedLinear):
    """Weights as int8 codes with a scale for each output row (`ops.int8`)."""

    kind = "int8"
    codes: Tensor
    scales: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        _register(self, to_int8(linear.weight))
        self._product = Int8Product()

    @property
    def stored(self) -> Int8:
        """Codes and scales."""
        buffers = self._buffers  # an attribute of a module is searched in three places
        return Int8(buffers["codes"], buffers["scales"])  # type: ignore[arg-type]

    @property
    def joinable(self) -> bool:
        """The output is the product alone, so that several layers' may be computed in one call."""
        return self._parameters["bias"] is None and is_plain(self, Int8Linear)

    def dequantized(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """See `QuantizedLinear.dequantized`."""
        return from_int8(self.stored, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """See `QuantizedLinear.forward`; a few vectors on a CPU are multiplied by the codes themselves."""
        if not suits(x):
            return super().forward(x)
        product = self._product(x, [self.stored])
        return product if self.bias is None else product + self.bias.to(product.dtype)


class NF4Linear(QuantizedLinear):
    """Weights as NF4 codes with scales in 8 bits (`ops.nf4`)."""

    kind = "nf4"
    codes: Tensor
    scales: Tensor
    steps: Tensor
    mean: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        _register(self, to_nf4(linear.weight))

    def dequantized(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """See `QuantizedLinear.dequantized`."""
        stored = NF4(self.codes, self.scales, self.steps, self.mean)
        return from_nf4(stored, (self.out_features, self.in_features), dtype)


class QuantizedEmbedding(_Quantized):
    """An embedding that is also the prediction matrix, as int8 codes with a scale for each token's row."""

    codes: Tensor
    scales: Tensor
    like: Tensor

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = embedding.num_embeddings, embedding.embedding_dim
        _register(self, to_int8(embedding.weight))
        self._product = Int8Product()
        self.register_buffer("like", embedding.weight.detach().new_empty(0), persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the rows that `forward` gives: that of the model's other weights."""
        return self.like.dtype

    def dequantized(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Returns the whole matrix. -> [V, W], a new tensor without a gradient."""
        return from_int8(Int8(self.codes, self.scales), dtype)

    def forward(self, tokens: Tensor) -> Tensor:
        """Looks up rows; only these are dequantized. -> [..., W]. Raises `IndexError` for an id it does not hold."""
        rows = from_int8(Int8(self.codes[tokens.flatten()], self.scales[tokens.flatten()]), self.dtype)
        return rows.view(*tokens.shape, self.embedding_dim)

    def project(self, hidden: Tensor) -> Tensor:
        """Computes the products of hidden states with all rows. -> [..., V]."""
        if suits(hidden):
            return self._product(hidden, [Int8(self.codes, self.scales)])
        return frozen_linear(hidden, self.dequantized)


def joint_product(product: Int8Product, x: Tensor, layers: Sequence[nn.Module]) -> Tensor | None:
    """Multiplies `x` by several layers, whose outputs come one behind the other; None where each has to be called.

    The bits are those of separate calls. Layers are multiplied together if they are int8 without a bias or a hook.
    """
    if type(layers[0]) is not Int8Linear or not suits(x):  # of other models, nothing more is looked at
        return None
    stored = [layer.stored for layer in layers if isinstance(layer, Int8Linear) and layer.joinable]
    return product(x, stored) if len(stored) == len(layers) else None


def _register(module: nn.Module, stored: Int8 | NF4) -> None:
    for name, tensor in stored._asdict().items():
        module.register_buffer(name, tensor)


def quantize(model: _Model, kind: Kind, skip: Sequence[str] = (PREDICTION,)) -> _Model:
    """Quantizes the linear layers of `model` in place, one at a time, and returns it.

    Args:
        model: a `GPT` or `RewardModel` with its plain layers; adapters are added afterwards.
        kind: "int8" (8 bits and a scale for each output row) or "nf4" (4.127 bits).
        skip: layers that stay as they are: the last parts of their names ("o_proj", "layers.0.mlp.up_proj"), or
            "lm_head" for the prediction matrix. A tied one is only quantized to int8.

    A quantized model is not saved (`save_pretrained` raises): folders hold the original weights, from which the same
    call makes the same model.

    Raises `InvalidArgument` for another kind, names that match nothing, layers that a user replaced or hooked, weights
    that are not finite, and a model that holds no linear layer or quantized ones already.
    """
    one_of("kind", kind, KINDS)
    found = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    _check(model, found, skip)
    for name, linear in found.items():
        if not _skipped(name, (*skip, REWARD_HEAD)):
            _replace(model, name, Int8Linear(linear) if kind == "int8" else NF4Linear(linear))
    if PREDICTION not in skip:
        _quantize_tied(model, kind)
    return model


def _check(model: nn.Module, found: dict[str, nn.Linear], skip: Sequence[str]) -> None:
    if isinstance(skip, str):
        raise InvalidArgument(f"skip is the string {skip!r}; give a list of names, as in skip=[{skip!r}]")
    if any(isinstance(module, _Quantized) for module in model.modules()):
        raise InvalidArgument("the model is quantized already; load the original weights to choose another kind")
    if not found:
        raise InvalidArgument(f"{type(model).__name__} holds no nn.Linear, so there is nothing to quantize")
    if unused := [part for part in skip if part != PREDICTION and not any(_skipped(name, [part]) for name in found)]:
        raise InvalidArgument(
            f"skip names {unused[0]!r}, and no linear layer's name ends so; see model.named_modules()"
        )
    for name, linear in found.items():
        if _skipped(name, skip):
            continue
        if not is_plain(linear, nn.Linear):
            raise InvalidArgument(
                f"{name} is no plain nn.Linear (another class, or a hook), whose output the weights alone do not give; "
                "quantize the model before you change it, or name the layer in skip"
            )
        if not bool(torch.isfinite(linear.weight).all()):
            raise InvalidArgument(f"{name}.weight is not finite, so it has no scale; the model's training diverged")


def _skipped(name: str, skip: Sequence[str]) -> bool:
    return any(name == part or name.endswith(f".{part}") for part in skip)


def _quantize_tied(model: nn.Module, kind: Kind) -> None:
    """Quantizes the embedding where it is the prediction matrix of a GPT."""
    embedding = getattr(model, "embed_tokens", None)
    if not isinstance(embedding, nn.Embedding) or getattr(model, PREDICTION, None) is not None:
        return
    if kind != "int8":
        raise InvalidArgument(
            f"the prediction matrix is the embedding, of which {kind} has no rows; leave {PREDICTION!r} in skip"
        )
    model.embed_tokens = QuantizedEmbedding(embedding)


def _replace(model: nn.Module, name: str, layer: QuantizedLinear) -> None:
    owner, _, last = name.rpartition(".")
    setattr(model.get_submodule(owner), last, layer)


def refuse_quantized(model: nn.Module) -> None:
    """Raises `InvalidArgument` for a model with quantized layers: folders hold the original weights."""
    if layers := [name for name, module in model.named_modules() if isinstance(module, _Quantized)]:
        raise InvalidArgument(
            f"{len(layers)} layers of the model are quantized ({layers[0]}, ...), and folders hold original weights "
            "only: save the model before quantize(), save an adapter alone, or keep its state_dict()"
        )
