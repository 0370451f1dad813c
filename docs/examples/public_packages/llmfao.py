"""Leave one prompt out, on the votes of 124 people on answers to 13 prompts (LLMFAO). Needs stategpt[train].

    python llmfao.py runs/reviews downloads --out llmfao.json

The first folder is a run with an SFT model, from which each reward model starts; the second one holds
llmfao-crowd-comparisons.csv, llmfao-results.jsonl and llmfao-prompts.jsonl (github.com/dustalov/llmfao, CC BY 4.0).
Nothing of a prompt is seen by the model that is measured on it. The interval is over 13 prompts, so it is wide.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import torch

import stategpt as sg
from stategpt.data.formats import read_votes
from stategpt.stages.leave_one_out import Fold, LeaveOneOut, leave_one_out


def shown(fold: Fold) -> str:
    """A line about one prompt."""
    question = " ".join(fold.question.split())[:60]
    return f"{fold.accuracy:.3f} (length only {fold.length_only:.3f}) on {fold.pairs:4} pairs  {question}"


def summary(found: LeaveOneOut) -> str:
    """What was measured on all pairs, with 95 % intervals over prompts."""
    parts = {"accuracy": found.accuracy, "length only": found.length_only, "difference": found.length_margin}
    said = [f"{name} {each.mean:.3f} ({each.low:.3f} to {each.high:.3f})" for name, each in parts.items()]
    return f"{sum(fold.pairs for fold in found.folds):,} pairs of {len(found.folds)} prompts: {', '.join(said)}"


def main() -> None:
    """Reads the arguments, trains a reward model for each prompt and writes what it does on it."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("votes", type=Path, help="folder with the three files of LLMFAO")
    parser.add_argument(
        "--epochs", type=float, default=1.0, help="passes over the other prompts (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("llmfao.json"), help="what is written (default: %(default)s)")
    given = parser.parse_args()
    run = sg.config.load(given.run / "run.toml")
    run = dataclasses.replace(run, reward=dataclasses.replace(run.reward, epochs=given.epochs))
    files = ("llmfao-crowd-comparisons.csv", "llmfao-results.jsonl", "llmfao-prompts.jsonl")
    rankings = read_votes(*(given.votes / name for name in files))
    print(rankings.summary())
    model = sg.GPT.from_pretrained(given.run / "sft" / "model", torch.float32)
    tok = sg.Tokenizer.load(given.run / "tokenizer" / "tokenizer.json")
    found = leave_one_out(run, model, tok, rankings)
    print("\n".join(shown(fold) for fold in found.folds))
    print(summary(found))
    written = {"epochs": given.epochs, "rankings": rankings.summary(), **dataclasses.asdict(found)}
    given.out.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
