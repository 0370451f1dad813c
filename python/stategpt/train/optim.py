"""AdamW with decay groups (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from stategpt.config import OptimConfig
from stategpt.model import GPT, RewardModel


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


def learning_rate_scales(model: nn.Module) -> dict[str, float]:
    """Parameters whose learning rate is not the stage's: name -> factor.

    Adam moves every weight by about the learning rate, whatever its size. A tied embedding starts at std s/50 and the
    last norm at 1/s, s = sqrt(width) (`model/init.py`), so that each relative step is the others' they get s and 1/s
    times the rate. It is the same training as with an embedding of std 0.02 and its output multiplied by s. A reward
    head reads the last norm's output, which is 1/s of the usual size: its rate is s times the stage's.
    """
    scales: dict[str, float] = {}
    for prefix, module in model.named_modules():
        if isinstance(module, GPT) and module.config.tied_embeddings:
            scale = math.sqrt(module.config.width)
            dot = f"{prefix}." if prefix else ""
            scales |= {f"{dot}embed_tokens.weight": scale, f"{dot}norm.weight": 1 / scale}
        if isinstance(module, RewardModel) and module.gpt.config.tied_embeddings:
            scales["head.weight"] = math.sqrt(module.gpt.config.width)
    return scales


def adamw(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over `model` with `config`'s betas, epsilon and weight decay.

    The loop sets the learning rate of each step: that of the schedule times the group's `scale`.
    """
    decayed, scales = set(decay_groups(model)[0]), learning_rate_scales(model)
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decay = config.weight_decay if name in decayed else 0.0
        members.setdefault((decay, scales.get(name, 1.0)), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": params, "weight_decay": decay, "scale": scale} for (decay, scale), params in members.items()],
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
