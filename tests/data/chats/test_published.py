"""Templates that others publish, as oracles: our mask beside TRL's, our text beside that of `transformers`.

They are read from `.make/templates`; `python tests/data/chats/published.py` downloads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("jinja2", reason="templates of others need jinja2, of the train extra")

from stategpt.data.chats import ChatTemplate
from stategpt.data.records import Message
from stategpt.errors import ChatTemplateError, StategptError

FOLDER = Path(__file__).resolve().parents[3] / ".make" / "templates"
SPECIAL = re.compile(r"<[^<>\s'\"]{1,40}>|\[/?[A-Z_]+\]|\[e~\[|\]~b\]|\]~!b\[|〈[^〉]+〉")
TOKENS = {"gemma": ("<bos>", "<eos>"), "llama3": ("<|begin_of_text|>", "<|eot_id|>"), "phi3": ("<s>", "<|endoftext|>"),
          "cohere": ("<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"), "qwen": ("<BOS>", "<|im_end|>")}  # fmt: skip


def _turns(*texts: str, system: str = "") -> list[Message]:
    spoken = [Message("assistant" if number % 2 else "user", text) for number, text in enumerate(texts)]
    return [Message("system", system)] * bool(system) + spoken


CHATS = [_turns("Hi", "yo"), _turns("Hi", "yo", "more", "done"), _turns("Hi", "yo", system="Be brief."),
         _turns(" Hi \n", "\n yo \n")]  # fmt: skip


class Letters:
    """A tokenizer of one id a letter after the special tokens of a template."""

    def __init__(self, special: Iterable[str]) -> None:
        self.special_tokens = {name: number for number, name in enumerate(sorted(special))}

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        return np.array([ord(letter) + len(self.special_tokens) for letter in text], dtype=np.uint32)

    def encode_segments(self, segments: Any) -> Any:
        raise AssertionError("only the own format uses it")


def files(folder: str, pattern: str) -> list[Path]:
    found = sorted((FOLDER / folder).glob(pattern))
    if not found:
        pytest.skip(f"{FOLDER / folder} is not there; python tests/data/chats/published.py downloads it (80 MB)")
    return found


def read(path: Path) -> tuple[ChatTemplate, dict[str, str]]:
    source = path.read_text(encoding="utf-8")
    bos, eos = next((TOKENS[name] for name in TOKENS if path.name.startswith(name)), ("<BOS>", "<EOS>"))
    variables = {"bos_token": bos, "eos_token": eos}
    tok = Letters({*SPECIAL.findall(source), bos, eos})
    return ChatTemplate.imported(source, tok, name=path.name, variables=variables), variables


def ours(chat: ChatTemplate, turns: list[Message]) -> tuple[str, list[bool]]:
    pieces = chat._pieces(turns, prompt=False)
    return "".join(piece.text for piece in pieces), [piece.trained for piece in pieces for _ in piece.text]


def theirs(
    source: str, chat: ChatTemplate, turns: list[Message], variables: dict[str, str], prompt: bool = False
) -> Any:
    """Text and mask of `transformers`, which writes today's date."""
    utils = pytest.importorskip("transformers.utils.chat_template_utils", reason="needs the hf extra (transformers)")
    in_parts = getattr(chat._renderer, "_parts", False)
    given = [
        {"role": m.role, "content": [{"type": "text", "text": m.content}] if in_parts else m.content} for m in turns
    ]
    (text,), (stretches,) = utils.render_jinja_template(
        [given], chat_template=source, add_generation_prompt=prompt, return_assistant_tokens_mask=True, **variables
    )
    mask = [any(start <= place < end for start, end in stretches) for place in range(len(text))]
    today = date.today()
    for form in ("%Y-%m-%d", "%d %b %Y", "%B %d, %Y", "%d-%m-%Y"):
        text = text.replace(today.strftime(form), date(2024, 7, 26).strftime(form))
    return text, mask


def difference(chat: ChatTemplate, source: str, turns: list[Message], variables: dict[str, str]) -> str:
    """In what TRL's mask differs from ours."""
    try:
        text, mask = ours(chat, turns)
    except StategptError:
        with pytest.raises(Exception, match=r"."):
            theirs(source, chat, turns, variables)
        return ""
    their_text, their_mask = theirs(source, chat, turns, variables)
    if text != their_text:
        return "text"
    assert not any(own and not other for own, other in zip(mask, their_mask, strict=True)), "we train what TRL does not"
    more = {place for place, (own, other) in enumerate(zip(mask, their_mask, strict=True)) if other and not own}
    after = {place for place in more if _trained_before(mask, more, place)}
    found = {"prompt"} if more - after else set()
    if after:
        found.add("line break" if all(text[place] == "\n" for place in after) else "after the end")
    return " and ".join(sorted(found))


def _trained_before(mask: list[bool], more: set[int], place: int) -> bool:
    while place in more:
        place -= 1
    return place >= 0 and mask[place]


