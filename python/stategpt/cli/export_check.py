"""Compares an exported model with the one it came from, in the tool that it was written for.

Compared are the ids of texts (also with what spells control tokens) and of chat prompts, the log-probabilities of the
20 most likely next tokens, greedy tokens, and which ids end a text; of a reward model the ids and scores of chats,
padded in one batch. The tool runs in a separate process, in float32, and so does the model here, on the weights as
written.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stategpt.cli.format import table
from stategpt.cli.model_source import Source, torch_dtype
from stategpt.errors import DataError, ExportMismatch, MissingExtra, StategptError
from stategpt.visible_text import visible_line

if TYPE_CHECKING:
    from stategpt.data import Message
    from stategpt.model import GPT, RewardModel

TEXTS = (
    "The quick brown fox jumps over 13 lazy dogs.",
    "  def f(x):\n\treturn x ** 2\r\n\n",
    "Größe, naïve café, İstanbul, cafe\u0301",
    "Привет, мир! Γειά σου.",
    "你好，世界。日本語のテキスト 한국어",
    "مرحبا بالعالم नमस्ते ไทย",
    "👩‍👩‍👧 🇩🇪 ½ ﬁ\u00a0x",
)
_CHATS = (("What is 2 + 2?",), ("Answer in one word.", "Что такое кот?"))
"""A user's message; a message of the system and a user's."""
_TALKS = (("Why?", "So it is."), ("What is the capital of France?", "Paris is the capital of France, on the Seine."))
STEPS = 8
"""Greedy tokens of each prompt."""
TOLERANCES = {
    ("hf", "f32"): 1e-3,
    ("hf", "f16"): 1e-3,
    ("hf", "bf16"): 1e-3,
    ("gguf", "f32"): 5e-3,
    ("gguf", "f16"): 3e-2,
    ("gguf", "q8_0"): 3e-1,
}
"""Largest difference of a log-probability, by tool and number format.

