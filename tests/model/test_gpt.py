"""The GPT by itself: layouts, cached decoding, refusals. That it is Qwen3 is tested in test_transformers.py."""

from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
import torch.nn.functional as F  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from paged_decoding import Decoding  # noqa: E402
from stategpt.config import GPTConfig  # noqa: E402
from stategpt.errors import ContextOverflow  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.ops import TensorLayout, attention  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402

SHAPE = GPTConfig(vocab_size=61, depth=2, width=24, heads=4, kv_heads=2, head_dim=8, mlp_width=40, context_tokens=32)


def gpt(config: GPTConfig = SHAPE, seed: int = 0) -> GPT:
    torch.manual_seed(seed)
    return GPT(config)


def random_ids(count: int, seed: int = 0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, SHAPE.vocab_size, count))


def causal(tokens: int) -> TensorLayout:
    return TensorLayout.of(Layout.packed([[tokens]], tokens))


def test_parameter_count_is_what_the_config_says():
    for tied in (True, False):
        config = GPTConfig(vocab_size=61, depth=2, width=24, heads=4, kv_heads=2, head_dim=8, tied_embeddings=tied)
        assert gpt(config).parameter_count == config.parameters


def test_the_default_model_has_about_two_million_parameters():
    assert gpt(GPTConfig()).parameter_count == 1_967_808


@pytest.fixture(params=["auto", "triton", "blockwise"])
def attention_backend(request, monkeypatch, require_backend) -> None:
    """The model's attention by each implementation."""
    require_backend(request.param)
    monkeypatch.setattr("stategpt.model.gpt.attention", partial(attention, backend=request.param))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.integers(0, 4), st.integers(0, 99))
def test_any_packed_row_gives_the_logits_of_its_documents_alone(lengths: list[int], padding: int, seed: int):
    model, row_tokens = gpt(), sum(lengths) + padding
    tokens = random_ids(row_tokens, seed)
    packed = model(tokens, TensorLayout.of(Layout.packed([lengths], row_tokens)))
    for number, length in enumerate(lengths):
        start = sum(lengths[:number])
        alone = model(tokens[start : start + length], causal(length))
        torch.testing.assert_close(packed[start : start + length], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("attention_backend")
def test_a_packed_row_gives_the_logits_of_its_documents_alone():
    model, lengths = gpt(), [7, 1, 12, 4]
    tokens = random_ids(32)
    packed = model(tokens, TensorLayout.of(Layout.packed([lengths], 32)))
    start = 0
    for length in lengths:
        alone = model(tokens[start : start + length], causal(length))
        torch.testing.assert_close(packed[start : start + length], alone, rtol=1e-5, atol=1e-5)
        start += length


def test_a_packed_rows_loss_is_the_mean_over_its_documents_tokens():
    model, lengths = gpt(), [7, 12, 5]
    tokens, targets = random_ids(24), random_ids(24, seed=1)
    packed = F.cross_entropy(model(tokens, TensorLayout.of(Layout.packed([lengths], 24))), targets)
    parts = [
        F.cross_entropy(model(ids, causal(len(ids))), expected, reduction="sum")
        for ids, expected in zip(tokens.split(lengths), targets.split(lengths), strict=True)
    ]
    assert float(packed.detach()) == pytest.approx(float(sum(parts).detach()) / 24, abs=1e-5)


@pytest.mark.usefixtures("attention_backend")
def test_a_shared_prompt_gives_each_completion_the_logits_of_its_own_sequence():
    model = gpt()
    prompt, first, second = random_ids(6), random_ids(5, 1), random_ids(4, 2)
    stream = torch.cat([prompt, first, second, torch.zeros(1, dtype=torch.int64)])
    shared = model(stream, TensorLayout.of(Layout.shared_prefix([6], [[5, 4]], 16)))
    for completion, start in ((first, 6), (second, 11)):
        whole = model(torch.cat([prompt, completion]), causal(6 + len(completion)))
        torch.testing.assert_close(shared[start : start + len(completion)], whole[6:], rtol=1e-5, atol=1e-5)


def test_gradients_of_a_packed_row_are_the_sum_of_its_documents_gradients():
    tokens, targets, lengths = random_ids(20), random_ids(20, seed=1), [8, 12]
    packed, apart = gpt().double(), gpt().double()
    F.cross_entropy(packed(tokens, TensorLayout.of(Layout.packed([lengths], 20))), targets, reduction="sum").backward()
    for ids, expected in zip(tokens.split(lengths), targets.split(lengths), strict=True):
        F.cross_entropy(apart(ids, causal(len(ids))), expected, reduction="sum").backward()
    for ours, theirs in zip(packed.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)  # logits are cast to float32


def test_logits_are_float32_and_made_only_where_asked_for():
    model = gpt()
    hidden = model.hidden(random_ids(8), causal(8))
    chosen = torch.tensor([3, 6])
    logits = model.unembed(hidden[chosen])
    assert logits.shape == (2, SHAPE.vocab_size)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, model(random_ids(8), causal(8))[chosen])


@pytest.mark.parametrize("pieces", [[10], [1] * 10, [4, 1, 1, 4], [1, 9]], ids=str)
def test_decoding_through_the_cache_equals_the_full_forward(pieces):
    model = gpt().eval()
    rows = torch.stack([random_ids(10), random_ids(10, 1), random_ids(10, 2)])
    decode = Decoding(model, batch=3)
    with torch.inference_mode():
        hidden = torch.cat([decode(piece) for piece in rows.split(pieces, dim=1)], dim=1)
        for row, ids in enumerate(rows):
            full = model(ids, causal(10))
            torch.testing.assert_close(model.unembed(hidden[row]), full, rtol=1e-5, atol=1e-5)


def test_rows_of_unlike_length_decode_as_if_alone():
    model, lengths = gpt().eval(), [3, 9, 6]
    rows = torch.stack([random_ids(14), random_ids(14, 1), random_ids(14, 2)])
    prompts = rows[:, :9].clone()
    for row, length in enumerate(lengths):
        prompts[row, length:] = 0  # padding on the right
    decode = Decoding(model, batch=3)
    with torch.inference_mode():
        last = decode(prompts, lengths)[torch.arange(3), torch.tensor(lengths) - 1]
        more = []
        for step in range(5):
            following = torch.stack([rows[row, length + step] for row, length in enumerate(lengths)])
            more.append(decode(following[:, None])[:, 0])
        for row, length in enumerate(lengths):
            full = model.hidden(rows[row, : length + 5], causal(length + 5))
            torch.testing.assert_close(last[row], full[length - 1], rtol=1e-5, atol=1e-5)
            for step in range(5):
                torch.testing.assert_close(more[step][row], full[length + step], rtol=1e-5, atol=1e-5)


def test_a_sequence_longer_than_the_context_is_refused():
    with pytest.raises(ContextOverflow, match="33 tokens, the context is 32"):
        gpt().hidden(random_ids(33), causal(33))


def test_one_batch_can_be_learned_by_heart():
    model, layout = gpt(), TensorLayout.of(Layout.packed([[9, 15], [24]], 24))
    tokens, targets = random_ids(48), random_ids(48, seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(150):
        loss = F.cross_entropy(model(tokens, layout), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05
