"""Log-probabilities of completions: the same in rows and behind a shared prompt, whole and in chunks of rows."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.model.policy import CompletionBatch, completion_log_probs  # noqa: E402

VOCABULARY, PAD = 997, 1
TINY = GPTConfig(vocab_size=VOCABULARY, depth=2, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=48)


def _batch(shared: bool) -> CompletionBatch:
    generator = np.random.default_rng(0)

    def ids(length: int) -> np.ndarray:
        return generator.integers(0, VOCABULARY, length).astype(np.uint32)

    prompts = [ids(9 + 5 * group) for group in range(3)]
    samples = [(prompt, ids(length)) for prompt in prompts for length in (1, 6, 3, 4)]
    repeated, completions = zip(*samples, strict=True)
    return CompletionBatch.of(repeated, completions, PAD, torch.device("cpu"), TINY.width if shared else None)


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    gpt = GPT(TINY)
    with torch.no_grad():
        gpt.embed_tokens.weight.mul_(3)
    return gpt


def _gradients(model: GPT, batch: CompletionBatch, max_rows: int | None = None) -> list[torch.Tensor]:
    log_probs, entropy = completion_log_probs(model, batch, 0.7, [2, 3], max_rows)
    weights = torch.linspace(-1, 1, len(log_probs))
    gradients = torch.autograd.grad((weights * log_probs).sum(), list(model.parameters()))
    return [log_probs.detach(), entropy, *gradients]


def test_a_shared_prompt_gives_the_log_probabilities_of_rows(model: GPT) -> None:
    rows, shared = _batch(shared=False), _batch(shared=True)
    assert shared.tokens_N.numel() < 0.7 * rows.tokens_N.numel(), "here it pays"
    assert shared.ids_M.tolist() == rows.ids_M.tolist()
    for found, expected in zip(_gradients(model, shared), _gradients(model, rows), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("max_rows", [1, 5, 41])
def test_chunks_of_rows_give_what_the_whole_gives(model: GPT, max_rows: int) -> None:
    batch = _batch(shared=False)
    whole = _gradients(model, batch, 10**6)
    assert len(whole[0]) == 42
    for found, expected in zip(_gradients(model, batch, max_rows), whole, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


class _Largest(TorchDispatchMode):
    """Rows of the largest tensor over the vocabulary that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, torch.Tensor) and tensor.ndim == 2 and tensor.shape[1] == VOCABULARY:
                self.rows = max(self.rows, len(tensor) if len(tensor) != TINY.width else 0)  # the weights, transposed
        return made


@pytest.mark.parametrize(("max_rows", "expected"), [(5, 5), (14, 14), (10**6, 42)])
def test_memory_is_bounded_by_the_chunk_forward_and_backward(model: GPT, max_rows: int, expected: int) -> None:
    saved: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim == 2 and tensor.shape[1] == VOCABULARY:
            saved.append(len(tensor))
        return tensor

    batch = _batch(shared=False)
    with _Largest() as largest, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        log_probs, _ = completion_log_probs(model, batch, 0.7, [2, 3], max_rows)
        if expected < 42:
            assert not saved, "no logits wait for the backward pass"
        log_probs.sum().backward()
    model.zero_grad()
    assert largest.rows == expected


def test_a_frozen_head_leaves_the_gradients_of_the_rest(model: GPT) -> None:
    """By chunks too; temperature and ids left out are those of the sampler (a float64 reference)."""
    torch.manual_seed(1)
    untied = GPT(replace(TINY, tied_embeddings=False))
    assert untied.lm_head is not None
    untied.lm_head.requires_grad_(False)
    batch = _batch(shared=False)
    found, _ = completion_log_probs(untied, batch, 0.7, [2, 3], 5)
    found.sum().backward()
    assert untied.lm_head.weight.grad is None
    hidden = untied.hidden(batch.tokens_N, batch.layout)[batch.index_M].detach().double().requires_grad_()
    logits = hidden @ untied.lm_head.weight.double().T / 0.7
    logits[:, [2, 3]] = -torch.inf
    expected = logits.log_softmax(-1).gather(1, batch.ids_M[:, None])[:, 0]
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    again = untied.hidden(batch.tokens_N, batch.layout)[batch.index_M]
    gradient = torch.autograd.grad(expected.sum(), hidden)[0].float()
    reference = torch.autograd.grad(again, untied.norm.weight, gradient)[0]
    torch.testing.assert_close(untied.norm.weight.grad, reference, atol=1e-4, rtol=1e-4)
