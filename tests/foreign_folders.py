"""Model folders as `transformers` writes them: chat templates of three families, tokenizers without our block."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from family_models import Case
from foreign_tokenizers import pieces_bpe
from stategpt.tokenizer import AnyTokenizer, Tokenizer
from user_files import Writer

CONTEXT = 160
_SIZES = {"num_hidden_layers": 2, "max_position_embeddings": CONTEXT, "hidden_size": 48, "intermediate_size": 64}
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
    "'\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' "
    "+ message['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% if message['role'] == 'assistant' %}"
    "{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
    "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' + message['content'] %}{% else %}"
    "{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Foreign:
    """A model of another family with its tokenizer and chat template."""

    case: Case
    template: str
    special: tuple[str, ...]
    bos: str | None
    eos: str
    pad: str | None
    ends: tuple[str, ...]
    """Names of the end ids of generation_config.json."""
    pattern: str = "llama3"
    spare_rows: int = 0
    """Rows of the embedding beyond the tokenizer's ids."""
    settings: dict[str, Any] = field(default_factory=dict)
    pieces: Literal["", "plain", "space before"] = ""
    """A tokenizer as SentencePiece's instead of byte-level BPE; what is put before a text."""

    @property
    def engine(self) -> Literal["native", "tokenizers"]:
        """What reads the tokenizer."""
        return "tokenizers" if self.pieces else "native"

    @property
    def run_settings(self) -> str:
        """Settings of a small run from it."""
        engine = f'engine = "{self.engine}"\n' if self.pieces else ""
        return SMALL.replace('model = "given"\n', f'model = "given"\n{engine}')

    def _tokenizer(self, texts: list[str], folder: Path) -> AnyTokenizer:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "tokenizer.json"
        if not self.pieces:
            made = Tokenizer.train(texts, vocab_size=360, pattern=self.pattern, special_tokens=list(self.special))
            made.save(path)
            return made
        pieces = pieces_bpe(texts, self.special, 400, space_before=self.pieces == "space before")
        pieces.save(str(path))
        return Tokenizer.load(path, "tokenizers")

    def write(self, folder: Path) -> AnyTokenizer:
        """Writes the folder; returns its tokenizer."""
        writer = Writer(folder)
        texts = [writer.sentence(9) for _ in range(300)] + [
            "What is the number and then? user model assistant system\n\n"
        ]
        tok = self._tokenizer(texts, folder)
        ids = tok.special_tokens
        config = {
            "vocab_size": tok.vocab_size + self.spare_rows,
            "bos_token_id": None if self.bos is None else ids[self.bos],
            "eos_token_id": ids[self.eos],
            "pad_token_id": None if self.pad is None else ids[self.pad],
        }
        model = self.case.model(**_SIZES, **config, **self.settings)
        model.save_pretrained(folder)
        generation = {
            **config,
            "eos_token_id": [ids[name] for name in self.ends],
            "temperature": 0.7,
            "do_sample": True,
        }
        del generation["vocab_size"]
        (folder / "generation_config.json").write_text(json.dumps(generation))
        tokens = {"bos_token": self.bos, "eos_token": self.eos, "pad_token": self.pad}
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **tokens}
        (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": self.template}))
        (folder / "README.md").write_text("A model.\n")
        return tok


FOREIGN = {
    "llama, ChatML, no token left": Foreign(
        Case("Llama", "llama", {"tie_word_embeddings": True}),
        CHATML,
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        bos="<|im_start|>",
        eos="<|im_end|>",
        pad="<|im_end|>",
        ends=("<|im_end|>",),
    ),
    "qwen2, Llama 3's template, reserved tokens": Foreign(
        Case("Qwen2", "qwen2"),
        LLAMA3,
        (
            *("<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>"),
            *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|finetune_right_pad_id|>"),
        ),
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        pad=None,
        ends=("<|end_of_text|>", "<|eot_id|>"),
        pattern="qwen",
    ),
    "gemma2, spare rows": Foreign(
        Case("Gemma2", "gemma2", {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
        GEMMA,
        ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
        bos="<bos>",
        eos="<eos>",
        pad="<pad>",
        ends=("<eos>", "<end_of_turn>"),
        spare_rows=8,
        settings={"head_dim": 16, "sliding_window": 32, "query_pre_attn_scalar": 24},
    ),
    "llama 2, pieces with a space before each text": Foreign(
        Case("Llama", "llama"),
        LLAMA2,
        ("<unk>", "<s>", "</s>"),
        bos="<s>",
        eos="</s>",
        pad=None,
        ends=("</s>",),
        pieces="space before",
    ),
    "mistral, pieces and Gemma's template": Foreign(
        Case("Mistral", "mistral"),
        GEMMA,
        ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
        bos="<bos>",
        eos="<eos>",
        pad="<pad>",
        ends=("<eos>", "<end_of_turn>"),
        pieces="plain",
    ),
}

SMALL = """
[start]
model = "given"
[sft]
data = ["chats.jsonl"]
batch_rows = 4
micro_batch_rows = 2
row_tokens = 96
[sampling]
max_tokens = 8
[rankings]
scorer = "length"
scorer_options = { target = "12", unit = "characters" }
completions = 3
train_prompts = 12
test_prompts = 6
tie_below = 0.01
[reward]
prompts_per_batch = 4
[rl]
steps = 3
prompts_per_step = 4
completions = 2
micro_batch_completions = 4
evaluate_every_steps = 2
[evaluate]
sft_samples = 4
comparison_prompts = 4
frontier_prompts = 4
best_of = [2]
few_shot_examples = 1
bootstrap_resamples = 50
"""
"""Settings after which every stage takes about a second."""


def write_chats(path: Path, count: int = 60, *, system: bool = False) -> None:
    """Conversations of one or two questions."""
    writer = Writer(path.parent, seed=5)
    lines = []
    for number in range(count):
        turns = [("system", "Be short.")] if system else []
        turns += [("user", f"What is the {writer.word()} number {number}?"), ("assistant", writer.sentence(4))]
        if number % 3 == 0:
            turns += [("user", "And then?"), ("assistant", writer.sentence(3))]
        lines.append(json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]}) + "\n")
    path.write_text("".join(lines))
