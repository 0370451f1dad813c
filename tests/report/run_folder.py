"""Writes a run folder as a finished `tiny_cpu` leaves it: every file the report reads, with plausible numbers.

The numbers are drawn, not measured; their size follows a prototype of the default job. Run it to look at a report:

    python tests/report/run_folder.py /tmp/run && stategpt report /tmp/run
"""

import json
import math
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stategpt.artifacts import publish_folder, write_lineage
from stategpt.config import RunConfig
from stategpt.config.toml import dump
from stategpt.evaluate.gates import check_gates, write_gates
from stategpt.evaluate.records import FORMAT_VERSION, read_evaluations
from stategpt.recipes.tiny_cpu import tiny_cpu

SYSTEMS = ("base", "prompted_base", "sft", "best_of_2", "best_of_4", "best_of_8", "rlhf", "rlhf_beta_0.04")
SAMPLE_PROMPTS = ("def read(self", "os.path.join(", "Return the", "# This is")
ANSWERS = {
    "What does `queue.Queue.get_nowait` do?": {
        "reference": "Remove and return an item from the queue without blocking.",
        "base": " The module is a string of the <module> object.\n\nThe default is None, and the value of",
        "prompted_base": "Return the number of the given string.",
        "sft": "Return a string containing the current thread's name if it is not None.",
        "best_of_2": "Return the next item of the given type.",
        "best_of_4": "Return a new object with the given value.",
        "best_of_8": "Return a copy of the current state.",
        "rlhf": "Return a list of the current items.",
        "rlhf_beta_0.04": "Return the current context.",
    },
    "Complete the docstring of `calendar.isleap`: Return True for": {
        "reference": "leap years, False for non-leap years.",
        "base": " the same thing.\n    # This is a hack.",
        "prompted_base": "a string object.",
        "sft": "the given file, or False if it isn't.",
        "best_of_2": "a given date.",
        "best_of_4": "the given name.",
        "best_of_8": "the given year and month.",
        "rlhf": "the given object.",
        "rlhf_beta_0.04": "Return the current context.",
    },
    "What does `html.escape` do?": {
        "reference": 'Replace special characters "&", "<" and ">" to HTML-safe sequences.',
        "base": "\n\n<b>not a tag</b> & the script",
        "prompted_base": "Return the string s with the the given argument.",
        "sft": "Escape the <tag> and all its children",
        "best_of_2": "Write a string to the stream.",
        "best_of_4": "Convert a string to a sequence of bytes.",
        "best_of_8": "Convert a string to an integer.",
        "rlhf": "Convert a string to a list of characters.",
        "rlhf_beta_0.04": "Return the current context.",
    },
    "What does `statistics.fmean` do?": {
        "reference": "Convert data to floats and compute the arithmetic mean.",
        "base": " mean\n\n    >>> mean([1, 2",
        "prompted_base": "Compute the value of the value.",
        "sft": "Calculate the number of values in the context's context.",
        "best_of_2": "Return the sum of two values.",
        "best_of_4": "Return the sum of the values.",
        "best_of_8": "Return the logarithm of a number.",
        "rlhf": "Return the value of a number.",
        "rlhf_beta_0.04": "Return the current context.",
    },
}
FEW_SHOT = (
    "Question: What does `math.gcd` do?\nAnswer: Greatest common divisor.\n\n"
    "Question: What does `queue.Queue.get_nowait` do?\nAnswer:"
)
POINT_NAMES = ("whole", "real words", "fits kind", "no stutter", "specific", "short", "near")
ROW_DOCUMENTS = (
    "queue.Queue.get_nowait(self)\nRemove and return an item from the queue without blocking.\n\n"
    "Only get an item if one is immediately available. Otherwise\nraise the Empty exception.",
    'html.escape(s, quote=True)\nReplace special characters "&", "<" and ">" to HTML-safe sequences.',
    "math.tau\nThe circle constant",
    "# type: ignore on purpose: see the note in __init__",
)


