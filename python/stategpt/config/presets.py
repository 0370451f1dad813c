"""The two tables of the talk, plannable: GPT-3's eight sizes and LLaMA's four.

GPT-3: arXiv 2005.14165, table 2.1. LLaMA: arXiv 2302.13971, table 2; the width inside its MLP is that of the published
checkpoints. They are shapes to reckon with; `stategpt` does not train them on a laptop.

>>> plan_preset(PRESETS["llama-65b"]).tokens_per_parameter > 12 * plan_preset(PRESETS["gpt3-175b"]).tokens_per_parameter
True
"""

from __future__ import annotations

from dataclasses import dataclass

from stategpt.config.checks import require
from stategpt.shown_fields import documented

SIZE_IS_NOT_POWER = (
    "Size is not power: LLaMA-65B, trained on 21 tokens per parameter, is the stronger model; "
    "GPT-3 175B, nearly three times its size, saw 1.7."
)
"""What the two tables show together."""


@dataclass(frozen=True)
class Preset:
    """One row of a published table.

    Attributes:
        name: how the command line calls it.
        published_parameters: the count the paper prints, rounded as it prints it.
        depth: blocks.
        width: numbers that carry one token between blocks.
        heads: attention heads.
        batch_tokens: tokens per optimizer step.
        learning_rate: highest learning rate.
        tokens: training tokens.
        vocab_size: tokens in the vocabulary.
        mlp_width: numbers inside the MLP.
        gated: the MLP has a third, gating matrix (SwiGLU) and no biases exist.
        learned_positions: rows of a learned position embedding; 0 = rotary.
        tied: embedding and prediction share one matrix.
        context_tokens: sequence length in training.
        source: where the row stands.
    """

    name: str
    published_parameters: float
    depth: int
    width: int
    heads: int
    batch_tokens: float
    learning_rate: float
    tokens: float
    vocab_size: int
    mlp_width: int
    gated: bool
    learned_positions: int
    tied: bool
    context_tokens: int
    source: str

    @property
    def embedding_parameters(self) -> int:
        """Weights of token and position embeddings and of an untied prediction."""
        tokens = self.vocab_size * (1 if self.tied else 2)
        return self.width * (tokens + self.learned_positions)

    @property
    def parameters(self) -> int:
        """Every weight, from the shape. Attention is D x D: GPT-3 1.3B's printed heads do not give its printed size."""
        matrices = 4 * self.width**2 + (3 if self.gated else 2) * self.width * self.mlp_width
        # GPT-3's blocks have two layer norms (4 D) and biases (5 D + H); LLaMA's have two RMS norms.
        vectors = 2 * self.width if self.gated else 9 * self.width + self.mlp_width
        last_norm = self.width if self.gated else 2 * self.width
        return self.embedding_parameters + self.depth * (matrices + vectors) + last_norm

    @property
    def training_flops_per_token(self) -> float:
        """6N + 12·L·D·T, N without the embedding's look-ups (arXiv 2204.02311, appendix B)."""
        multiplying = self.parameters - self.embedding_parameters + self.vocab_size * self.width
        return float(6 * multiplying + 12 * self.depth * self.width * self.context_tokens)


@documented
@dataclass(frozen=True)
class Hardware:
    """Assumptions for the GPU-hours.

    Raises:
        ConfigError: a peak outside [1, 1e24], or a utilization outside [1e-6, 1].
    """

    device: str = "A100"
    """Name of the device, printed next to the value."""
    peak_flops_per_s: float = 312e12
    """Dense bfloat16 peak of one device."""
    utilization: float = 0.5
    """Share of the peak that training sustains; LLaMA-65B's published GPU-hours correspond to 0.50."""

    def __post_init__(self) -> None:
        peak, share = self.peak_flops_per_s, self.utilization
        require(1 <= peak <= 1e24, "hardware.peak_flops_per_s", peak, "must lie between 1 and 1e24")
        require(0 < share <= 1, "hardware.utilization", share, "must be in (0, 1]")
        require(share >= 1e-6, "hardware.utilization", share, "must be at least 1e-6")


@dataclass(frozen=True)
class PresetPlan:
    """A preset in numbers.

    Attributes:
        preset: the row that was planned.
        hardware: what the hours are reckoned with.
        parameters: every weight.
        tokens_per_parameter: training tokens over parameters.
        steps: optimizer steps.
        flops: floating-point operations of the training.
        gpu_hours: flops over sustained rate, in hours of one device.
    """

    preset: Preset
    hardware: Hardware
    parameters: int
    tokens_per_parameter: float
    steps: int
    flops: float
    gpu_hours: float


def plan_preset(preset: Preset, hardware: Hardware | None = None) -> PresetPlan:
    """Parameters, FLOPs and GPU-hours of a published model's pretraining."""
    machine = hardware or Hardware()
    flops = preset.training_flops_per_token * preset.tokens
    return PresetPlan(
        preset=preset,
        hardware=machine,
        parameters=preset.parameters,
        tokens_per_parameter=preset.tokens / preset.parameters,
        steps=round(preset.tokens / preset.batch_tokens),
        flops=flops,
        gpu_hours=flops / (machine.peak_flops_per_s * machine.utilization) / 3600,
    )


def _gpt3(size: str, published: float, depth: int, width: int, heads: int, batch: float, rate: float) -> Preset:
    return Preset(
        name=f"gpt3-{size}",
        published_parameters=published,
        depth=depth,
        width=width,
        heads=heads,
        batch_tokens=batch,
        learning_rate=rate,
        tokens=300e9,
        vocab_size=50_257,
        mlp_width=4 * width,
        gated=False,
        learned_positions=2048,
        tied=True,
        context_tokens=2048,
        source="arXiv 2005.14165, table 2.1",
    )


def _llama(
    size: str, published: float, depth: int, width: int, heads: int, hidden: int, rate: float, tokens: float
) -> Preset:
    return Preset(
        name=f"llama-{size}",
        published_parameters=published,
        depth=depth,
        width=width,
        heads=heads,
        batch_tokens=4e6,
        learning_rate=rate,
        tokens=tokens,
        vocab_size=32_000,
        mlp_width=hidden,
        gated=True,
        learned_positions=0,
        tied=False,
        context_tokens=2048,
        source="arXiv 2302.13971, table 2",
    )


_ROWS = (
    _gpt3("125m", 125e6, 12, 768, 12, 0.5e6, 6.0e-4),
    _gpt3("350m", 350e6, 24, 1024, 16, 0.5e6, 3.0e-4),
    _gpt3("760m", 760e6, 24, 1536, 16, 0.5e6, 2.5e-4),
    _gpt3("1.3b", 1.3e9, 24, 2048, 24, 1e6, 2.0e-4),
    _gpt3("2.7b", 2.7e9, 32, 2560, 32, 1e6, 1.6e-4),
    _gpt3("6.7b", 6.7e9, 32, 4096, 32, 2e6, 1.2e-4),
    _gpt3("13b", 13.0e9, 40, 5140, 40, 2e6, 1.0e-4),
    _gpt3("175b", 175.0e9, 96, 12_288, 96, 3.2e6, 0.6e-4),
    _llama("7b", 6.7e9, 32, 4096, 32, 11_008, 3.0e-4, 1.0e12),
    _llama("13b", 13.0e9, 40, 5120, 40, 13_824, 3.0e-4, 1.0e12),
    _llama("33b", 32.5e9, 60, 6656, 52, 17_920, 1.5e-4, 1.4e12),
    _llama("65b", 65.2e9, 80, 8192, 64, 22_016, 1.5e-4, 1.4e12),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _ROWS}
"""Every row of both tables by name."""
