"""The reserved block of control tokens."""

from stategpt.config.control import CONTROL_BLOCK_TOKENS, CONTROL_TOKENS, END_OF_TEXT, PAD, REWARD


def test_sixteen_different_tokens_in_a_fixed_order() -> None:
    assert len(CONTROL_TOKENS) == len(set(CONTROL_TOKENS)) == CONTROL_BLOCK_TOKENS == 16
    assert CONTROL_TOKENS[:7] == (
        "<|endoftext|>",
        "<|pad|>",
        "<|reward|>",
        "<|system|>",
        "<|user|>",
        "<|assistant|>",
        "<|tool|>",
    )
    assert CONTROL_TOKENS[7:] == tuple(f"<|spare_{i}|>" for i in range(9))


def test_padding_reward_and_end_of_text_are_three_tokens() -> None:
    assert len({END_OF_TEXT, PAD, REWARD}) == 3