MADE_FROM: Mapping[str, tuple[str, ...]] = {
    "corpus": (),
    "tokenizer": ("corpus",),
    "data/docstrings/train": ("corpus", "tokenizer"),
    "base/model": ("data/docstrings/train", "tokenizer"),
    "sft/model": ("base/model", "corpus"),
    "rankings/records": ("sft/model", "corpus"),
    "reward/model": ("sft/model", "rankings/records"),
    "rl/model": ("sft/model", "reward/model"),
    "rl/seed_1/model": ("sft/model", "reward/model"),
    "rl/seed_2/model": ("sft/model", "reward/model"),
    "base/evaluation": ("base/model",),
    "sft/evaluation": ("sft/model",),
    "rankings/evaluation": ("rankings/records",),
    "reward/evaluation": ("reward/model",),
    "rl/evaluation": ("rl/model",),
    "comparison/evaluation": ("rl/model", "rl/seed_1/model", "rl/seed_2/model", "sft/model"),
}
"""Published folders of a run and their parents; logs have none."""
VERSIONED = ("evaluation.json", "mixture.json", "rows.json", "loss_references.json", "gates.json")
"""Files that say which version of their format they have."""


def drawn_run() -> RunConfig:
    """The recipe with a beta of this file's own, so that a tuned recipe changes no expected page."""
    recipe = tiny_cpu()
    return replace(recipe, rl=replace(recipe.rl, beta=0.8))


def write_run_folder(
    root: Path, leave_out: Iterable[str] = (), change: Callable[[str, Any], Any] | None = None
) -> Path:
    """Write the run folder at `root`, without the files or folders named in `leave_out`; return `root`.

    Args:
        change: called with the name and content of each file of measurements; what it returns is published.
    """
    rng = np.random.default_rng(0)
    files: dict[str, Any] = {}
    for part in (_data(), _base(rng), _sft(rng), _rankings(), _reward(rng), _rl(rng), _comparison()):
        files |= part
    skipped = tuple(leave_out) or ("\0",)
    root.mkdir(parents=True, exist_ok=True)
    (root / "run.toml").write_text(dump(drawn_run()), encoding="utf-8")
    files = {name: change(name, content) if change else content for name, content in files.items()}
    ids: dict[str, str] = {}
    for path, parents in MADE_FROM.items():
        if not path.endswith("/evaluation"):
            extra = {"statistics": _statistics()} if path == "tokenizer" else {}
            ids[path] = publish_part(root, path, {"content.txt": path}, path.rpartition("/")[2], ids, parents, extra)
    folders = {name.rpartition("/")[0] for name in files if not name.startswith(skipped)}
    for path in sorted(folders):
        held = {n.rpartition("/")[2]: c for n, c in files.items() if n.rpartition("/")[0] == path}
        held = {name: content for name, content in held.items() if not f"{path}/{name}".startswith(skipped)}
        ids[path] = publish_part(root, path, held, path.rpartition("/")[2], ids, MADE_FROM.get(path, ()))
    if not "gates/gates.json".startswith(skipped):
        write_gates(check_gates(read_evaluations(root), drawn_run().gates), root)
    if not "lineage.json".startswith(skipped):
        write_lineage(root)
    for name in skipped:
        if (root / name).is_dir():
            shutil.rmtree(root / name)
        elif name == "run.toml":
            (root / name).unlink()
    return root


