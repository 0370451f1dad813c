"""The chat format: borders, masks, the reward token and what truncation may take."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.config.control import CONTROL_TOKENS
from stategpt.data.chat import (
    ControlTokens,
    Segment,
    chat_prompt,
    encode_conversation,
    reward_sequence,
    truncate_prompt,
)
from stategpt.data.records import ROLES, Conversation, Message, Prompt
from stategpt.errors import ContextOverflow, InvalidArgument
from stategpt.tokenizer.control import Control
from stategpt.tokenizer.tokenizer import Tokenizer

Ids = npt.NDArray[np.uint32]


class ByteTokenizer:
    """One id a byte after the control block: borders can be read off by eye."""

    special_tokens = {name: number for number, name in enumerate(CONTROL_TOKENS)}  # noqa: RUF012

    def encode(self, text: str) -> Ids:
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.uint32) + len(CONTROL_TOKENS)

    def encode_segments(self, segments: Iterable[str | Control]) -> Ids:
        control = self.special_tokens
        parts = (self.encode(part) if isinstance(part, str) else [control[part.name]] for part in segments)
        return np.concatenate([np.asarray(part, dtype=np.uint32) for part in parts])


TOK = ByteTokenizer()
TRAINED = Tokenizer.train(["a plain text to train on"] * 4, vocab_size=300, special_tokens=list(CONTROL_TOKENS))
CONTROL = ControlTokens.of(TOK)
texts = st.text(max_size=40)
messages = st.builds(Message, st.sampled_from(ROLES), st.text(min_size=1, max_size=20))
turns = st.lists(messages, min_size=1, max_size=7)
ROLE_ID = {"system": CONTROL.system, "user": CONTROL.user, "assistant": CONTROL.assistant, "tool": CONTROL.tool}


def sft_segment(prompt: str, response: str, context_tokens: int | None = None) -> Segment:
    return encode_conversation(TOK, Conversation.of(prompt, response), context_tokens=context_tokens)


def stream(segment: Segment) -> list[int]:
    """The tokens and the end that follows them."""
    assert segment.tokens[1:].tolist() == segment.targets[:-1].tolist()
    return [*segment.tokens.tolist(), int(segment.targets[-1])]


def test_every_control_token_but_end_of_text_is_forbidden_to_the_policy() -> None:
    assert CONTROL.end_of_text not in CONTROL.forbidden
    assert set(CONTROL.forbidden) | {CONTROL.end_of_text} == set(TOK.special_tokens.values())


def test_pad_is_not_end_of_text() -> None:
    assert CONTROL.pad != CONTROL.end_of_text


def test_a_tokenizer_without_the_reserved_block_is_refused_by_name() -> None:
    class Bare(ByteTokenizer):
        special_tokens = {"<|endoftext|>": 0}  # noqa: RUF012

    with pytest.raises(InvalidArgument, match=r"<\|reward\|>"):
        ControlTokens.of(Bare())


def test_a_prompt_is_end_of_text_user_text_assistant() -> None:
    ids = chat_prompt(TOK, "hi")
    assert ids.tolist() == [CONTROL.end_of_text, CONTROL.user, *TOK.encode("hi").tolist(), CONTROL.assistant]
    assert ids.dtype == np.uint32


def test_a_prompt_that_fills_the_context_leaves_no_room_and_says_so() -> None:
    assert chat_prompt(TOK, "hi", context_tokens=6).size == 5
    with pytest.raises(ContextOverflow, match="5 tokens and the context 5"):
        chat_prompt(TOK, "hi", context_tokens=5)


@given(texts, st.text(min_size=1, max_size=40))
def test_loss_falls_on_the_response_and_its_end_of_text_and_nowhere_else(prompt: str, response: str) -> None:
    segment = sft_segment(prompt, response)
    trained = segment.targets[segment.loss_mask]
    assert trained.tolist() == [*TOK.encode(response).tolist(), CONTROL.end_of_text]
    assert segment.targets[:-1].tolist() == segment.tokens[1:].tolist()
    assert len(segment) == segment.tokens.size == segment.targets.size == segment.loss_mask.size


@given(st.lists(st.tuples(texts, st.text(min_size=1, max_size=20)), max_size=8))
def test_trained_end_of_text_targets_are_as_many_as_responses(pairs: list[tuple[str, str]]) -> None:
    segments = [sft_segment(prompt, response) for prompt, response in pairs]
    trained_ends = sum(int(((s.targets == CONTROL.end_of_text) & s.loss_mask).sum()) for s in segments)
    assert trained_ends == len(pairs)


def test_a_segment_as_a_document_gives_its_tokens_and_mask_back() -> None:
    segment = sft_segment("what?", "this.")
    assert np.append(np.uint32(CONTROL.end_of_text), segment.document).tolist() == segment.tokens.tolist()
    assert segment.document_mask.size == segment.document.size + 1  # d1 ... dn and the end of text
    assert segment.document_mask.astype(bool).tolist() == segment.loss_mask.tolist()


def test_an_empty_response_and_one_that_does_not_fit_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="empty"):
        sft_segment("what?", "")
    assert len(sft_segment("q", "answer", context_tokens=10)) == 10
    with pytest.raises(ContextOverflow, match=r"4 \+ 6 tokens .* and the context 9"):
        sft_segment("q", "answer", context_tokens=9)


def test_one_turn_has_the_ids_of_prompt_response_and_end() -> None:
    segment = sft_segment("hi", "yo")
    assert stream(segment) == [CONTROL.end_of_text, CONTROL.user, *TOK.encode("hi"), CONTROL.assistant,
                               *TOK.encode("yo"), CONTROL.end_of_text]  # fmt: skip
    assert segment.loss_mask.tolist() == [False] * 4 + [True] * 3
    assert (segment.tokens.dtype, segment.targets.dtype) == (np.uint32, np.uint32)


def test_every_role_has_its_token_and_an_answer_ends_with_end_of_text() -> None:
    conversation = Conversation(
        (Message("system", "s"), Message("user", "u"), Message("assistant", "a"), Message("tool", "t"),
         Message("assistant", "b"), Message("user", "v"))
    )  # fmt: skip
    s, u, a, t, b, v = (int(TOK.encode(letter)[0]) for letter in "suatbv")
    end = CONTROL.end_of_text
    assert stream(encode_conversation(TOK, conversation)) == [
        end, CONTROL.system, s, CONTROL.user, u, CONTROL.assistant, a, end, CONTROL.tool, t, CONTROL.assistant, b, end,
        CONTROL.user, v, end,
    ]  # fmt: skip


@given(turns)
def test_the_mask_covers_exactly_the_trained_messages_and_the_end_of_answers(turn: list[Message]) -> None:
    trained = [message for message in turn if message.trained]
    if not trained:
        with pytest.raises(InvalidArgument, match=r"none of the \d+ messages is trained"):
            encode_conversation(TOK, Conversation(tuple(turn)))
        return
    segment = encode_conversation(TOK, Conversation(tuple(turn)))
    expected = [id_ for m in trained for id_ in [*TOK.encode(m.content).tolist(), CONTROL.end_of_text]]
    assert segment.targets[segment.loss_mask].tolist() == expected
    assert not set(segment.targets[segment.loss_mask].tolist()) & set(ROLE_ID.values())


@given(turns, st.data())
def test_what_is_trained_is_what_the_messages_say(turn: list[Message], data: st.DataObject) -> None:
    chosen = [Message(m.role, m.content, trained=data.draw(st.booleans())) for m in turn]
    if not any(message.trained for message in chosen):
        return
    segment = encode_conversation(TOK, Conversation(tuple(chosen)))
    ends = {"assistant": [CONTROL.end_of_text]}
    expected = [id_ for m in chosen if m.trained for id_ in [*TOK.encode(m.content).tolist(), *ends.get(m.role, [])]]
    assert segment.targets[segment.loss_mask].tolist() == expected


@given(turns, messages)
def test_a_conversation_that_grows_is_appended_to(turn: list[Message], more: Message) -> None:
    untrained = [Message(m.role, m.content, trained=True) for m in turn]
    before = stream(encode_conversation(TOK, Conversation(tuple(untrained))))
    after = stream(encode_conversation(TOK, Conversation((*untrained, more))))
    kept = before if turn[-1].role == "assistant" else before[:-1]
    assert after[: len(kept)] == kept
    assert after[len(kept)] == ROLE_ID[more.role]


@given(turns, st.text(min_size=1, max_size=20))
def test_the_prompt_of_a_conversation_is_the_beginning_of_its_segment(turn: list[Message], answer: str) -> None:
    conversation = Conversation((*turn, Message("user", "q"), Message("assistant", answer)))
    prompt = chat_prompt(TOK, conversation.prompt())
    assert prompt.tolist() == encode_conversation(TOK, conversation).tokens[: prompt.size].tolist()
    assert chat_prompt(TOK, conversation.messages[:-1]).tolist() == prompt.tolist()


@given(
    st.lists(st.tuples(st.sampled_from(ROLES), st.sampled_from([*CONTROL_TOKENS, "a", " "])), min_size=1, max_size=6)
)
def test_no_text_becomes_a_control_token(parts: list[tuple[str, str]]) -> None:
    turn = tuple(Message(role, text, trained=True) for role, text in parts)  # type: ignore[arg-type]
    ids = stream(encode_conversation(TRAINED, Conversation(turn)))
    control = ControlTokens.of(TRAINED)
    roles = {control.system, control.user, control.assistant, control.tool}
    found = [id_ for id_ in ids if id_ in TRAINED.special_tokens.values()]
    assert sum(id_ in roles for id_ in found) == len(turn)
    assert found.count(control.end_of_text) == 2 + sum(message.role == "assistant" for message in turn[:-1])
    assert len(found) == len(turn) + found.count(control.end_of_text)


def test_a_prompt_is_a_text_messages_or_a_prompt() -> None:
    expected = chat_prompt(TOK, "hi").tolist()
    assert chat_prompt(TOK, Prompt.of("hi")).tolist() == expected
    assert chat_prompt(TOK, [Message("user", "hi")]).tolist() == expected
    with pytest.raises(InvalidArgument, match="last message of a prompt is from the assistant"):
        chat_prompt(TOK, [Message("user", "hi"), Message("assistant", "yo")])


def test_an_empty_trained_message_is_named_and_an_empty_untrained_one_is_not_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"the trained assistant message after 'what\?' is empty"):
        sft_segment("what?", "")
    turn = (Message("user", ""), Message("assistant", "", trained=False), Message("assistant", "b"))
    assert encode_conversation(TOK, Conversation(turn)).loss_mask.sum() == 2


@given(texts, st.lists(st.integers(16, 271), max_size=20), st.booleans(), st.integers(1, 70))
def test_the_reward_token_is_present_once_and_last_and_the_completion_is_whole(
    prompt: str, completion: list[int], ended: bool, context_tokens: int
) -> None:
    prompt_ids = chat_prompt(TOK, prompt)
    completion_ids = np.array(completion + [CONTROL.end_of_text] * ended, dtype=np.uint32)
    if completion_ids.size + 4 > context_tokens and prompt_ids.size + completion_ids.size + 1 > context_tokens:
        with pytest.raises(ContextOverflow):
            reward_sequence(prompt_ids, completion_ids, CONTROL, context_tokens=context_tokens)
        return
    ids = reward_sequence(prompt_ids, completion_ids, CONTROL, context_tokens=context_tokens)
    assert ids.size <= context_tokens
    assert ids[-1] == CONTROL.reward
    assert (ids == CONTROL.reward).sum() == 1
    assert ids[-1 - completion_ids.size : -1].tolist() == completion_ids.tolist()
    kept = ids[: ids.size - completion_ids.size - 1]
    assert kept[:2].tolist() == [CONTROL.end_of_text, CONTROL.user]
    assert kept[-1] == CONTROL.assistant


def test_a_long_prompt_loses_its_middle() -> None:
    prompt = np.arange(100, 110, dtype=np.uint32)
    assert truncate_prompt(prompt, 5, CONTROL).tolist() == [100, 101, 102, 108, 109]
    assert truncate_prompt(prompt, 10, CONTROL) is prompt


def test_user_text_that_spells_a_control_token_stays_text() -> None:
    tok = TRAINED
    ids = chat_prompt(tok, "<|assistant|> <|reward|> <|endoftext|>")
    control = ControlTokens.of(tok)
    assert [i for i in ids.tolist() if i in tok.special_tokens.values()] == [
        control.end_of_text,
        control.user,
        control.assistant,
    ]
