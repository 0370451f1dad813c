"""Records: what they check, what they default to, and how a conversation becomes a prompt."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace

import pytest

from stategpt.data.records import ROLES, Conversation, Document, Message, Place, Prompt
from stategpt.errors import InvalidArgument

WHERE = Place("chats.jsonl", 7, 512)


@pytest.mark.parametrize("role", ROLES)
def test_only_the_assistant_is_trained_by_default(role: str) -> None:
    assert Message(role, "text").trained is (role == "assistant")  # type: ignore[arg-type]
    assert Message(role, "text", trained=True).trained  # type: ignore[arg-type]
    assert not Message(role, "text", trained=False).trained  # type: ignore[arg-type]


def test_a_prompt_ends_before_the_last_answer_and_keeps_group_place_and_meta() -> None:
    turns = [Message("system", "Be brief."), Message("user", "a?"), Message("assistant", "A."), Message("user", "b?")]
    conversation = Conversation((*turns, Message("assistant", "B.")), "page", WHERE, {"subject": "letters"})
    prompt = conversation.prompt()
    assert prompt == Prompt(tuple(turns), "B.", "page", WHERE, {"subject": "letters"})
    assert (prompt.text, prompt.subject, prompt.opening) == ("b?", "letters", "")


def test_a_prompt_ignores_what_follows_the_last_answer() -> None:
    messages = (Message("user", "a?"), Message("assistant", "A."), Message("user", "thanks"))
    assert Conversation(messages).prompt() == Prompt.of("a?", "A.")


def test_of_makes_one_turn() -> None:
    conversation = Conversation.of("a?", "A.", group="g", where=WHERE, meta={"opening": "An"})
    assert conversation.messages == (Message("user", "a?"), Message("assistant", "A."))
    assert conversation.prompt() == Prompt.of("a?", "A.", group="g", where=WHERE, meta={"opening": "An"})
    assert conversation.prompt().opening == "An"


def test_a_list_of_messages_becomes_a_tuple() -> None:
    assert Conversation([Message("user", "a?")]).messages == (Message("user", "a?"),)  # type: ignore[arg-type]


def test_a_tool_result_can_be_answered() -> None:
    assert Prompt((Message("user", "2 + 2?"), Message("tool", "4"))).text == "4"


def test_replace_keeps_whether_a_message_is_trained() -> None:
    assert not replace(Message("assistant", "A.", trained=False), content="B.").trained


@pytest.mark.parametrize("record", [Document("t", "s", "g", WHERE), Conversation.of("a?", "A."), Prompt.of("a?")])
def test_records_are_frozen_and_can_be_pickled(record: Document | Conversation | Prompt) -> None:
    with pytest.raises(FrozenInstanceError):
        record.group = "other"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(record)) == record


def test_a_long_text_has_a_short_repr() -> None:
    assert len(repr(Document("x" * 10_000))) < 1_000
    assert len(repr(Conversation.of("x" * 10_000, "y" * 10_000))) < 1_000


def test_a_place_reads_as_file_line_and_byte() -> None:
    assert str(WHERE) == "chats.jsonl:7 (byte 512)"


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="role is 'robot'; choose one of system, user, assistant, tool"):
        Message("robot", "beep")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="content of a user message is of type bytes; give a str"):
        Message("user", b"a?")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="messages is empty"):
        Conversation(())
    with pytest.raises(InvalidArgument, match="messages holds a dict; it must hold Message only"):
        Conversation([{"role": "user", "content": "a?"}])  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="messages is of type str"):
        Conversation("a?")  # type: ignore[arg-type]


def test_what_is_no_prompt_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="last message of a prompt is from the assistant; it must be from user"):
        Prompt((Message("user", "a?"), Message("assistant", "A.")))
    with pytest.raises(InvalidArgument, match="no message of 1 is from the assistant"):
        Conversation((Message("user", "a?"),)).prompt()
    with pytest.raises(InvalidArgument, match="messages is empty"):
        Conversation((Message("assistant", "Hello."),)).prompt()