transformers computes in float32 whatever the file's format, as here: sums in another order differ by up to 1e-4. For a
product with float16 weights llama.cpp rounds the activations to 11 bits, with 8-bit weights to 8 bits in blocks of 32.
"""
_MODULES = {
    "hf": ("transformers", "stategpt.cli.check_with_transformers"),
    "gguf": ("xllamacpp", "stategpt.cli.check_with_llama_cpp"),
}
_TIMEOUT_S = 3600
_MOST_CONTEXT = 512


@dataclass(frozen=True)
class Step:
    """What the model here predicts after some ids: log-probabilities of all ids."""

    log_probs: list[float]

    @property
    def best(self) -> int:
        """The most likely id."""
        return max(range(len(self.log_probs)), key=self.log_probs.__getitem__)


def check_export(source: Source, path: Path, to: str, dtype: str | None) -> str:
    """Compares what was exported to `path` with its source; returns the table of what was compared.

    Args:
        source: what was exported.
        path: the folder or file.
        to: "hf" or "gguf".
        dtype: number format of the weights in it; None: that of the source.

    Raises:
        ExportMismatch: the tool cannot load it, or computes something else; the message names the first difference.
        MissingExtra: the tool is not installed.
    """
    from stategpt.model import RewardModel

    module, script = _MODULES[to]
    if importlib.util.find_spec(module) is None:
        raise MissingExtra(
            f"{path} was written, and the check could not be done: it needs {module}, which is not installed here. "
            "Install that package, or leave --check out."
        )
    model = _as_written(source, path, to, dtype)
    tolerance = TOLERANCES[to, dtype or "f32"]
    request = _request(source, path)
    if isinstance(model, RewardModel):
        # Its template takes finished answers only.
        request |= {"chats": [], "runs": [], "talks": [_rows(talk) for talk in _talks()]}
        answer = _answer(script, request, path)
        rows = [*_compared_ids(source, request, answer), *_compared_scores(source, model, answer, tolerance)]
    else:
        answer = _answer(script, request, path)
        rows = _compared_ids(source, request, answer)
        rows += [_compared_run(model, ids, run, tolerance) for ids, run in _pairs(request["runs"], answer["runs"])]
        rows += _compared_ends(source, answer)
        if not any(run["top"] for run in answer["runs"]):
            raise ExportMismatch(f"{answer['tool']} gave no log-probability after any of {len(answer['runs'])} prompts")
    head = (f"checked with {answer['tool']}", "ids", "largest difference", "greedy")
    return table([head, *rows], indent="") + f"\nequal; log-probabilities may differ by {tolerance:g}"


def _as_written(source: Source, path: Path, to: str, dtype: str | None) -> GPT | RewardModel:
    """The model with the weights that the file holds, in float32."""
    import copy

    from stategpt.model import GPT

    if dtype == "q8_0":  # blocks with a scale each: only reading gives them
        return GPT.from_pretrained(path).float()
    model = copy.deepcopy(source.model)
    if dtype is not None:
        model = model.to(torch_dtype(dtype))
    return model.float().eval()


def _request(source: Source, path: Path) -> dict[str, Any]:
    """What the tool is asked: texts, chats as messages, and ids of prompts to continue."""
    context = min(_config(source.model).context_tokens, _MOST_CONTEXT)
    texts = [*TEXTS, *_spelled(source)]
    chats, prompts = [], []
    for messages in _chats():
        ids = _chat_ids(source, messages)
        if ids is not None:
            chats.append(_rows(messages))
            prompts.append(ids)
    runs = [*(_ids(source, text, "allow") for text in texts), *prompts]
    runs = [ids[: context - STEPS] for ids in runs if ids and context > STEPS]
    return {
        "path": str(path),
        "texts": texts,
        "chats": chats,
        "runs": runs,
        "talks": [],
        "steps": STEPS,
        "context": context,
    }


def _answer(script: str, request: dict[str, Any], path: Path) -> dict[str, Any]:
    """What the tool says, in a separate process."""
    done = subprocess.run(
        [sys.executable, "-m", script],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = visible_line((done.stderr.strip().splitlines() or ["it said nothing"])[-1], 300)
        raise ExportMismatch(f"{path}: the tool cannot use it (exit code {done.returncode}): {said}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _compared_ids(source: Source, request: dict[str, Any], answer: dict[str, Any]) -> list[tuple[str, ...]]:
    """Compares the ids of texts and chats; a row for each."""
    rows: list[tuple[str, ...]] = []
    for text, theirs in _pairs(request["texts"], answer["texts"]):
        ours = _ids(source, text, "allow")
        _require_equal(f"ids of the text {text!a}", ours, theirs["ids"])
        _require_equal(f"ids of {text!a} as plain text", _ids(source, text, "unflagged"), theirs["plain"])
        rows.append((_shown(text), f"{len(ours)} equal", "", ""))
    for chat, theirs in _pairs(request["chats"], answer["chats"]):
        ours = _chat_ids(source, _messages(chat)) or []
        _require_equal(f"ids of the chat {chat!a}", ours, theirs)
        rows.append((_shown(chat[-1]["content"]), f"{len(ours)} equal", "", ""))
    return rows


def _compared_run(
    model: GPT | RewardModel, ids: list[int], theirs: dict[str, Any], tolerance: float
) -> tuple[str, ...]:
    """Compares what follows some ids: log-probabilities, then greedy tokens one by one."""
    what = f"after the ids {ids[:12]}{'...' if len(ids) > 12 else ''}"
    row, largest, ties = list(ids), 0.0, 0
    if len(theirs["greedy"]) != STEPS:
        raise ExportMismatch(f"{what} the tool gives {len(theirs['greedy'])} tokens, expected {STEPS}")
    for step, token in enumerate(theirs["greedy"]):
        here = _step(model, row)
        if step == 0:
            for each, value in theirs["top"]:
                gap = abs(here.log_probs[each] - value)
                largest = max(largest, gap)
                if not gap <= tolerance:  # also not a number
                    raise ExportMismatch(
                        f"{what} id {each} has the log-probability {value:.5f} in the tool and "
                        f"{here.log_probs[each]:.5f} here; {tolerance:g} may lie between them"
                    )
        if token != here.best:
            gap = here.log_probs[here.best] - here.log_probs[token]
            if gap > 2 * tolerance:
                raise ExportMismatch(
                    f"{what} the greedy token {step} is {token} in the tool and {here.best} here, which is likelier "
                    f"here by {gap:.5f}"
                )
            ties += 1
            break  # two tokens as likely as each other: what follows is of another text
        row.append(token)
    return (what, "", f"{largest:.1e}", "equal" if not ties else f"equal up to a tie at {len(row) - len(ids)}")


def _compared_ends(source: Source, answer: dict[str, Any]) -> list[tuple[str, ...]]:
    """Compares which ids end a text, where the tool tells it."""
    if "ends" not in answer:
        return []
    ends = [*_language_model(source.model).special_ids.eos]
    missing = [number for number in ends if number not in answer["ends"]]
    if missing:
        raise ExportMismatch(f"id {missing[0]} ends a text here, and in the tool only {answer['ends']} do")
    return [(f"ends of text {answer['ends']}", "equal", "", "")]


def _compared_scores(
    source: Source, model: RewardModel, answer: dict[str, Any], tolerance: float
) -> list[tuple[str, ...]]:
    """Compares ids and scores of finished chats; the tool has them padded in one batch."""
    import torch

    from stategpt.ops import TensorLayout
    from stategpt.packing import Layout

    rows: list[tuple[str, ...]] = []
    for talk, theirs in _pairs(_talks(), answer["talks"]):
        ids = _scored_ids(source, talk)
        _require_equal(f"ids of the chat that ends in {talk[-1].content!a}", ids, theirs["ids"])
        layout = TensorLayout.of(Layout.packed([[len(ids)]], len(ids)))
        with torch.no_grad():
            score = float(model.scores(torch.tensor(ids), layout, torch.tensor([len(ids) - 1])))
        gap = abs(score - theirs["score"])
        if not gap <= tolerance * max(1.0, abs(score)):
            raise ExportMismatch(
                f"the chat that ends in {talk[-1].content!a} scores {theirs['score']:.5f} in the tool, in a "
                f"padded batch, and {score:.5f} here"
            )
        rows.append((_shown(talk[-1].content), f"{len(ids)} equal", f"{gap:.1e}", ""))
    return rows


def _step(model: GPT | RewardModel, ids: list[int]) -> Step:
    import torch

    from stategpt.ops import TensorLayout
    from stategpt.packing import Layout

    layout = TensorLayout.of(Layout.packed([[len(ids)]], len(ids)))
    with torch.no_grad():
        hidden = model.hidden(torch.tensor(ids), layout)  # type: ignore[operator]
        log_probs = model.unembed(hidden[-1:])[0].log_softmax(-1)  # type: ignore[operator]
    return Step(log_probs.tolist())


def _language_model(model: GPT | RewardModel) -> Any:
    return getattr(model, "gpt", model)


def _config(model: GPT | RewardModel) -> Any:
    return _language_model(model).config


def _ids(source: Source, text: str, special: Any) -> list[int]:
    return [int(token) for token in source.tok.encode(text, special=special)]


def _spelled(source: Source) -> list[str]:
    """Texts that spell control tokens of this tokenizer."""
    names = list(source.tok.special_tokens)[:4]
    texts = [" ".join(names), "a" + "b".join(names) + "c"] if names else []
    kept = []
    for text in texts:
        try:
            _ids(source, text, "unflagged")
        except DataError:  # no text there: the file's own model makes the token
            continue
        kept.append(text)
    return kept


def _messages(rows: list[dict[str, str]]) -> list[Message]:
    from stategpt.data import Message

    return [Message(row["role"], row["content"]) for row in rows]  # type: ignore[arg-type]


def _rows(messages: list[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _chats() -> list[list[Message]]:
    from stategpt.data import Message

    return [[*(Message("system", text) for text in texts[:-1]), Message("user", texts[-1])] for texts in _CHATS]


def _talks() -> list[list[Message]]:
    from stategpt.data import Message

    return [[Message("user", question), Message("assistant", answer)] for question, answer in _TALKS]


def _chat_ids(source: Source, messages: list[Message]) -> list[int] | None:
    """The ids of a prompt; None where the format has no such messages."""
    chat = source.format()
    try:
        return None if chat is None else [int(token) for token in chat.prompt(messages)]
    except StategptError:
        return None


def _scored_ids(source: Source, talk: list[Message]) -> list[int]:
    """The ids of a chat up to the token at which a reward model is read."""
    from stategpt.data import ControlTokens

    chat = source.format()
    if chat is None:
        raise ExportMismatch(f"{source.place} has no chat template, so no chat can be scored in another tool")
    encoded = chat.encode(talk)
    reward = getattr(source.model, "reward_token", None)
    if reward is None and source.chat is None:
        reward = ControlTokens.of(source.tok).reward
    if reward is None:
        return [int(token) for token in encoded.ids]
    end = int(encoded.loss_mask.nonzero()[0][-1]) + 1
    return [*(int(token) for token in encoded.ids[:end]), reward]


def _require_equal(what: str, ours: list[int], theirs: list[int]) -> None:
    if ours != theirs:
        place = next(
            (n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
        )
        raise ExportMismatch(
            f"{what}: token {place} is {theirs[place : place + 5]} in the tool and {ours[place : place + 5]} here "
            f"({len(theirs)} and {len(ours)} ids)"
        )


def _pairs(asked: Any, answered: Any) -> list[tuple[Any, Any]]:
    if len(asked) != len(answered):
        raise ExportMismatch(f"the tool answered {len(answered)} of {len(asked)} questions")
    return list(zip(asked, answered, strict=True))


def _shown(text: str) -> str:
    return visible_line(text, 40)
