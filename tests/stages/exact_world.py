"""A world small enough to enumerate: every sequence of actions up to a length, so every expectation is a sum.

An action is one of `ACTIONS` ids or the end of text; a sequence stops at the end of text or at `LENGTH`. The optimum of
    J(pi) = E_pi[r] - beta KL(pi || pi_ref)
is pi*(y) = pi_ref(y) exp(r(y) / beta) / Z with J(pi*) = beta log Z (Korbak et al. 2022, arXiv 2205.11275).
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor


def sequences(actions: Sequence[int], end: int, length: int) -> list[tuple[int, ...]]:
    """Every sequence that sampling can produce, each once."""
    whole = []
    for size in range(1, length + 1):
        for head in itertools.product(actions, repeat=size - 1):
            whole.append((*head, end))
            if size == length:
                whole += [(*head, last) for last in actions]
    return whole


class TabularPolicy(torch.nn.Module):
    """Free logits for the next action after every prefix: it can represent every distribution over the sequences."""

    def __init__(self, actions: Sequence[int], end: int, length: int, spread: float, seed: int) -> None:
        super().__init__()
        self.columns = {action: column for column, action in enumerate([*actions, end])}
        prefixes = [p for size in range(length) for p in itertools.product(actions, repeat=size)]
        self.rows = {prefix: row for row, prefix in enumerate(prefixes)}
        generator = torch.Generator().manual_seed(seed)
        start = spread * torch.randn(len(prefixes), len(self.columns), generator=generator, dtype=torch.float64)
        self.logits = torch.nn.Parameter(start)

    def token_log_probs(self, sequence: Sequence[int]) -> Tensor:
        """Log-probability of each action of `sequence`."""
        log_probs = torch.log_softmax(self.logits, dim=1)
        rows = [self.rows[tuple(sequence[:i])] for i in range(len(sequence))]
        return log_probs[rows, [self.columns[action] for action in sequence]]


def objective(log_probs: Tensor, reference: Tensor, rewards: Tensor, beta: float) -> Tensor:
    """J from the log-probabilities of all sequences: differentiable, exact."""
    probabilities = log_probs.exp()
    return (probabilities * (rewards - beta * (log_probs - reference))).sum()


def optimum(reference: Tensor, rewards: Tensor, beta: float) -> float:
    """beta log Z."""
    return float(beta * torch.logsumexp(reference + rewards / beta, dim=0))
