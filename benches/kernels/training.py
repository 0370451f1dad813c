"""Training steps of a GPT of the size of GPT-2's smallest, on rows of packed documents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from problems import DOCUMENT_SIGMA, MEAN_DOCUMENT_TOKENS, packed, visible_pairs
from rows import OURS, Row
from timing import Call, in_turns


@dataclass(frozen=True)
class Sizes:
    """Of model and batch."""

    vocab_size: int = 50304
    depth: int = 12
    width: int = 768
    heads: int = 12
    kv_heads: int = 12
    head_dim: int = 64
    mlp_width: int = 2048
    rows: int = 4
    row_tokens: int = 4096

    @property
    def tokens(self) -> int:
        """Of a step."""
        return self.rows * self.row_tokens


REHEARSED = Sizes(
    vocab_size=256, depth=1, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=64, rows=1, row_tokens=64
)


def row(sizes: Sizes, device: torch.device, rounds: int) -> Row:
    """Tokens a second, and the share of the operations that the model needs in 989 TFLOP/s."""
    from stategpt.config import GPTConfig
    from stategpt.model import GPT, autocast
    from stategpt.ops import TensorLayout, cross_entropy

    shape = {name: getattr(sizes, name) for name in ("vocab_size", "depth", "width", "heads", "kv_heads", "head_dim")}
    torch.manual_seed(0)
    model = GPT(GPTConfig(**shape, mlp_width=sizes.mlp_width, context_tokens=sizes.row_tokens)).to(device)
    problem = packed(sizes.rows, sizes.row_tokens, 0)
    layout = problem.layout()
    moved = TensorLayout.of(layout, device)
    ids, targets = torch.randint(sizes.vocab_size, (2, sizes.tokens), device=device)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)

    def step(_: object) -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast("bfloat16" if device.type == "cuda" else "float32", device):
            logits = model(ids, moved)
        torch.autograd.backward(cross_entropy(logits, targets) / sizes.tokens)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    millions = model.parameter_count / 1e6
    made = Row(f"training step, {millions:.0f}M parameters", f"{sizes.rows} x {sizes.row_tokens} packed", "tokens/s")
    times = in_turns({OURS: Call(step)}, device, rounds, host=True)
    made.add(times, sizes.tokens * 1e3)
    products = sum(p.numel() for p in parameters if p.ndim == 2)  # the tied embedding counts once: as the head
    attention = 12 * sizes.depth * sizes.heads * sizes.head_dim * visible_pairs(layout, None) / sizes.tokens
    rate = (6 * products + attention) * made.values[OURS] / 1e12
    made.notes = {
        OURS: f"bf16 autocast, eager, AdamW, log-normal documents (mean {MEAN_DOCUMENT_TOKENS}, "
        f"sigma {DOCUMENT_SIGMA:g}); {rate:.3g} TFLOP/s of needed operations, {rate / 989:.1%} of 989"
    }
    return made
