"""Formulas of cost, against numbers worked out by hand."""

from stategpt.config import GPTConfig
from stategpt.config.cost import (
    cache_bytes_per_token,
    forward_flops_per_token,
    multiplying_parameters,
    training_flops_per_token,
)

TINY = GPTConfig()


def test_training_is_six_n_plus_attention() -> None:
    # 6 x 1,967,616 (all weights but the last norm) + 12 x 3 blocks x 192 x 128 tokens
    assert multiplying_parameters(TINY) == 1_967_616
    assert training_flops_per_token(TINY, 128) == 6 * 1_967_616 + 12 * 3 * 192 * 128


def test_reading_costs_a_third_of_training() -> None:
    assert 3 * forward_flops_per_token(TINY, 512) == training_flops_per_token(TINY, 512)


def test_look_ups_of_an_untied_embedding_are_free() -> None:
    untied = GPTConfig(tied_embeddings=False)
    assert untied.parameters - TINY.parameters == 4096 * 192
    assert training_flops_per_token(untied, 128) == training_flops_per_token(TINY, 128)


def test_bytes_per_token() -> None:
    assert cache_bytes_per_token(TINY) == 8 * 3 * 64
