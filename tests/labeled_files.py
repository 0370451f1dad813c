"""Labeled texts as a user has them, and a run on them small enough for seconds. All texts are made up."""

import json
import random
from pathlib import Path
from typing import Any

from stategpt.config import RunConfig, from_dict

_GOOD = ("lovely", "warm", "brilliant", "moving", "funny")
_BAD = ("dull", "awful", "boring", "weak", "clumsy")
_PLAIN = ("film", "story", "actor", "scene", "music", "plot", "camera", "ending")


def labeled_rows(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Texts whose adjectives decide the label; equally many of each."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        words = [draw.choice(_PLAIN) for _ in range(draw.randint(2, 12))]
        for _ in range(3):
            words.insert(draw.randint(0, len(words)), draw.choice((_GOOD, _BAD)[number % 2]))
        rows.append({"text": f"The {' '.join(words)} {number}.", "label": ("positive", "negative")[number % 2]})
    return rows


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def labeled_project(folder: Path, count: int = 120) -> Path:
    """A folder with labeled.jsonl and the same texts as documents.jsonl."""
    rows = labeled_rows(count)
    write_lines(folder / "labeled.jsonl", rows)
    write_lines(folder / "documents.jsonl", [{"text": row["text"]} for row in rows])
    return folder


def small_run(folder: Path, **classify: Any) -> RunConfig:
    """Pretraining and classification on the files of `labeled_project`."""
    table = {
        "sources": {"reviews": {"paths": ["documents.jsonl"], "share": 1.0}},
        "corpus": {"validation_share": 0.1, "test_share": 0.3},
        "tokenizer": {"vocab_size": 300},
        "data": {"row_tokens": 64},
        "model": {
            "vocab_size": 300,
            "depth": 1,
            "width": 32,
            "heads": 2,
            "kv_heads": 1,
            "head_dim": 16,
            "mlp_width": 48,
            "context_tokens": 192,
        },
        "pretrain": {"tokens": 512, "batch_rows": 2, "micro_batch_rows": 2, "sample_tokens": 2},
        "evaluate": {"test_tokens": 256, "bootstrap_resamples": 50},
        "classify": {
            "data": ["labeled.jsonl"],
            "label_counts": [4, 8],
            "seeds": 2,
            "methods": ["full", "lora", "few_shot", "random"],
            "lora_rank": 2,
            "max_tokens": 40,
            "shot_tokens": 24,
            "min_steps": 3,
            "epochs": 1.0,
            "batch_texts": 4,
            "micro_batch_texts": 3,
            "checkpoint_every_steps": 1,
            **classify,
        },
    }
    return from_dict(table, folder)
