"""The guard of `rl.max_kl`: ends the stage with the last policy whose KL to the SFT model was within the limit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stategpt.model.parameter_groups import trained_parameters


class KLLimit:
    """Keeps a copy of the trained weights of the last step within the limit, restores it beyond; 0: no limit."""

    def __init__(self, policy: nn.Module, max_kl: float) -> None:
        self.policy, self.max_kl = policy, max_kl
        self.weights: dict[str, Tensor] = (
            {name: parameter.detach().clone() for name, parameter in trained_parameters(policy)} if max_kl > 0 else {}
        )
        """The copy; a checkpoint saves it, since a resumed run may have to restore it."""
        self.reason = ""
        """Why the stage ends; "" while the KL is within the limit."""

    @torch.no_grad()
    def holds(self, kl_nats: float) -> bool:
        """Whether `kl_nats`, the mean KL per completion of the policy's samples, is within the limit.

        Within it the policy's weights are copied; beyond it the copy replaces them.
        """
        if self.max_kl <= 0:
            return True
        beyond = kl_nats > self.max_kl
        for name, parameter in trained_parameters(self.policy):
            (parameter if beyond else self.weights[name]).copy_(self.weights[name] if beyond else parameter)
        if beyond:
            self.reason = (
                f"mean KL to the model that RL began as is {kl_nats:.1f} nats per completion, above rl.max_kl = "
                f"{self.max_kl:g}; the policy is that of the step before. To train on, raise rl.beta or lower "
                "rl.optim.learning_rate"
            )
        return not beyond
