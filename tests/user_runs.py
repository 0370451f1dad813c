"""Runs of a user's file with settings small enough for a test."""

from pathlib import Path

from stategpt.cli import main

SMALL = """
[sampling]
max_tokens = 6
[evaluate]
test_tokens = 1024
sft_samples = 4
comparison_prompts = 4
frontier_prompts = 4
best_of = [2]
few_shot_examples = 0
bootstrap_resamples = 50
[pretrain]
tokens = 2048
batch_rows = 4
"""
"""Settings after those of the data, the tokenizer and the model's shape."""


def run(project: Path, name: str, text: str, *more: str) -> int:
    """Runs a file `name`.toml of the project, which is `text` and `SMALL`, in the folder `name`; its exit status."""
    (project / f"{name}.toml").write_text(text + SMALL)
    return main(["run", str(project / f"{name}.toml"), "--out", str(project / name), *more])
