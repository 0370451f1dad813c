"""AdamW with decay groups (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from stategpt.config import OptimConfig


def decay_groups(model: nn.Module) -> tuple[list[str], list[str]]:
    """Parameter names with and without weight decay.

    Matrices of linear layers decay; norms, biases and the embedding table do not (a tied table counts once, as an
    embedding): a token's row that is not in the batch would otherwise shrink at every step.
    """
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    decayed: list[str] = []
    kept: list[str] = []
    for name, parameter in model.named_parameters():
        decays = parameter.ndim >= 2 and id(parameter) not in embeddings
        (decayed if decays else kept).append(name)
    return decayed, kept


def adamw(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over `model` with `config`'s betas, epsilon and weight decay; the loop sets the learning rate each step."""
    parameters = dict(model.named_parameters())
    decayed, kept = decay_groups(model)
    return torch.optim.AdamW(
        [
            {"params": [parameters[name] for name in decayed], "weight_decay": config.weight_decay},
            {"params": [parameters[name] for name in kept], "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.epsilon,
        fused=True,
    )


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scales all gradients so that their global 2-norm is at most `max_norm` (0 = no limit); returns the norm
    before.
    """
    return torch.nn.utils.clip_grad_norm_(list(parameters), max_norm or float("inf"))


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """The optimizer's state by parameter name, ready for safetensors: `<name>.exp_avg`, `.exp_avg_sq`, `.step`."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}.{key}"] = torch.as_tensor(value).contiguous()
    return tensors


def restore_optimizer(model: nn.Module, optimizer: torch.optim.AdamW, tensors: dict[str, Tensor]) -> None:
    """Puts what `optimizer_tensors` gave back, bit for bit."""
    for name, parameter in model.named_parameters():
        prefix = f"{name}."
        state = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        state = {key: value for key, value in state.items() if "." not in key}
        if state:
            optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in state.items()}
