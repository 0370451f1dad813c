"""After stage 4: every system on the same test prompts, for the report and the gates.

stategpt run tiny_cpu --out runs/tiny      # all stages; this one lands in runs/tiny/comparison
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stategpt.artifacts import Measurements
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.data.sources.python_library import read_library
from stategpt.evaluate import HeldOutComparison, RewardScorer, compare_systems
from stategpt.evaluate.records import FrontierPoint
from stategpt.model import RewardModel
from stategpt.stages.context import StageContext, part_fingerprint


def compare(run: RunConfig, folder: RunFolder) -> None:
    """Answers the comparison prompts with every system of the run; returns at once when that is done."""
    inputs = StageContext.of(run, folder)
    made_from = [folder.model(stage) for stage in ("base", "sft", "reward", *run.rl.seed_folders)]
    made_from += [folder.evaluation(stage) for stage in run.rl.folders]
    parents = tuple(inputs.parent(artifact).fingerprint for artifact in made_from)
    fingerprint = part_fingerprint(run, "comparison/evaluation", parents)
    if not inputs.is_measured("comparison", fingerprint):
        with folder.timed("comparison"):
            library = read_library(folder.corpus)
            scorer = RewardScorer(RewardModel.from_pretrained(folder.model("reward")).to(inputs.device), inputs.tok)
            sft, prompts = inputs.load_model("sft"), run.evaluate.comparison_prompts
            judge = HeldOutComparison.of(run, library, "test", prompts, inputs.tok, scorer, sft)
            policies = ((stage, inputs.load_model(stage)) for stage in run.rl.seed_folders)  # one in memory at a time
            measured = compare_systems(judge, library, inputs.load_model("base"), policies)
            measured = replace(measured, frontiers=_frontiers(folder, run.rl.folders))
            inputs.publish_evaluation("comparison", fingerprint, parents, {"evaluation.json": measured})
    folder.close("comparison", fingerprint, (inputs.parent(folder.evaluation("comparison")).fingerprint,))


def _frontiers(folder: RunFolder, stages: Sequence[str]) -> dict[str, tuple[FrontierPoint, ...]]:
    """Reward, wins and KL over training of every policy, by its folder."""
    measurements = Measurements(folder.root)
    return {stage: tuple(measurements.read_lines(stage, "frontier.jsonl", FrontierPoint)) for stage in stages}
