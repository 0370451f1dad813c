"""Small tokenizers of the kinds that published models have, made by the `tokenizers` library, with their folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

VOCABULARY = 600
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEXTS = [Path(json.__file__).read_text(encoding="utf-8"), "Grüße, мир! 中文と日本語 12345 naïve café " * 20]
_BYTES = pre_tokenizers.ByteLevel.alphabet()


@dataclass(frozen=True)
class Foreign:
    """A tokenizer and what its folder says."""

    tokenizer: Any
    special: dict[str, str]
    """bos_token, eos_token, pad_token, unk_token."""
    template: str

    def write(self, folder: Path) -> None:
        """Writes tokenizer.json, tokenizer_config.json and chat_template.jinja."""
        self.tokenizer.save(str(folder / "tokenizer.json"))
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **self.special, "model_max_length": 64}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        (folder / "chat_template.jinja").write_text(self.template)

    def id(self, name: str) -> int:
        """The id of `bos_token` or another of `special`."""
        return int(self.tokenizer.token_to_id(self.special[name]))


CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}\n"
)
LLAMA3 = (
    "{{- bos_token -}}{% for message in messages %}{{- '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' -}}{% endfor %}{% if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{% endif %}"
)
ODD = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '### Q: ' + message['content'] + "
    "'\\n' }}{% else %}{{ '### A: ' + message['content'] + eos_token + '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### A: ' }}{% endif %}"
)
"""No typed format: it is rendered as it is."""
GEMMA = (
    "{{ bos_token }}{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else "
    "message['role'] %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}"
)


def _bytes_bpe(names: list[str], unflagged: tuple[str, ...] = ()) -> Any:
    made = tokenizers.Tokenizer(models.BPE())
    made.decoder = decoders.ByteLevel()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    room = VOCABULARY - len(names) - len(unflagged)
    trainer = trainers.BpeTrainer(vocab_size=room, initial_alphabet=_BYTES, show_progress=False)
    made.train_from_iterator(_TEXTS, trainer)
    made.add_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    made.add_tokens([AddedToken(name, special=False, normalized=False) for name in unflagged])
    return made


def pieces_bpe(texts: Sequence[str], names: Sequence[str], size: int, *, space_before: bool) -> Any:
    """As SentencePiece's: white space is U+2581, what has no token becomes its bytes."""
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    made = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    replaced = normalizers.Replace(" ", "▁")
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replaced]) if space_before else replaced
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    made.decoder = decoders.Sequence([*parts, decoders.Strip(" ", 1, 0)] if space_before else parts)
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[*names, *fallback], show_progress=False)
    made.train_from_iterator(texts, trainer)
    fields = json.loads(made.to_str())
    fields["added_tokens"] = [token for token in fields["added_tokens"] if token["content"] in names]
    return tokenizers.Tokenizer.from_str(json.dumps(fields))


def _template(made: Any, single: str, pair: str, *names: str) -> Any:
    tokens = [(name, made.token_to_id(name)) for name in names]
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=tokens)


def _smollm() -> Foreign:
    made = _bytes_bpe(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<file_sep>"])
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    return Foreign(made, {**special, "unk_token": "<|endoftext|>"}, CHATML)


def _llama3() -> Foreign:
    headers = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|finetune_right_pad_id|>"]
    made = _bytes_bpe(["<|begin_of_text|>", "<|end_of_text|>", *headers])
    bos = "<|begin_of_text|>"
    made.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=True), _template(made, f"{bos} $A", f"{bos} $A {bos} $B", bos)]
    )
    return Foreign(made, {"bos_token": bos, "eos_token": "<|eot_id|>"}, LLAMA3)


def _qwen() -> Foreign:
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    made = _bytes_bpe(names, ("<tool_call>", "</tool_call>"))
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    return Foreign(made, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}, CHATML)


def _gpt2() -> Foreign:
    end = "<|endoftext|>"
    return Foreign(_bytes_bpe([end]), {"bos_token": end, "eos_token": end, "unk_token": end}, ODD)


def _llama2() -> Foreign:
    made = pieces_bpe(_TEXTS[1:], ["<unk>", "<s>", "</s>"], VOCABULARY, space_before=True)
    made.post_processor = _template(made, "<s> $A", "<s> $A <s> $B", "<s>")
    return Foreign(made, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}, ODD)


def _gemma() -> Foreign:
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    made = pieces_bpe(_TEXTS[1:], names, VOCABULARY, space_before=False)
    made.post_processor = _template(made, "<bos> $A", "<bos> $A <bos> $B", "<bos>")
    special = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return Foreign(made, special, GEMMA)


KINDS = {
    "smollm": _smollm,
    "llama3": _llama3,
    "qwen": _qwen,
    "gpt2": _gpt2,
    "llama2": _llama2,
    "gemma": _gemma,
}


@cache
def foreign(kind: str) -> Foreign:
    """The tokenizer of a kind in `KINDS`."""
    return KINDS[kind]()
