"""The files beside a model's weights: tokenizer, chat template and control ids of a run, into every model folder.

With this package's tokenizer they are made of it. With the tokenizer of a start model its own files are kept in the
run's tokenizer folder as they came, and go out with every model of the run; there too is the record of the control ids
(`control_ids.json`).
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from stategpt.artifacts import publish_file
from stategpt.data import ChatTemplate
from stategpt.data.chats.jinja_text import scored_jinja
from stategpt.data.control_ids import read_control_ids
from stategpt.model import GPT, RewardModel
from stategpt.stages.chat_format import CONFIG_FILE, GENERATION_FILE, KEPT, TEMPLATE_FILE, TOKENIZER_FILE
from stategpt.tokenizer import AnyTokenizer


def save_with_tokenizer(
    model: GPT | RewardModel, target: Path, tok: AnyTokenizer, chat: ChatTemplate, tokenizer: Path
) -> None:
    """Writes a model folder that is about to be published: weights, tokenizer, and what `transformers` reads.

    `tokenizer` is the run's folder with the files of its tokenizer, whose format is `chat`.
    """
    recorded = read_control_ids(tokenizer)
    if recorded is None:
        model.save_pretrained(target, tok, manifest=True)
        return
    scores = isinstance(model, RewardModel)
    if isinstance(model, RewardModel) and model.gpt.special_ids.pad is None:
        # A sequence classifier reads the last token that is no padding.
        model.gpt.special_ids = replace(model.gpt.special_ids, pad=chat.control.pad)
    model.save_pretrained(target, manifest=True)
    for name in KEPT:
        if (tokenizer / name).exists() and not (scores and name == GENERATION_FILE):
            shutil.copyfile(tokenizer / name, target / name)
    if scores:
        _write_template(target, _scored(target, chat))
    elif recorded[0]:  # start.chat: not the format of the files that were copied
        _write_template(target, chat.jinja())


def _scored(folder: Path, chat: ChatTemplate) -> str:
    """The template that ends in the reward token, which gets a name in the tokenizer's file if it has none."""
    names = {number: name for name, number in chat.tok.special_tokens.items()}
    reward = chat.control.reward
    name = names.get(reward) or _name_token(folder / TOKENIZER_FILE, reward)
    return scored_jinja(chat.jinja(), names[chat.control.ends[0]], name)


def _write_template(folder: Path, template: str) -> None:
    """Writes the chat template, in the one place that `transformers` looks at first."""
    publish_file(folder / TEMPLATE_FILE, template.encode())
    if (folder / CONFIG_FILE).exists():
        config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_bytes())
        config.pop("chat_template", None)
        _write_json(folder / CONFIG_FILE, config)


def _name_token(path: Path, reward: int) -> str:
    """Adds the reward token, which is the first id above the others, to a tokenizer.json."""
    found: dict[str, Any] = json.loads(path.read_bytes())
    added = found.setdefault("added_tokens", [])
    taken = {token["content"] for token in added}
    name = next(name for name in ("<|reward|>", "<|reward_token|>", f"<|reward_{reward}|>") if name not in taken)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added.append({"id": reward, "content": name, **flags, "special": True})
    publish_file(path, json.dumps(found, indent=2, ensure_ascii=False).encode())
    return name


def _write_json(path: Path, value: dict[str, Any]) -> None:
    publish_file(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
