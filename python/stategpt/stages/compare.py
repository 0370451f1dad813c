"""After stage 4: every system on the same held-out prompts, for the report and the gates.

stategpt run tiny_cpu --out runs/tiny      # all stages; this one lands in runs/tiny/comparison
"""

from __future__ import annotations

from typing import Any

from stategpt.artifacts import publish_folder, read_lines
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import Run
from stategpt.data import read_library
from stategpt.evaluate import Judge, RewardScorer, compare_systems
from stategpt.model import RewardModel
from stategpt.stages.inputs import Inputs, section_fingerprint, write_json_into

KIND = "comparison"


def compare(run: Run, folder: RunFolder) -> None:
    """Answers the comparison prompts with every system of the run; returns at once when that is done."""
    inputs = Inputs.of(run, folder)
    parents = tuple(inputs.parent(folder.model(stage)).fingerprint for stage in ("base", "sft", "reward", "rl"))
    fingerprint = section_fingerprint(run.seed, run.evaluate, parents=parents)
    if folder.published(folder.comparison, KIND, fingerprint):
        return
    with folder.timed("comparison_timing"):
        library = read_library(folder.corpus)
        scorer = RewardScorer(RewardModel.from_pretrained(folder.model("reward")).to(inputs.device), inputs.tok)
        judge = Judge.of(run, library, inputs.tok, scorer, inputs.load_model("sft"), run.evaluate.comparison_prompts)
        base, rlhf = inputs.load_model("base"), inputs.load_model("rl")
        measured = compare_systems(judge, library, base, rlhf, _frontiers(folder))
    publish_folder(
        folder.comparison,
        lambda temporary: write_json_into(temporary / "evaluation.json", measured),
        kind=KIND,
        fingerprints={"config": fingerprint},
        parents=parents,
    )


def _frontiers(folder: RunFolder) -> dict[str, Any]:
    """Reward, wins and KL over training of the policy and, where there is one, of the low-beta policy."""
    rl = folder.root / "rl"
    logs = {"frontier": rl / "frontier.jsonl", "frontier_low_beta": rl / "low_beta" / "frontier.jsonl"}
    return {name: read_lines(log) for name, log in logs.items() if log.exists()}