def publish_part(
    root: Path,
    path: str,
    files: Mapping[str, Any],
    kind: str = "evaluation",
    ids: Mapping[str, str] | None = None,
    parents: Iterable[str] = (),
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Publishes `files` as the folder `path` of the run; returns its fingerprint."""

    def write(temporary: Path) -> None:
        for name, content in files.items():
            (temporary / name).write_text(_text(name, content), encoding="utf-8", errors="surrogatepass")

    made_from = [ids[parent] for parent in parents] if ids else []
    return publish_folder(root / path, write, kind=kind, parents=made_from, extra=extra).fingerprint


def _text(name: str, content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, dict) and name in VERSIONED:
        content = {"format_version": FORMAT_VERSION, **content}
    if name.endswith(".jsonl"):
        return "".join(json.dumps(line, ensure_ascii=True) + "\n" for line in content)
    return json.dumps(content, ensure_ascii=True)


def interval(mean: float, half: float) -> dict[str, float]:
    """An interval of +- `half`."""
    return {"mean": mean, "low": mean - half, "high": mean + half, "level": 0.95}


def _statistics() -> dict[str, Any]:
    bytes_per_token = {
        "code": {"train": 3.56, "validation": 3.13, "test": 3.2},
        "docstrings": {"train": 3.61, "validation": 3.42, "test": 3.4},
        "comments": {"train": 3.2, "validation": 2.98, "test": 3.0},
    }
    return {"vocab_size": 4096, "bytes_per_token": bytes_per_token}


def _data() -> dict[str, Any]:
    return {
        "data/log/timing.json": {"seconds": 21.4},
        "base/evaluation/mixture.json": {
            "planned": {"code": 0.3, "docstrings": 0.6, "comments": 0.1},
            "drawn": {
                "code": {
                    "rows": 2460,
                    "tokens": 314_880,
                    "share": 0.3,
                    "epochs": 0.21,
                    "documents": 353,
                    "bytes": 4_331_477,
                },
                "docstrings": {
                    "rows": 4921,
                    "tokens": 629_888,
                    "share": 0.6,
                    "epochs": 1.32,
                    "documents": 7615,
                    "bytes": 2_010_502,
                },
                "comments": {
                    "rows": 819,
                    "tokens": 104_832,
                    "share": 0.1,
                    "epochs": 0.39,
                    "documents": 7845,
                    "bytes": 809_627,
                },
            },
        },
        "base/evaluation/rows.json": {"rows": [_row_tokens(first) for first in range(4)]},
        "base/evaluation/loss_references.json": {"uniform": math.log(4096), "unigram": 6.6, "tokens": 8411},
        "base/evaluation/validation.jsonl": [
            {"step": step, "nats_per_token": 4.3 + 4.0 * math.exp(-5 * step / 1025)} for step in (0, 50, 200, 500, 1025)
        ],
        "log/environment.json": {
            "format_version": 1,
            "calls": [
                {
                    "date": "2026-01-02 03:04 UTC",
                    "command": "stategpt run tiny_cpu --out runs/tiny",
                    "cpu": "Some Processor 9000",
                    "cores": 4,
                    "memory_bytes": 16_000_000_000,
                    "system": "Linux x86_64",
                    "python": "3.12.1",
                    "versions": {"stategpt": "0.1.0", "torch": "2.9.0"},
                    "commit": "0123456789ab",
                }
            ],
        },
    }


def _row_tokens(first: int) -> list[dict[str, Any]]:
    """The tokens of one packed row, from document `first` on: EOS d1 ... dn with targets d1 ... dn EOS."""
    found: list[dict[str, Any]] = []
    for number, document in enumerate(ROW_DOCUMENTS[first:] + ROW_DOCUMENTS[:first]):
        tokens = re.findall(r" ?[A-Za-z]{1,7}|\d{1,3}|\n+|\s|[^\w\s]|_", document)
        segment = ["<|endoftext|>", *tokens]
        targets = [*tokens, "<|endoftext|>"]
        found += [
            {"id": i, "text": t, "document": number, "is_end": i == 0, "target": y}
            for i, (t, y) in enumerate(zip(segment, targets, strict=True))
        ]
    return found


def _metrics(
    rng: np.random.Generator, steps: int, every: int, unit: str, start: float, end: float
) -> list[dict[str, Any]]:
    lines = []
    for step in range(every, steps + 1, every):
        decay = math.exp(-5 * step / steps)
        lines.append(
            {
                "step": step,
                "tokens": step * 1024,
                unit: end + (start - end) * decay + float(rng.normal(scale=0.04 * end)),
                "learning_rate": 4e-3 * min(1, step / 40, 1.6 * (1 - step / steps) + 0.02),
                "gradient_norm": 0.8 + float(rng.random()),
                "tokens_per_s": 6000 + 500 * float(rng.random()),
                "elapsed_s": step * 0.17,
            }
        )
    return lines


def _base(rng: np.random.Generator) -> dict[str, Any]:
    stages = {
        0: "\x00 ⁇�ret <|",
        50: " the the self.self, the\n        self",
        200: " value of the name.\n\n    If the",
        500: " number of items in the list, or None if the",
        1025: " current working directory of the given file.",
    }
    sources = {"code": (1.878, 2.032), "docstrings": (2.004, 2.214), "comments": (2.463, 2.53)}
    return {
        "base/log/metrics.jsonl": _metrics(rng, 1025, 5, "loss_nats_per_token", 8.3, 4.1),
        "base/evaluation/samples.jsonl": [
            {"step": step, "prompt": prompt, "text": text + " again" * (draw // 2), "draw": draw}
            for step, text in stages.items()
            for prompt in SAMPLE_PROMPTS
            for draw in range(4)
        ],
        "base/evaluation/evaluation.json": {
            "sources": {s: {"bits_per_byte": b, "kneser_ney_bits_per_byte": k} for s, (b, k) in sources.items()},
            "mixed": {"bits_per_byte": 2.01, "kneser_ney_bits_per_byte": 2.17, "difference": interval(-0.16, 0.04)},
        },
        "base/log/timing.json": {"seconds": 184.2},
    }


def _sft(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "sft/log/metrics.jsonl": _metrics(rng, 360, 5, "loss_nats_per_token", 6.1, 4.2),
        "sft/evaluation/evaluation.json": {
            "samples": 672,
            "ended_share": interval(0.9985, 0.0015),
            "base_ended_share": 0.53,
            "chrf": {"sft": 0.147, "base": 0.115, "prompted_base": 0.138},
            "chrf_shuffled": 0.14,
            "difference_to_base": interval(0.032, 0.007),
            "difference_to_prompted_base": interval(0.009, 0.006),
            "difference_to_shuffled": interval(0.007, 0.005),
            "mentions_subject": {"sft": interval(0.034, 0.014), "reference": 0.56},
            "few_shot_document": FEW_SHOT,
            "training_example": [
                {"text": text, "trained": trained}
                for text, trained in (
                    *(("<|endoftext|>", False), ("<|user|>", False), ("What", False), (" does", False), (" `", False)),
                    *(("queue", False), ("`", False), (" do", False), ("?", False), ("<|assistant|>", False)),
                    *(("Return", True), (" a", True), (" queue", True), (".", True), ("<|endoftext|>", True)),
                )
            ],
            "examples": [
                {
                    "prompt": prompt,
                    "reference": row["reference"],
                    "answers": {k: row[k] for k in ("base", "prompted_base", "sft")},
                }
                for prompt, row in ANSWERS.items()
            ],
        },
        "sft/log/timing.json": {"seconds": 52.0},
    }


def _rankings() -> dict[str, Any]:
    texts = (
        ("Return the number of items in the queue.", (2, 2, 2, 1, 1, 1, 1)),
        ("Return a new queue object.", (2, 2, 2, 1, 0, 1, 0)),
        ("Returns the the name of self._queue", (0, 0, 0, 0, 1, 1, 0)),
        (
            "Get the next value from the stream, or raise <Empty> if there is no more data to read in",
            (0, 2, 2, 1, 1, 0, 0),
        ),
    )
    completions = [
        {
            "text": text,
            "rank": rank,
            "ended": sum(points) > 6,
            "score": sum(points),
            "parts": dict(zip(POINT_NAMES, points, strict=True)),
        }
        for rank, (text, points) in zip((1, 2, 4, 3), texts, strict=True)
    ]
    example = {
        "id": "train-00042",
        "prompt": "What does `queue.Queue.get_nowait` do?",
        "completions": completions,
        "pairs": [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [3, 2]],
        "reference": "Remove and return an item from the queue without blocking.",
    }
    means = dict(zip(POINT_NAMES, (1.9, 1.5, 1.6, 0.9, 0.9, 0.95, 0.2), strict=True))
    return {
        "rankings/evaluation/evaluation.json": {
            "groups": 1600,
            "test_groups": 672,
            "pairs": 5012,
            "ties": 4588,
            "rejected": 0,
            "parts_mean": means,
            "score_mean": 7.95,
            "example": example,
        },
        "rankings/log/timing.json": {"seconds": 41.3},
    }


def _reward(rng: np.random.Generator) -> dict[str, Any]:
    calibration = [
        {
            "margin_low": m - 0.2,
            "margin_high": m + 0.2,
            "pairs": 160,
            "claimed": 1 / (1 + math.exp(-m)),
            "observed": 1 / (1 + math.exp(-0.85 * m)) + float(rng.normal(scale=0.02)),
        }
        for m in np.linspace(0.1, 3.5, 10).tolist()
    ]
    return {
        "reward/log/metrics.jsonl": _metrics(rng, 100, 2, "loss_nats_per_pair", 0.71, 0.42),
        "reward/evaluation/evaluation.json": {
            "pair_accuracy": interval(0.815, 0.018),
            "pairs": 2103,
            "length_only_accuracy": 0.552,
            "length_only_target": 31.0,
            "length_margin": interval(0.263, 0.041),
            "prompts": 672,
            "prompts_with_pairs": 451,
            "calibration": calibration,
            "calibration_slope": 0.87,
            "length_correlation": -0.21,
            "accuracy_by_margin": [
                {"margin": p, "pairs": 500 - 40 * p, "accuracy": 0.7 + 0.035 * p} for p in range(2, 9)
            ],
            "rewards": {
                "demonstrations": rng.normal(0.0, 1.1, size=640).round(3).tolist(),
                "sft": rng.normal(-1.2, 1.6, size=2688).round(3).tolist(),
            },
            "reward_offset": -0.83,
            "example": {
                "prompt": "What does `queue.Queue.get_nowait` do?",
                "completions": [
                    {"text": text, "rank": rank, "ended": ended, "score": score, "reward": reward}
                    for text, rank, ended, score, reward in (
                        ("Return the number of items in the queue.", 1, True, 10, 1.42),
                        ("Return a new queue object.", 2, True, 8, 0.31),
                        ("Returns the the name of self._queue", 3, False, 2, -1.9),
                    )
                ],
            },
        },
        "reward/log/timing.json": {"seconds": 44.8},
    }


def _rl_metrics(rng: np.random.Generator, reward: float, kl: float, entropy: float) -> list[dict[str, Any]]:
    lines = []
    for step in range(1, 76):
        share = 1 - math.exp(-3 * step / 75)
        noise = rng.normal(scale=0.12, size=4)
        lines.append(
            {
                "step": step,
                "tokens": step * 4200,
                "loss_per_completion": float(noise[3]),
                "learning_rate": 4e-4,
                "gradient_norm": 0.9,
                "tokens_per_s": 3900.0,
                "elapsed_s": step * 1.1,
                "reward_mean": -1.2 + (reward + 1.2) * share + float(noise[0]),
                "kl_nats_per_completion": max(0.0, kl * share + float(noise[1])),
                "entropy_nats_per_token": 2.1 + (entropy - 2.1) * share + float(noise[2]) / 3,
                "length_tokens": 13 - 3 * share,
                "ended_share": 1.0,
                "zero_variance_share": 0.02,
            }
        )
    return lines


def _rl(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "rl/log/metrics.jsonl": _rl_metrics(rng, reward=0.9, kl=4.2, entropy=1.35),
        "rl/seed_1/log/metrics.jsonl": _rl_metrics(rng, reward=0.8, kl=4.0, entropy=1.4),
        "rl/seed_2/log/metrics.jsonl": _rl_metrics(rng, reward=0.95, kl=4.3, entropy=1.3),
        "rl/beta_0.04/log/metrics.jsonl": _rl_metrics(rng, reward=1.7, kl=9.5, entropy=1.1),
        "rl/evaluation/completions.jsonl": [
            {
                "step": step,
                "prompt": "<|endoftext|><|user|>What does `queue.Queue` do?<|assistant|>",
                "completions": [
                    {"tokens": [*text.split(" "), "<|endoftext|>"], "weight": weight, "reward": reward}
                    for text, weight, reward in (
                        ("Return the items of the queue.", 1.3, 0.9),
                        ("Return the the queue", -1.4, -2.1),
                        ("Create a queue.", 0.1, 0.2),
                    )
                ],
            }
            for step in (1, 75)
        ],
        "rl/log/timing.json": {"seconds": 96.4},
        "rl/seed_1/log/timing.json": {"seconds": 95.1},
        "rl/seed_2/log/timing.json": {"seconds": 97.2},
        "rl/beta_0.04/log/timing.json": {"seconds": 94.0},
    }


def _repeated(counts: Iterable[int]) -> list[dict[str, Any]]:
    texts = ("Return the current context.", "Return a new object.", "the given name.", "Return the value.", "a string.")
    return [{"text": text, "count": count} for text, count in zip(texts, counts, strict=False)]


def _comparison() -> dict[str, Any]:
    table: Mapping[str, tuple[float, float, float, float, float, float, float]] = {
        # win rate, points, reward, distinct-2, unique, length, ended
        "base": (0.14, 3.9, -3.8, 0.61, 1.0, 31.0, 0.53),
        "prompted_base": (0.36, 6.8, -1.9, 0.49, 0.97, 12.2, 1.0),
        "sft": (0.5, 7.9, -1.2, 0.467, 1.0, 13.1, 0.999),
        "best_of_2": (0.58, 8.4, -0.4, 0.44, 1.0, 12.6, 1.0),
        "best_of_4": (0.65, 8.8, 0.2, 0.41, 0.99, 12.1, 1.0),
        "best_of_8": (0.69, 9.0, 0.6, 0.39, 0.99, 11.8, 1.0),
        "rlhf": (0.62, 8.6, 0.7, 0.259, 0.76, 10.4, 1.0),
        "rlhf_beta_0.04": (0.585, 8.5, 1.6, 0.2, 0.49, 9.8, 1.0),
        "reference": (0.66, 8.9, -1.9, 0.5, 1.0, 11.4, 1.0),
    }
    names = ("score_mean", "reward_mean", "distinct_2", "unique_share", "length_tokens", "ended_share")
    systems: dict[str, dict[str, Any]] = {
        system: dict(zip(names, row[1:], strict=True))
        | {"win_rate_vs_sft": interval(row[0], 0.0 if system == "sft" else 0.029)}
        for system, row in table.items()
    }
    for row in systems.values():
        row["unique_share"] = interval(row["unique_share"], 0.03)
        row["answers"] = 672
    systems["rlhf"] |= {"answers": 2016, "beta": 0.8, "repeated": _repeated((96, 41, 22, 9))}
    systems["rlhf_beta_0.04"] |= {"beta": 0.04, "kl": interval(9.4, 0.8), "repeated": _repeated((90, 78, 30, 12, 11))}
    systems["sft"]["repeated"] = _repeated((5, 3, 2))
    systems["rlhf"]["kl"] = interval(4.1, 0.4)
    systems["rlhf"]["seeds"] = [
        {"stage": stage, **systems["rlhf"], "win_rate_vs_sft": interval(wins, 0.026), "kl": interval(kl, 0.2)}
        for stage, wins, kl in (("rl", 0.62, 4.1), ("rl/seed_1", 0.6, 3.9), ("rl/seed_2", 0.64, 4.3))
    ]
    for n in (2, 4, 8):
        systems[f"best_of_{n}"]["kl_bound"] = math.log(n) - (n - 1) / n
    elo = {system: 1000 + 400 * math.log10(row[0] / (1 - row[0])) for system, row in table.items()}

    def frontier(kls: Iterable[float], reward: float, win: Iterable[float]) -> list[dict[str, Any]]:
        return [
            {
                "step": 15 * i,
                "prompts": 192,
                "kl": interval(kl, kl / 10),
                "reward": interval(-1.2 + reward * math.sqrt(kl), 0.1),
                "win_rate": interval(rate, 0.035),
            }
            for i, (kl, rate) in enumerate(zip(kls, win, strict=True))
        ]

    return {
        "comparison/evaluation/evaluation.json": {
            "prompts": 672,
            "subjects": 518,
            "seeds": 3,
            "against_best_of": {
                str(n): {
                    "wins": interval(0.62 - table[f"best_of_{n}"][0], 0.028),
                    "reward": interval(0.7 - table[f"best_of_{n}"][2], 0.06),
                    "kl_bound": math.log(n) - (n - 1) / n,
                }
                for n in (2, 4, 8)
            },
            "systems": systems,
            "scorer": "some_scorer",
            "distinct_2_bigrams": 5000,
            "against_rlhf": {"rlhf_beta_0.04": {"wins": interval(-0.035, 0.03), "reward": interval(0.9, 0.1)}},
            "elo": {system: interval(rating, 0.0 if system == "sft" else 21) for system, rating in elo.items()},
            "diversity_change": {"distinct_2": interval(-0.208, 0.021), "unique_share": interval(-0.05, 0.018)},
            "frontiers": {
                "rl": frontier((0.0, 0.6, 1.6, 2.7, 3.5, 4.1), 0.95, (0.5, 0.55, 0.58, 0.605, 0.61, 0.62)),
                "rl/beta_0.04": frontier((0.0, 1.1, 3.5, 5.9, 8.0, 9.4), 0.95, (0.5, 0.56, 0.61, 0.615, 0.60, 0.585)),
            },
            "examples": [
                {
                    "prompt": prompt,
                    "answers": {
                        system: {
                            "text": row[system],
                            "score": 3 + len(row[system]) % 8,
                            "reward": len(row[system]) / 40,
                        }
                        for system in (*SYSTEMS, "reference")
                    },
                }
                for prompt, row in ANSWERS.items()
            ],
        },
        "comparison/log/timing.json": {"seconds": 61.0},
    }


if __name__ == "__main__":
    write_run_folder(Path(sys.argv[1]))
