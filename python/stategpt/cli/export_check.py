"""Compares an exported model with the one it came from, in the tool that it was written for.

Compared are the ids of texts (also with what spells control tokens) and of chat prompts, the log-probabilities of the
20 most likely next tokens, greedy tokens, and which ids end a text; of a reward model the ids and scores of chats,
padded in one batch. The tool runs in a separate process. The model here is the source, never the file read again: in
float32, its weights rounded to the file's format where that rounds each number by itself. What blocks of 8 bits cost is
part of the difference.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stategpt.cli.export_probes import (
    TEXTS,
    chat_ids,
    ids_of,
    messages_of,
    probe_chats,
    probe_talks,
    rows_of,
    scored_ids,
    spelled,
)
from stategpt.cli.format import table
from stategpt.cli.model_source import DTYPES, Source, torch_dtype
from stategpt.errors import ExportMismatch, MissingExtra
from stategpt.visible_text import visible_line

if TYPE_CHECKING:
    from stategpt.model import GPT, RewardModel

STEPS = 8
"""Greedy tokens of each prompt."""
TOLERANCES = {
    ("hf", "f32"): 1e-3,
    ("hf", "f16"): 1e-3,
    ("hf", "bf16"): 1e-3,
    ("gguf", "f32"): 5e-3,
    ("gguf", "f16"): 2e-2,
    ("gguf", "q8_0"): 6e-1,
}
"""Largest difference of a log-probability, by tool and number format.

transformers computes in float32 whatever the file's format, as here: sums in another order differ by up to 1e-4.
llama.cpp rounds what it multiplies with float16 weights to float16 (largest difference on SmolLM2-135M: 0.008), and
with 8-bit weights to 8 bits in blocks of 32 (0.48). The same rounding here came no closer to it: whether a number is
rounded up or down in one layer changes what is rounded in the next.
"""
MEANS = {("gguf", "q8_0"): 2e-1}
"""Largest mean of all differences where the largest one allows for much; measured 0.11."""
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

    def best(self, without: frozenset[int] = frozenset()) -> int:
        """The most likely id that is none of `without`."""
        ids = (number for number in range(len(self.log_probs)) if number not in without)
        return max(ids, key=self.log_probs.__getitem__)


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
    model = _as_written(source, dtype)
    tolerance = TOLERANCES[to, dtype or "f32"]
    request = _request(source, path)
    if isinstance(model, RewardModel):
        # Its template takes finished answers only.
        request |= {"chats": [], "runs": [], "talks": [rows_of(talk) for talk in probe_talks()]}
        answer = _answer(script, request, path)
        rows = [*_compared_ids(source, request, answer), *_compared_scores(source, model, answer, tolerance)]
    else:
        answer = _answer(script, request, path)
        rows = _compared_ids(source, request, answer)
        runs = _pairs(request["runs"], answer["runs"])
        never = frozenset(source.tok.special_tokens.values()) if answer.get("ignores_ends") else frozenset[int]()
        gaps: list[float] = []
        rows += [_compared_run(model, ids, run, tolerance, never, gaps) for ids, run in runs]
        _require_mean(gaps, MEANS.get((to, dtype or "f32"), tolerance))
        rows += _compared_ends(source, answer)
        if not any(run["top"] for run in answer["runs"]):
            raise ExportMismatch(f"{answer['tool']} gave no log-probability after any of {len(answer['runs'])} prompts")
    head = (f"checked with {answer['tool']}", "ids", "largest difference", "greedy")
    return table([head, *rows], indent="") + f"\nequal; log-probabilities may differ by {tolerance:g}"


def _as_written(source: Source, dtype: str | None) -> GPT | RewardModel:
    """The source in float32, its weights rounded to `dtype`; those of blocks are not rounded."""
    import copy

    model = copy.deepcopy(source.model)
    if dtype in DTYPES:
        model = model.to(torch_dtype(dtype))
    return model.float().eval()


def _require_mean(gaps: list[float], limit: float) -> None:
    """Compares the mean of all differences with its limit, which is less than that of a single one."""
    mean = sum(gaps) / max(1, len(gaps))
    if not mean <= limit:
        raise ExportMismatch(
            f"{len(gaps)} log-probabilities differ by {mean:.5f} on average from those here, and {limit:g} is allowed; "
            "no single one is beyond its limit"
        )


def _request(source: Source, path: Path) -> dict[str, Any]:
    """What the tool is asked: texts, chats as messages, and ids of prompts to continue."""
    context = min(_config(source.model).context_tokens, _MOST_CONTEXT)
    texts = [*TEXTS, *spelled(source)]
    chats, prompts = [], []
    for messages in probe_chats():
        ids = chat_ids(source, messages)
        if ids is not None:
            chats.append(rows_of(messages))
            prompts.append(ids)
    runs = [*(ids_of(source, text, "allow") for text in texts), *prompts]
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
        ours = ids_of(source, text, "allow")
        _require_equal(f"ids of the text {text!a}", ours, theirs["ids"])
        _require_equal(f"ids of {text!a} as plain text", ids_of(source, text, "unflagged"), theirs["plain"])
        rows.append((_shown(text), f"{len(ours)} equal", "", ""))
    for chat, theirs in _pairs(request["chats"], answer["chats"]):
        ours = chat_ids(source, messages_of(chat)) or []
        _require_equal(f"ids of the chat {chat!a}", ours, theirs)
        rows.append((_shown(chat[-1]["content"]), f"{len(ours)} equal", "", ""))
    return rows


def _compared_run(
    model: GPT | RewardModel,
    ids: list[int],
    theirs: dict[str, Any],
    tolerance: float,
    never: frozenset[int],
    gaps: list[float],
) -> tuple[str, ...]:
    """Compares what follows some ids: log-probabilities, then greedy tokens one by one.

    `never` are ids that the tool may leave out: llama.cpp is told not to end, and counts more control tokens as ends of
    text than a folder says. The differences of log-probabilities are added to `gaps`.
    """
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
                gaps.append(gap)
                if not gap <= tolerance:  # also not a number
                    raise ExportMismatch(
                        f"{what} id {each} has the log-probability {value:.5f} in the tool and "
                        f"{here.log_probs[each]:.5f} here; {tolerance:g} may lie between them"
                    )
        best = here.best(never - {token})
        if token != best:
            gap = here.log_probs[best] - here.log_probs[token]
            if gap > 2 * tolerance:
                raise ExportMismatch(
                    f"{what} the greedy token {step} is {token} in the tool and {best} here, which is likelier "
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
    for talk, theirs in _pairs(probe_talks(), answer["talks"]):
        ids = scored_ids(source, talk)
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
