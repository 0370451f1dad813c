"""Leave one prompt out, on the votes of 124 people on answers to 13 prompts (LLMFAO). Needs stategpt[train].

    python llmfao.py runs/reviews downloads --out llmfao.json

The first folder is a run, from whose SFT model each reward model starts, or from the run's start model if it has none
(`smollm2_lora/preferences.toml`); its `[reward]` and `[lora]` say how each is trained. The second one holds
llmfao-crowd-comparisons.csv, llmfao-results.jsonl and llmfao-prompts.jsonl (github.com/dustalov/llmfao, CC BY 4.0).
Nothing of a prompt is seen by the model that is measured on it. The interval is over 13 prompts, so it is wide.

A large model reads 13 times all pairs: `--pairs` and `--tokens` keep a draw of the shorter ones.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
from pathlib import Path

import torch

import stategpt as sg
from stategpt.artifacts.run_folder import RunFolder
from stategpt.data import RankedGroup, Rankings
from stategpt.data.formats import read_votes
from stategpt.data.groups import group_of
from stategpt.stages.chat_format import run_chat, run_tokenizer
from stategpt.stages.leave_one_out import Fold, LeaveOneOut, leave_one_out
from stategpt.tokenizer import AnyTokenizer


def shown(fold: Fold) -> str:
    """A line about one prompt."""
    question = " ".join(fold.question.split())[:60]
    return f"{fold.accuracy:.3f} (length only {fold.length_only:.3f}) on {fold.pairs:4} pairs  {question}"


def summary(found: LeaveOneOut) -> str:
    """What was measured on all pairs, with 95 % intervals over prompts."""
    parts = {"accuracy": found.accuracy, "length only": found.length_only, "difference": found.length_margin}
    said = [f"{name} {each.mean:.3f} ({each.low:.3f} to {each.high:.3f})" for name, each in parts.items()]
    return f"{sum(fold.pairs for fold in found.folds):,} pairs of {len(found.folds)} prompts: {', '.join(said)}"


def drawn(rankings: Rankings, tok: AnyTokenizer, pairs: int | None, tokens: int | None, seed: int) -> Rankings:
    """At most `pairs` records with a clear pair of each prompt, whose answers have at most `tokens` tokens."""
    by_prompt: dict[str, list[RankedGroup]] = {}
    for group in rankings.groups:
        short = tokens is None or max(map(tok.count, group.completions)) <= tokens
        if short and len(group.pairs):
            by_prompt.setdefault(group_of(group), []).append(group)
    if not by_prompt:
        sys.exit(f"no pair has two answers of at most {tokens:,} tokens; most need --tokens 384")
    choose = random.Random(seed)
    kept = [choose.sample(found, min(len(found), pairs or len(found))) for found in by_prompt.values()]
    return Rankings(tuple(group for found in kept for group in found), rankings.rejected)


def main() -> None:
    """Reads the arguments, trains a reward model for each prompt and writes what it does on it."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("votes", type=Path, help="folder with the three files of LLMFAO")
    parser.add_argument(
        "--epochs", type=float, default=1.0, help="passes over the other prompts (default: %(default)s)"
    )
    parser.add_argument("--pairs", type=int, help="most pairs of a prompt, drawn by the run's seed (default: all)")
    parser.add_argument("--tokens", type=int, help="leave out longer answers (default: what the context holds)")
    parser.add_argument("--out", type=Path, default=Path("llmfao.json"), help="what is written (default: %(default)s)")
    given = parser.parse_args()
    run = sg.config.load(given.run / "run.toml")
    run = dataclasses.replace(run, reward=dataclasses.replace(run.reward, epochs=given.epochs))
    files = ("llmfao-crowd-comparisons.csv", "llmfao-results.jsonl", "llmfao-prompts.jsonl")
    rankings = read_votes(*(given.votes / name for name in files))
    print(rankings.summary())
    folder = RunFolder(given.run)
    tok = run_tokenizer(folder)
    rankings = drawn(rankings, tok, given.pairs, given.tokens, run.seed)
    stage = "sft" if (given.run / "sft" / "model").is_dir() else "base"
    model = sg.GPT.from_pretrained(given.run / stage / "model", torch.float32)
    found = leave_one_out(run, model, tok, rankings, run_chat(folder, tok))
    print("\n".join(shown(fold) for fold in found.folds))
    print(summary(found))
    limits = {"epochs": given.epochs, "pairs": given.pairs, "tokens": given.tokens}
    written = {**limits, "rankings": rankings.summary(), **dataclasses.asdict(found)}
    given.out.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
