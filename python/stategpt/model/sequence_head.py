"""A GPT with one linear head in the place of next-token prediction: what a reward model and a classifier share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stategpt.arguments import instance
from stategpt.ops import TensorLayout

from .gpt import GPT
from .joined import is_plain
from .parameter_groups import ParameterGroup, parameter_groups


class SequenceModel(nn.Module):
    """Reads `outputs` numbers at chosen positions; starts from the weights of `gpt`, which it takes over.

    The head starts with standard deviation 1 / sqrt(width + 1) and has no bias (Stiennon et al. 2020, arXiv
    2009.01325). Train it with `torch.optim.AdamW(model.parameter_groups(lr=..., weight_decay=...))`, as the GPT.
    """

    def __init__(self, gpt: GPT, outputs: int) -> None:
        super().__init__()
        instance("gpt", gpt, GPT, f"As in sg.{type(self).__name__}(sg.GPT.from_pretrained(folder)).")
        if gpt.lm_head is not None:
            gpt.lm_head = None  # predicts nothing here; kept, it would be saved and decayed for no use
        self.gpt = gpt
        self.head = nn.Linear(gpt.config.width, outputs, bias=False)
        nn.init.normal_(self.head.weight, std=(gpt.config.width + 1) ** -0.5)
        self.head.to(gpt.device)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.gpt.device

    def parameter_groups(self, lr: float, weight_decay: float) -> list[ParameterGroup]:
        """Parameter groups for an optimizer, instead of `parameters()`; see `GPT.parameter_groups`."""
        return parameter_groups(self, lr, weight_decay)

    def learning_rate_scales(self) -> dict[str, float]:
        """Factor on the head's learning rate; those inside `gpt` are its own.

        The head reads the output of the last norm, which in a tied model is 1/s of the usual size, s = sqrt(width): its
        rate is s times the others'.
        """
        scale = self.gpt.rate_scale
        return {} if scale == 1.0 else {"head.weight": scale}

    def outputs(self, tokens_N: Tensor, layout: TensorLayout, index_S: Tensor) -> Tensor:
        """Computes the head's C outputs at the positions `index_S` of S sequences. -> float32[S, C]."""
        hidden_SW = self.gpt.hidden(tokens_N, layout)[index_S]
        # In float32 also under autocast: bfloat16 has 3 digits and would make ties.
        with torch.autocast(hidden_SW.device.type, enabled=False):
            if is_plain(self.head, nn.Linear):
                return F.linear(hidden_SW.float(), self.head.weight.float())
            return self.head(hidden_SW.float()).float()  # type: ignore[no-any-return]
