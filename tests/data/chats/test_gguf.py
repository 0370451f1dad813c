"""The chat template of a GGUF file's metadata."""

import struct

import pytest

pytest.importorskip("jinja2", reason="templates of others need jinja2, of the train extra")

from stategpt.data.chats import ChatTemplate
from stategpt.data.records import Conversation
from stategpt.errors import ChatTemplateError, CorruptArtifact, MissingFile
from stategpt.tokenizer import Tokenizer

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>"]
TOK = Tokenizer.train(["user\nassistant\n"] * 4, vocab_size=300, special_tokens=SPECIAL)
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' ~ m.role ~ '\n' ~ m.content ~ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
STRING, UINT32, ARRAY = 8, 4, 9


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def write(path, template: str | None, **ids: int) -> None:
    """A file of metadata alone."""
    tokens = struct.pack("<IQ", STRING, len(SPECIAL)) + b"".join(map(text, SPECIAL))
    entries = [(f"tokenizer.ggml.{name}_token_id", UINT32, struct.pack("<I", each)) for name, each in ids.items()]
    entries.append(("tokenizer.ggml.tokens", ARRAY, tokens))
    if template is not None:
        entries.append(("tokenizer.chat_template", STRING, text(template)))
    body = b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in entries)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + body)


def test_the_template_of_the_metadata_is_that_of_a_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "chat_template.jinja").write_text(CHATML)
    write(tmp_path / "model.gguf", CHATML, eos=2)
    found, expected = ChatTemplate.load(tmp_path / "model.gguf", TOK), ChatTemplate.load(tmp_path / "folder", TOK)
    talk = Conversation.of("What is 1 + 1?", "2")
    assert found.name == expected.name == "chatml"
    assert found.encode(talk).ids.tolist() == expected.encode(talk).ids.tolist()
    assert found.end_of_text == "<|im_end|>"


def test_names_of_tokens_are_those_of_the_metadata(tmp_path):
    write(
        tmp_path / "model.gguf",
        "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}",
        bos=3,
        eos=2,
    )
    ids = ChatTemplate.load(tmp_path / "model.gguf", TOK).encode(Conversation.of("a", "b")).ids.tolist()
    assert ids[0] == TOK.special_tokens["<s>"]
    assert ids[-1] == TOK.special_tokens["<|im_end|>"]


def test_a_file_without_a_template_or_damaged_is_refused_by_name(tmp_path):
    path = tmp_path / "model.gguf"
    with pytest.raises(MissingFile):
        ChatTemplate.load(path, TOK)
    write(path, None)
    with pytest.raises(ChatTemplateError, match=r"model\.gguf has no chat template: .*tokenizer\.chat_template"):
        ChatTemplate.load(path, TOK)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CorruptArtifact, match=r"model\.gguf"):
        ChatTemplate.load(path, TOK)
