"""Gradients under torch.compile: every loss that the stages train on gives what it gives uncompiled."""

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from torch import Tensor, nn  # noqa: E402

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.model import GPT, RewardModel, autocast  # noqa: E402
from stategpt.model.policy import CompletionBatch, completion_log_probs  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402
from stategpt.train.losses import next_token_loss, policy_gradient_loss, ranking_loss  # noqa: E402

TINY = GPTConfig(vocab_size=31, depth=2, width=16, heads=4, kv_heads=2, head_dim=4, mlp_width=24)
PACKED = TensorLayout.of(Layout.packed([[7, 9], [5, 4, 7]], 16))
IDS = torch.arange(32).remainder(31)
SAMPLED = CompletionBatch.of(
    [IDS[:5].numpy(), IDS[5:8].numpy()], [IDS[8:12].numpy(), IDS[12:14].numpy()], 1, torch.device("cpu")
)


def logits_of_every_token(model: GPT) -> Tensor:
    return next_token_loss(model(IDS, PACKED), IDS)


def logits_of_some_tokens(model: GPT) -> Tensor:
    index = torch.tensor([2, 5, 20, 31])
    return next_token_loss(model.unembed(model.hidden(IDS, PACKED)[index]), IDS[index])


def ranked_completions(model: RewardModel) -> Tensor:
    scores = model.scores(IDS, PACKED, torch.tensor([6, 15, 31]))
    return ranking_loss(scores, torch.tensor([[0, 1], [2, 1]]), torch.tensor([0.5, 0.5]))


def sampled_completions(model: GPT) -> Tensor:
    log_probs, _ = completion_log_probs(model, SAMPLED, 0.7, [0, 3])
    return policy_gradient_loss(log_probs, log_probs.detach() - 0.1, torch.tensor([1.0, 1.0, 1.0, 1.0, -0.5, -0.5]))


def gradients(model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> dict[str, Tensor]:
    model.zero_grad()
    loss(model).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize(
    ("compiler", "precision", "tolerance"),
    [("eager", "float32", 1e-5), ("aot_eager", "float32", 1e-5), ("eager", "bfloat16", 0.05)],
)
@pytest.mark.parametrize(
    "loss", [logits_of_every_token, logits_of_some_tokens, ranked_completions, sampled_completions]
)
def test_compiled_gradients_are_those_uncompiled(loss, compiler, precision, tolerance):
    torch.manual_seed(0)
    model = RewardModel(GPT(TINY)) if loss is ranked_completions else GPT(TINY)

    def under_autocast(model: nn.Module) -> Tensor:
        with autocast(precision, torch.device("cpu")):
            return loss(model)

    torch._dynamo.reset()
    expected = gradients(model, under_autocast)
    found = gradients(model, torch.compile(under_autocast, backend=compiler))
    for name, gradient in expected.items():
        assert bool(gradient.any()), f"nothing here trains {name}"
        assert (found[name] - gradient).norm() <= tolerance * gradient.norm(), name
