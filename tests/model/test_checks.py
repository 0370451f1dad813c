"""What a model is called with: clear errors in place of torch's."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="a model needs torch")

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.errors import InvalidArgument, UnknownToken  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.ops import TensorLayout, attention  # noqa: E402
from stategpt.packing import Layout  # noqa: E402

TOKENS = 8
LAYOUT = Layout.packed([[TOKENS]], TOKENS)


@pytest.fixture(scope="module")
def model() -> GPT:
    shape = GPTConfig(vocab_size=300, depth=1, width=16, heads=2, kv_heads=1, head_dim=8, mlp_width=16)
    return GPT(shape).eval()


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (np.arange(TOKENS), r"tokens_N is of type ndarray; .*torch\.from_numpy"),
        (torch.arange(TOKENS).view(2, 4), r"tokens_N has the shape \[2, 4\]; .*tokens\.view\(-1\)"),
        (torch.arange(TOKENS).float(), r"tokens_N is torch\.float32; ids are int64"),
        (torch.arange(TOKENS).to(torch.uint32), r"tokens_N is torch\.uint32; ids are int64"),
        (torch.arange(TOKENS - 1), r"tokens_N has 7 tokens, the layout describes 8"),
    ],
)
def test_what_is_no_stream_of_ids_is_refused(model: GPT, tokens: object, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        model(tokens, TensorLayout.of(LAYOUT))


def test_a_batchs_own_layout_is_refused_with_the_call_that_makes_it_tensors(model: GPT) -> None:
    with pytest.raises(InvalidArgument, match=r"layout is of type Layout; .*TensorLayout\.of\(batch\.layout, "):
        model(torch.arange(TOKENS), LAYOUT)
    q = torch.zeros(TOKENS, 1, 8)
    with pytest.raises(InvalidArgument, match=r"layout is of type Layout; .*TensorLayout\.of\(batch\.layout, "):
        attention(q, q, q, LAYOUT)
    with pytest.raises(InvalidArgument, match="q is of type ndarray"):
        attention(np.zeros((TOKENS, 1, 8)), q, q, TensorLayout.of(LAYOUT))
    with pytest.raises(InvalidArgument, match=r"layout is of type ndarray; it must be a stategpt\.data\.Layout"):
        TensorLayout.of(np.zeros(3))


def test_ids_of_both_widths_are_taken_and_an_unknown_one_is_named(model: GPT) -> None:
    layout = TensorLayout.of(LAYOUT)
    with torch.no_grad():
        wide, narrow = (model(torch.arange(TOKENS).to(kind), layout) for kind in (torch.int64, torch.int32))
    assert torch.equal(wide, narrow)
    tokens = torch.arange(TOKENS)
    tokens[3] = 300
    with pytest.raises(UnknownToken, match=r"the stream holds id 300, the model knows ids of 0 \.\. 299"):
        model(tokens, layout)


@pytest.mark.parametrize("config", [{"depth": 3}, "tiny_cpu", None, 3])
def test_a_model_is_made_from_a_config_only(config: object) -> None:
    with pytest.raises(
        InvalidArgument, match=r"config is of type .*; it must be GPTConfig\. .*sg\.GPTConfig\(depth=3\)"
    ):
        GPT(config)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="it must be GPT"):
        RewardModel(config)  # type: ignore[arg-type]
