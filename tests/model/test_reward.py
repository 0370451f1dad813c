"""The reward model: where it reads, what padding may do to it, and how it starts."""

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")

import numpy as np  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.model import GPT, RewardModel, autocast  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402

SHAPE = GPTConfig(vocab_size=31, depth=2, width=16, heads=4, kv_heads=2, head_dim=8, mlp_width=24, context_tokens=32)


def reward_model(width: int = 16) -> RewardModel:
    torch.manual_seed(0)
    return RewardModel(GPT(GPTConfig(**{**SHAPE.__dict__, "width": width})))


def padded(lengths: list[int], row_tokens: int):
    layout = TensorLayout.of(Layout.padded(lengths, row_tokens))
    return layout, torch.tensor([row * row_tokens + length - 1 for row, length in enumerate(lengths)])


def test_the_score_is_read_at_the_index_given():
    model, tokens = reward_model(), torch.arange(12)
    layout, index = padded([12], 12)
    hidden = model.gpt.hidden(tokens, layout)
    for place in (3, 11):
        expected = hidden[place] @ model.head.weight[0]
        torch.testing.assert_close(model.scores(tokens, layout, torch.tensor([place]))[0], expected)
    assert model.scores(tokens, layout, index).shape == (1,)


def test_padding_does_not_change_a_score():
    model, tokens = reward_model(), torch.arange(2, 9)
    alone = model.scores(tokens, *padded([7], 7))
    for filler in (0, 1, 30):
        row = torch.cat([tokens, torch.full((5,), filler)])
        torch.testing.assert_close(model.scores(row, *padded([7], 12)), alone, rtol=1e-5, atol=1e-6)


def test_scores_in_a_batch_are_those_alone():
    model, lengths = reward_model(), [5, 12, 9]
    tokens = torch.arange(36) % 31
    together = model.scores(tokens, *padded(lengths, 12))
    for row, length in enumerate(lengths):
        alone = model.scores(tokens[row * 12 : row * 12 + length], *padded([length], length))
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-5, atol=1e-6)


groups = st.lists(
    st.tuples(st.integers(1, 6), st.lists(st.integers(1, 5), min_size=1, max_size=4)), min_size=1, max_size=3
)


@settings(max_examples=25, deadline=None)
@given(groups, st.integers(0, 9), st.integers(0, 99))
def test_both_arrangements_of_any_groups_give_the_same_scores(
    groups: list[tuple[int, list[int]]], padding: int, seed: int
):
    """Prompts stored once in rows of all their completions, and every completion in a row with its prompt."""
    model, random = reward_model(), np.random.default_rng(seed)
    row_tokens = max(prompt + sum(completions) for prompt, completions in groups) + padding
    stream, shared_index, alone, alone_index = [], [], [], []
    for row, (prompt_length, lengths) in enumerate(groups):
        prompt = random.integers(0, 31, prompt_length).tolist()
        answers = [random.integers(0, 31, length).tolist() for length in lengths]
        flat = [*prompt, *(token for answer in answers for token in answer)]
        stream += [*flat, *[0] * (row_tokens - len(flat))]
        ends = np.cumsum([prompt_length, *lengths])[1:] - 1
        shared_index += (row * row_tokens + ends).tolist()
        for answer in answers:
            alone_index.append(len(alone) + prompt_length + len(answer) - 1)
            whole = [*prompt, *answer]
            alone += [*whole, *[1] * (row_tokens - len(whole))]
    layout = Layout.shared_prefix([prompt for prompt, _ in groups], [of for _, of in groups], row_tokens)
    separate = Layout.padded([prompt + length for prompt, of in groups for length in of], row_tokens)
    scores = [
        model.scores(torch.tensor(ids), TensorLayout.of(of), torch.tensor(index))
        for ids, of, index in ((stream, layout, shared_index), (alone, separate, alone_index))
    ]
    torch.testing.assert_close(*scores, rtol=1e-5, atol=1e-5)
    for row, (prompt, of) in enumerate(groups):
        starts = row * row_tokens + prompt + np.cumsum([0, *of[:-1]])
        assert (layout.position[starts] == prompt).all(), "each branch goes on where the prompt ends"


def test_completions_sharing_their_prompt_have_the_scores_of_whole_sequences():
    model, prompt = reward_model(), torch.arange(3, 9)
    completions = [torch.tensor([9, 10, 2]), torch.tensor([11, 2])]
    layout = TensorLayout.of(Layout.shared_prefix([6], [[3, 2]], 12))
    stream = torch.cat([prompt, *completions, torch.ones(1, dtype=torch.int64)])
    shared = model.scores(stream, layout, torch.tensor([8, 10]))
    for score, completion in zip(shared, completions, strict=True):
        whole = torch.cat([prompt, completion])
        torch.testing.assert_close(model.scores(whole, *padded([len(whole)], len(whole)))[0], score)


def test_the_head_starts_at_one_over_the_root_of_width_plus_one_without_bias():
    head = reward_model(width=1024).head
    assert head.bias is None
    assert float(head.weight.std().detach()) == pytest.approx(1025**-0.5, rel=0.1)


def test_scores_are_float32_under_autocast():
    model = reward_model()
    with autocast("bfloat16", "cpu"):
        scores = model.scores(torch.arange(12), *padded([12], 12))
    assert scores.dtype == torch.float32


def test_an_untied_prediction_matrix_is_left_behind():
    untied = GPT(GPTConfig(**{**SHAPE.__dict__, "tied_embeddings": False}))
    names = [name for name, _ in RewardModel(untied).named_parameters()]
    assert not [name for name in names if "lm_head" in name]