KINDS = {
    "": "cohere cohere2 llama3 llava_next",
    "prompt": "deepseek_r1_distill deepseekv3 gptoss muse_glimmer",
    "line break": "diffusion_gemma gemma gemma3 idefics3 lfm2 lfm2_v2 qwen2_5_vl qwen3_instruct_2507 qwen3_vl smolvlm",
    "text": "glm4moe",
    "line break and prompt": "nemotron_3_5_lightning nemotron_3_nano nemotron_3_super nemotron_3_ultra qwen2_5 qwen3_8",
    "after the end": "phi3 phi3_5",
    "line break and prompt, text": "qwen3_5_nothink qwen3_5_think qwen3_6",
    "line break, text": "qwen3",
}
"""How TRL's mask differs from ours, and where; docs/guides/chat-templates.md explains each.

"prompt": it trains what the stock prompt ends with, too; "line break": that behind the end of an answer; "after the
end": an end of text behind it; "text": its training template writes another text.
"""
PAIRS = {name: kind for kind, names in KINDS.items() for name in names.split()}


@pytest.mark.slow
def test_the_masks_of_trl_are_ours_or_differ_as_the_table_in_the_guide_says() -> None:
    found = {}
    for path in files("trl", "*_training.jinja"):
        chat, variables = read(path.with_name(path.name.replace("_training", "")))
        source = path.read_text(encoding="utf-8")
        kinds = [difference(chat, source, turns, variables) for turns in CHATS]
        found[path.name.removesuffix("_training.jinja")] = ", ".join(dict.fromkeys(filter(None, kinds)))
    assert found == PAIRS
    assert len(found) == 31


@pytest.mark.slow
def test_stock_templates_write_what_transformers_writes() -> None:
    checked = 0
    for path in [*files("trl", "*.jinja"), *files("llama.cpp", "*.jinja")]:
        try:
            chat, variables = read(path)
        except ChatTemplateError:
            continue
        source = path.read_text(encoding="utf-8")
        for turns in CHATS:
            for prompt in (False, True):
                asked = turns[:-1] if prompt else turns
                try:
                    pieces = chat._pieces(asked, prompt=prompt)
                except StategptError:
                    continue
                expected = theirs(source, chat, asked, variables, prompt)[0]
                assert "".join(piece.text for piece in pieces) == expected, path.name
                checked += 1
    assert checked > 900


REFUSED = {"CohereForAI-c4ai-command-r-plus-tool_use", "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use",
           "NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "fireworks-ai-llama-3-firefunction-v2"}  # fmt: skip
"""They render nothing without a list of tools, in `transformers` too."""
OTHER_PROMPT = {
    "Apriel-1.6-15b-Thinker-fixed",
    "Cohere2MoE",
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use",
    "GLM-4.7-Flash",
    "MiniMax-M2",
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "Qwen-QwQ-32B",
    "Spark2.5",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
    "deepseek-ai-DeepSeek-V3.2",
    "google-gemma-4-31B-it",
    "google-gemma-4-31B-it-interleaved",
    "llama-cpp-deepseek-r1",
}
"""Their prompt ends with the beginning of a thought that past answers do not have: the mask begins at the answer."""
NO_END = {
    "Apertus-8B-Instruct",
    "Apriel-1.6-15b-Thinker-fixed",
    "GLM-4.6",
    "GLM-4.7-Flash",
    "llama-cpp-rwkv-world",
    "tencent-Hy3",
}
"""They write no control token behind the last answer; what ends it is the next header, or nothing."""


@pytest.mark.slow
def test_of_the_templates_of_llama_cpp_66_render_and_their_masks_are_exact() -> None:
    refused, other_prompt, no_end = set(), set(), set()
    paths = files("llama.cpp", "*.jinja")
    for path in paths:
        try:
            chat, _ = read(path)
        except ChatTemplateError:
            refused.add(path.stem)
            continue
        turns = CHATS[1]
        pieces = chat._pieces(turns, prompt=False)
        text, mask = "".join(piece.text for piece in pieces), [p.trained for p in pieces for _ in p.text]
        trained = re.findall("T+", "".join("T" if one else "f" for one in mask))
        assert len(trained) == 2, path.name
        said = "".join(letter for letter, one in zip(text, mask, strict=True) if one)
        assert ("yo" in said, "done" in said, "Hi" in said, "more" in said) == (True, True, False, False), path.name
        last = [number for number, one in enumerate(mask) if one]
        start = len(mask) - 1 - mask[::-1].index(False, len(mask) - 1 - last[-1])
        asked = "".join(piece.text for piece in chat._pieces(turns[:-1], prompt=True))
        if text[: start + 1] != asked:
            other_prompt.add(path.stem)
        if [piece for piece in pieces if piece.trained][-1].kind != "control":
            no_end.add(path.stem)
    assert (len(paths), refused, other_prompt, no_end) == (70, REFUSED, OTHER_PROMPT, NO_END)
