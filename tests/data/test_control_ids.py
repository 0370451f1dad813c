"""Control ids come from template, tokenizer and model folder; the reward token is one that nothing else uses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stategpt.config.control import CONTROL_TOKENS
from stategpt.data import ChatTemplate, ControlIds, ControlTokens, Message, ModelIds
from stategpt.data.chat import reward_sequence, truncate_prompt
from stategpt.data.control_ids import CONTROL_FILE, control_ids_json, read_control_ids
from stategpt.data.records import Conversation, Prompt
from stategpt.data.shard_writing import stored_conversation
from stategpt.errors import ContextOverflow, CorruptArtifact, InvalidArgument
from stategpt.tokenizer import Tokenizer

CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def tokenizer(*special: str) -> Tokenizer:
    return Tokenizer.train(["What is it? user assistant"], vocab_size=300, special_tokens=list(special))


def test_our_block_has_the_ids_that_it_always_had() -> None:
    tok = tokenizer(*CONTROL_TOKENS)
    control = ChatTemplate.own(tok).control
    assert control == ControlTokens.of(tok)
    assert (control.begin, control.ends, control.end_of_text, control.pad, control.reward) == (0, (0,), 0, 1, 2)
    assert control.forbidden == tuple(range(1, 16))
    assert (control.document_begin, control.head_tokens, control.tail_tokens) == (0, 2, 1)


def test_an_answer_ends_with_the_templates_token_then_with_those_of_the_folder() -> None:
    chat = ChatTemplate.named("chatml", tokenizer(*CHATML)).for_model(ModelIds(bos=1, eos=(0, 2, 9)))
    assert chat.control.ends == (2, 0, 9)
    assert chat.control.end_of_text == 0
    assert (chat.control.begin, chat.control.document_begin) == (None, 0)
    assert chat.for_model(ModelIds(eos=(7,))).control is chat.control, "what is known stays"


def test_a_family_with_a_beginning_of_text_begins_documents_with_it() -> None:
    tok = tokenizer("<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<pad>")
    control = ChatTemplate.named("gemma", tok).for_model(ModelIds(bos=1, eos=(0,), pad=4)).control
    assert (control.begin, control.document_begin, control.end_of_text, control.ends) == (1, 1, 0, (3, 0))
    assert {1, 2, 4} <= {*control.forbidden}
    assert not {0, 3} & {*control.forbidden}


@pytest.mark.parametrize(
    ("special", "stated", "pad"),
    [
        (CHATML, None, 0),
        (CHATML, 2, 2),
        ((*CHATML, "<|finetune_right_pad_id|>"), None, 3),
        ((*CHATML, "[PAD]"), None, 3),
        (
            (*CHATML, "<|padding|>", "<pad>"),
            None,
            4,
        ),  # the usual name, not the first id
        ((*CHATML, "<keypad>"), None, 0),
    ],
)
def test_padding_is_the_folders_or_named_so_or_end_of_text(
    special: tuple[str, ...], stated: int | None, pad: int
) -> None:
    control = ChatTemplate.named("chatml", tokenizer(*special)).for_model(ModelIds(eos=(2,), pad=stated)).control
    assert control.pad == pad
    assert (pad in control.forbidden) == (pad not in control.ends)


@pytest.mark.parametrize(
    ("more", "pad", "reward"),
    [
        ((), None, 300),
        (("<|reserved_special_token_0|>", "<|reserved_special_token_1|>"), None, 3),
        (("<|reserved_special_token_0|>", "<|reserved_special_token_1|>"), 3, 4),
        (("<unused0>",), None, 3),
        (("<|extra_0|>",), None, 3),
        (("<|dummy_1|>",), None, 3),
        (("<|placeholder1|>",), None, 3),
        (("<fim_0>", "<|fim_prefix|>"), None, 300),
    ],
)
def test_the_reward_token_is_a_reserved_one_or_the_first_id_that_no_token_has(
    more: tuple[str, ...], pad: int | None, reward: int
) -> None:
    tok = tokenizer(*CHATML, *more)
    control = ChatTemplate.named("chatml", tok).for_model(ModelIds(eos=(2,), pad=pad)).control
    assert control.reward == (reward if reward < 300 else tok.vocab_size)
    assert control.reward not in {*control.ends, control.pad}
    reserved = {number for name, number in tok.special_tokens.items() if "reserved" in name}
    assert reserved <= {*control.forbidden}


def test_prompts_are_cut_between_what_the_format_puts_around_messages() -> None:
    chat = ChatTemplate.named("chatml", tokenizer(*CHATML)).for_model(ModelIds(eos=(2,)))
    control, prompt = chat.control, chat.prompt("What is it? " * 20)
    least = control.head_tokens + control.tail_tokens
    cut = truncate_prompt(prompt, least, control)
    assert cut[: control.head_tokens].tolist() == prompt[: control.head_tokens].tolist()
    assert cut[-control.tail_tokens :].tolist() == prompt[-control.tail_tokens :].tolist()
    header = chat.tok.encode("assistant\n").size
    assert control.tail_tokens >= header + 3, "the end of the question, its line break, <|im_start|> and the role"
    with pytest.raises(ContextOverflow, match=f"at least {least}"):
        truncate_prompt(prompt, least - 1, control)
    sequence = reward_sequence(prompt, np.array([9, 2], dtype=np.uint32), control, context_tokens=60)
    assert (len(sequence), sequence[-3:].tolist()) == (60, [9, 2, control.reward])


def test_nothing_that_ends_a_text_is_an_error() -> None:
    chat = ChatTemplate.named("plain", tokenizer("<x>"), end_of_text="<y>")
    with pytest.raises(InvalidArgument, match="nothing says what ends a text"):
        _ = chat.control


def test_the_record_is_read_back_and_checked(tmp_path: Path) -> None:
    assert read_control_ids(tmp_path) is None
    control = ChatTemplate.named("chatml", tokenizer(*CHATML)).for_model(ModelIds(eos=(0,))).control
    assert type(control) is ControlIds
    (tmp_path / CONTROL_FILE).write_text(json.dumps(control_ids_json(control, "chatml")))
    assert read_control_ids(tmp_path) == ("chatml", control)
    for changes in ({"reward": -1}, {"ends": "2"}, {"more": 1}):
        (tmp_path / CONTROL_FILE).write_text(json.dumps({**control_ids_json(control), **changes}))
        with pytest.raises(CorruptArtifact, match=CONTROL_FILE):
            read_control_ids(tmp_path)


def test_a_conversation_is_stored_up_to_its_last_trained_token() -> None:
    tok = tokenizer(*CHATML)
    chat = ChatTemplate.named("chatml", tok)
    conversation = Conversation.of("What?", "It is.")
    encoded = chat.encode(conversation)
    assert not encoded.loss_mask[-1], "a line break follows"
    stored = stored_conversation(chat, conversation, 2)
    assert stored.ids.tolist() == encoded.ids[:-2].tolist()
    assert stored.mask is not None
    assert stored.mask.tolist() == encoded.loss_mask[:-1].tolist()
    asked = Conversation((Message("user", "What?", True),))
    untrained_end = stored_conversation(chat, asked, 2)
    assert untrained_end.mask is not None
    assert untrained_end.mask[-1] == 0
    stored_conversation(chat, conversation, 2, row_tokens=stored.ids.size + 1)
    with pytest.raises(ContextOverflow, match=r"a row has \d+"):
        stored_conversation(chat, conversation, 2, row_tokens=stored.ids.size)


def test_the_own_format_is_stored_as_before() -> None:
    tok = tokenizer(*CONTROL_TOKENS)
    chat = ChatTemplate.own(tok)
    encoded = chat.encode(Conversation.of("What?", "It is."))
    stored = stored_conversation(chat, Conversation.of("What?", "It is."), 0)
    assert stored.ids.tolist() == encoded.ids[1:-1].tolist()
    assert stored.mask is not None
    assert stored.mask.tolist() == encoded.loss_mask[1:].tolist()
    assert chat.prompt(Prompt.of("x")).tolist() == [0, 4, *tok.encode("x").tolist(), 5]
