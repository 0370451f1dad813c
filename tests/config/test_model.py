"""The model's shape: rules between widths, and the exact count of its weights."""

from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.config import GPTConfig
from stategpt.errors import ConfigError


def test_default_shape_is_the_default_jobs() -> None:
    model = GPTConfig()
    assert (model.depth, model.width, model.heads, model.kv_heads) == (3, 192, 3, 1)
    assert model.parameters == 1_967_808


def test_config_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        GPTConfig().depth = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kv_heads": 2}, r"model\.kv_heads = 2: must divide heads = 3"),
        ({"head_dim": 63}, r"model\.head_dim = 63: must be even"),
        ({"depth": 0}, r"model\.depth = 0: must be above 0"),
    ],
)
def test_impossible_shapes_are_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(GPTConfig(), **change)


shapes = st.builds(
    lambda depth, groups, kv, half, hidden, vocab, qk, tied, bias: GPTConfig(
        vocab_size=vocab,
        depth=depth,
        width=16,
        heads=groups * kv,
        kv_heads=kv,
        head_dim=2 * half,
        mlp_width=hidden,
        qk_norm=qk,
        tied_embeddings=tied,
        attention_bias=bias,
    ),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(1, 4),
    st.integers(1, 24),
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@given(shapes)
def test_parameters_are_the_sum_of_the_matrices_written_out(model: GPTConfig) -> None:
    query, kv = model.heads * model.head_dim, model.kv_heads * model.head_dim
    block = [(model.width, query), (model.width, kv), (model.width, kv), (query, model.width)]
    block += [(model.width, model.mlp_width)] * 2 + [(model.mlp_width, model.width)]
    block += [(model.width, 1)] * 2 + [(model.head_dim, 1)] * (2 if model.qk_norm else 0)
    block += [(query, 1), (kv, 1), (kv, 1)] if model.attention_bias else []
    tables = 1 if model.tied_embeddings else 2
    written_out = tables * model.vocab_size * model.width + model.depth * sum(a * b for a, b in block) + model.width
    assert model.parameters == written_out


def test_parameters_equal_the_real_model() -> None:
    pytest.importorskip("torch", reason="the model needs torch")
    from stategpt.model import GPT

    small = replace(GPTConfig(), vocab_size=300, width=32, heads=4, kv_heads=2, head_dim=8, mlp_width=48)
    for change in (
        {},
        {"tied_embeddings": False},
        {"qk_norm": False},
        {"qk_norm": False, "attention_bias": True},
        {"depth": 1},
    ):
        config = replace(small, **change)
        assert GPT(config).parameter_count == config.parameters, change
