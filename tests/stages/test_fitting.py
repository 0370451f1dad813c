"""What fits the model: decided once, counted by code, and read through by every later stage."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from stategpt.artifacts import RunFolder, publish_folder  # noqa: E402
from stategpt.config import CONTROL_TOKENS, RunConfig, SFTConfig  # noqa: E402
from stategpt.data import ChatTemplate, encode_conversation  # noqa: E402
from stategpt.data.corpus import SIDES, Corpus, write_corpus  # noqa: E402
from stategpt.data.records import Conversation, Message, Prompt, Role  # noqa: E402
from stategpt.errors import CorruptArtifact  # noqa: E402
from stategpt.stages.fitting import _from, conversation_fit, decide_fit, fitting_corpus, trained_on  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402

BYTES = Tokenizer.train(["nothing"], vocab_size=272, special_tokens=list(CONTROL_TOKENS))
CHAT = ChatTemplate.own(BYTES)
"""One token a byte, so that lengths are known."""


def chat(*texts: str, system: str = "") -> Conversation:
    """User and assistant in turn."""
    roles = ("user", "assistant")
    messages = [Message(roles[number % 2], text) for number, text in enumerate(texts)]  # type: ignore[arg-type]
    return Conversation((*([Message("system", system)] if system else []), *messages))


def fit(conversation: Conversation, row_tokens: int, **settings: str) -> int | str:
    return conversation_fit(CHAT, conversation, SFTConfig(**settings), row_tokens)  # type: ignore[arg-type]


def test_a_conversation_is_whole_shortened_or_left_out_with_a_code() -> None:
    long = chat("a" * 50, "b" * 50, "c", "d")
    assert fit(chat("a", "b"), 10) == 0
    assert fit(long, 40) == "too_long"
    assert fit(long, 40, too_long="keep_last_turns") == 2
    assert fit(chat("a", "b" * 50), 40, too_long="keep_last_turns") == "too_long"
    assert fit(Conversation((Message("user", "a"),)), 40) == "no_prompt"
    assert fit(Conversation((Message("assistant", "a"),)), 40) == "no_prompt"
    assert fit(chat("a", ""), 40) == "untrained"


@given(
    st.lists(st.integers(1, 30), min_size=2, max_size=10),
    st.integers(6, 80),
    st.booleans(),
    st.sampled_from(("all", "last")),
)
def test_what_is_kept_fits_and_no_longer_end_of_it_does(
    lengths: Sequence[int], row_tokens: int, system: bool, loss_on: str
) -> None:
    given_chat = chat(*("x" * length for length in lengths[: len(lengths) // 2 * 2]), system="s" if system else "")
    sft = SFTConfig(too_long="keep_last_turns", loss_on=loss_on)  # type: ignore[arg-type]
    first = conversation_fit(CHAT, given_chat, sft, row_tokens)
    asked = [number for number, message in enumerate(given_chat.messages) if message.role == "user"]

    def size(start: int) -> int:
        kept = given_chat.messages[start:] if start else given_chat.messages
        before = given_chat.messages[:1] if system and start else ()
        return len(encode_conversation(BYTES, Conversation((*before, *kept))))

    starts = [0, *asked[1:]]
    fitting = [start for start in starts if size(start) <= row_tokens]
    assert first == (fitting[0] if fitting else "too_long")


TURNS = st.lists(
    st.tuples(
        st.sampled_from(("system", "user", "assistant", "tool")),
        st.sampled_from((*CONTROL_TOKENS, "<|im_start|>", "a", "bc", "\n\nHuman:")),
        st.booleans(),
    ),
    min_size=1,
    max_size=9,
)


@given(TURNS, st.integers(4, 60), st.sampled_from(("all", "last")))
def test_the_loss_of_what_is_kept_is_on_its_trained_messages_alone(
    turns: list[tuple[Role, str, bool]], row_tokens: int, loss_on: str
) -> None:
    said = tuple(Message(role, text, is_trained and role == "assistant") for role, text, is_trained in turns)
    sft = SFTConfig(too_long="keep_last_turns", loss_on=loss_on)  # type: ignore[arg-type]
    conversation = Conversation(said)
    first = conversation_fit(CHAT, conversation, sft, row_tokens)
    if isinstance(first, str):
        assert first != "untrained" or not any(message.trained for message in said[_last_user(said) :])
        return
    kept = _from(trained_on(conversation, loss_on), first)
    segment = encode_conversation(BYTES, kept, context_tokens=row_tokens)
    wanted = [message for message in said[first:] if message.trained]
    end = BYTES.special_id("<|endoftext|>")
    trained = [[*BYTES.encode(m.text).tolist(), end] for m in (wanted[-1:] if loss_on == "last" else wanted)]
    assert segment.targets[segment.loss_mask].tolist() == [token for ids in trained for token in ids]
    assert [m.content for m in kept.messages] == [
        m.content for number, m in enumerate(said) if number >= first or m.role == "system"
    ]


def _last_user(said: Sequence[Message]) -> int:
    return max((number for number, message in enumerate(said) if message.role == "user"), default=0)


def test_loss_on_the_last_answer_leaves_the_others_untrained() -> None:
    two = chat("a", "b", "c", "d")
    assert [message.trained for message in trained_on(two, "all").messages] == [False, True, False, True]
    assert [message.trained for message in trained_on(two, "last").messages] == [False, False, False, True]


@pytest.fixture
def decided(tmp_path: object, recipe: RunConfig) -> tuple[RunConfig, RunFolder]:
    """A published corpus of conversations of which some do not fit, and the decision."""
    folder = RunFolder(tmp_path / "run")  # type: ignore[operator]
    conversations = {side: [chat("a", "b"), chat("a" * 400, "b", "c", "d"), chat("e", "f")] for side in SIDES}
    prompts = {"rl": {side: [Prompt.of("p"), Prompt.of("q" * 400)] for side in SIDES}}
    write_corpus(Corpus({}, conversations, {}, {}, prompts), folder.corpus)
    publish_folder(folder.tokenizer, lambda temporary: BYTES.save(temporary / "tokenizer.json"), kind="tokenizer")
    run = replace(recipe, sft=replace(recipe.sft, row_tokens=0))
    decide_fit(run, folder, CHAT)
    return run, folder


def test_later_stages_read_what_fits(decided: tuple[RunConfig, RunFolder], capsys: pytest.CaptureFixture[str]) -> None:
    run, folder = decided
    decide_fit(run, folder, CHAT)  # a run that is continued says it too
    corpus = fitting_corpus(run, folder)
    for side in SIDES:
        assert [c.messages[0].content for c in corpus.conversations[side]] == ["a", "e"]
        assert [prompt.text for prompt in corpus.prompts["rl"][side]] == ["p"]
    said = " ".join(capsys.readouterr().err.split())
    assert "conversations: 6 whole, 3 too long" in said
    limit = f"fewer than {run.model.context_tokens} tokens (model.context_tokens)"
    assert f"prompts of rl: 3 whole, 3 too long. A prompt may have {limit}." in said


def test_shortened_conversations_keep_their_last_turns(decided: tuple[RunConfig, RunFolder], tmp_path: object) -> None:
    run, _ = decided
    other = RunFolder(tmp_path / "other")  # type: ignore[operator]
    write_corpus(Corpus({}, {side: [chat("a" * 400, "b", "c", "d")] for side in SIDES}, {}), other.corpus)
    publish_folder(other.tokenizer, lambda temporary: BYTES.save(temporary / "tokenizer.json"), kind="tokenizer")
    run = replace(run, sft=replace(run.sft, too_long="keep_last_turns", loss_on="last"))
    decide_fit(run, other, CHAT)
    (kept,) = fitting_corpus(run, other).conversations["train"]
    assert [message.content for message in kept.messages] == ["c", "d"]


def test_a_decision_about_another_corpus_is_refused(decided: tuple[RunConfig, RunFolder]) -> None:
    run, folder = decided
    write_corpus(Corpus({}, {side: [chat("x", "y")] for side in SIDES}, {}), folder.corpus)
    with pytest.raises(CorruptArtifact, match="was decided on another corpus"):
        fitting_corpus(run, folder)
