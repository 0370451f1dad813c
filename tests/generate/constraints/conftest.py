"""An engine for outputs under constraints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stategpt.generate import Engine


@pytest.fixture(scope="module")
def engine() -> Engine:
    """Random weights, a tokenizer with one end of text, and rows of padding behind its ids."""
    torch = pytest.importorskip("torch")
    import stategpt as sg
    from constrained import PADDING, plain_tokenizer
    from stategpt.model import GPT, SpecialIds

    tok = plain_tokenizer()
    shape = sg.GPTConfig(
        vocab_size=tok.vocab_size + PADDING, depth=2, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=64,
        context_tokens=256,
    )  # fmt: skip
    torch.manual_seed(3)
    end = tok.special_tokens["<|endoftext|>"]
    return sg.Engine(GPT(shape, SpecialIds(bos=None, eos=(end,), pad=None)).eval(), tok)
