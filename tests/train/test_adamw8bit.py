"""AdamW with 8-bit moments: against a slow step by the definition, and against AdamW where nothing is rounded."""

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from torch import Tensor, nn  # noqa: E402

from stategpt.config.optimizers import STATE_BLOCK as BLOCK  # noqa: E402
from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.ops.dynamic_8bit import dynamic_values, nearest_codes  # noqa: E402
from stategpt.train import adamw8bit  # noqa: E402
from stategpt.train.adamw8bit import AdamW8bit  # noqa: E402

SETTINGS = {"lr": 0.02, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1}


def _rounded(moment: Tensor, signed: bool) -> Tensor:
    """Each block to its nearest values, one block after the other."""
    blocks = []
    for block in moment.split(BLOCK):
        largest = block.abs().max()
        codes = nearest_codes(block / (largest if largest > 0 else 1.0), signed)
        blocks.append(dynamic_values(signed)[codes.long()] * largest)
    return torch.cat(blocks)


def _reference(weight: Tensor, gradients: list[Tensor]) -> Tensor:
    """AdamW by its formulas, the moments rounded behind every step."""
    mean = square = torch.zeros_like(weight)
    (beta1, beta2), rate = SETTINGS["betas"], SETTINGS["lr"]  # type: ignore[misc]
    for number, gradient in enumerate(gradients, 1):
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        weight = weight * (1 - rate * SETTINGS["weight_decay"])  # type: ignore[operator]
        corrected = (mean / (1 - beta1**number)) / (
            (square / (1 - beta2**number)).sqrt() + SETTINGS["eps"]  # type: ignore[operator]
        )
        weight = weight - rate * corrected  # type: ignore[operator]
        mean, square = _rounded(mean, True), _rounded(square, False)
    return weight


def _gradients(shape: tuple[int, ...], steps: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    scale = torch.rand(shape, generator=generator) ** 6  # over several decades
    return [torch.randn(shape, generator=generator) * scale for _ in range(steps)]


def _trained(optimizer_class: type[torch.optim.Optimizer], start: Tensor, gradients: list[Tensor]) -> Tensor:
    parameter = nn.Parameter(start.clone())
    optimizer = optimizer_class([parameter], **SETTINGS)
    for gradient in gradients:
        parameter.grad = gradient.to(parameter.dtype)
        optimizer.step()
    return parameter.detach()


def test_steps_are_those_of_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor of several parts, whose last block is not full."""
    monkeypatch.setattr(adamw8bit, "PART", 5 * BLOCK)
    gradients = _gradients((4096 + 100,), 6)
    start = torch.randn(4096 + 100, generator=torch.Generator().manual_seed(1))
    found, expected = _trained(AdamW8bit, start, gradients), _reference(start, gradients)
    # An ulp before rounding moves a moment by one code now and then: that far apart a few weights may be.
    assert (found - expected).abs().quantile(0.995) < 1e-6
    assert (found - expected).abs().max() < SETTINGS["lr"]  # type: ignore[operator]


def test_a_small_tensor_is_stepped_as_adamw_does() -> None:
    gradients = _gradients((4095,), 5)
    start = torch.randn(4095, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        _trained(AdamW8bit, start, gradients), _trained(torch.optim.AdamW, start, gradients), rtol=1e-5, atol=1e-6
    )


def test_a_large_one_stays_near_adamw() -> None:
    """Where a block's gradients are of one size; beside an outlier small moments lose their digits."""
    generator = torch.Generator().manual_seed(4)
    gradients = [torch.randn(64, 128, generator=generator) + 0.5 for _ in range(20)]
    start = torch.zeros(64, 128)
    found, expected = (_trained(kind, start, gradients) for kind in (AdamW8bit, torch.optim.AdamW))
    assert (found - expected).norm() < 0.05 * expected.norm()


def test_weights_of_16_bits_are_rounded_once() -> None:
    gradients = _gradients((64, 64), 1)
    start = torch.randn(64, 64, generator=torch.Generator().manual_seed(1)).bfloat16()
    gradients = [gradient.bfloat16().float() for gradient in gradients]
    found = _trained(AdamW8bit, start, gradients)
    assert torch.equal(found, _trained(AdamW8bit, start.float(), gradients).bfloat16())


def test_the_state_takes_two_bytes_a_weight() -> None:
    parameter = nn.Parameter(torch.zeros(256, 256))
    parameter.grad = torch.ones(256, 256)
    optimizer = AdamW8bit([parameter], **SETTINGS)  # type: ignore[arg-type]
    optimizer.step()
    taken = sum(value.nbytes for value in optimizer.state[parameter].values())
    assert taken == 2 * (256 * 256 + 4 * 256) + 4


def test_a_closure_is_refused() -> None:
    optimizer = AdamW8bit([nn.Parameter(torch.zeros(1))])
    with pytest.raises(InvalidArgument, match="takes no closure"):
        optimizer.step(lambda: 0.0)
