"""After stage 4: every system on the same test prompts, for the report and the gates.

stategpt run tiny_cpu --out runs/tiny      # all stages; this one lands in runs/tiny/comparison
"""

from __future__ import annotations

from dataclasses import replace

from stategpt.artifacts import Measurements
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RLConfig, RunConfig
from stategpt.config.run import JUDGE
from stategpt.evaluate import HeldOutComparison, compare_systems
from stategpt.evaluate.records import ComparisonEvaluation, FrontierPoint
from stategpt.stages.context import StageContext
from stategpt.stages.stage import Stage, run_stage


def compare(run: RunConfig, folder: RunFolder) -> None:
    """Answers the comparison prompts with every system of the run; returns at once when that is done."""
    context = StageContext.of(run, folder)
    trained = [stage for stage in ("sft", "reward") if stage in run.stages]
    judges = (f"reward/{JUDGE}",) if run.trains_judge else ()
    models = tuple(folder.model(stage) for stage in ("base", *trained, *judges, *run.rl.folders))
    frontiers = tuple(folder.evaluation(stage) for stage in run.rl.folders)
    read = context.corpus_parts("comparison/evaluation")
    run_stage(context, Stage("comparison", (*models, *frontiers, *read), measure=lambda _: _measure(context)))


def _measure(context: StageContext) -> dict[str, ComparisonEvaluation]:
    run, folder = context.run, context.folder
    corpus = context.corpus()
    scorer, rewarder = (context.scorer(setting, corpus) for setting in ("evaluate.scorer", "rl.scorer"))
    sft, prompts = context.load_model(run.policy), run.evaluate.comparison_prompts
    judge = HeldOutComparison.of(run, corpus, "test", prompts, context.tok, scorer, rewarder, sft, context.chat)
    # Loaded when they are used: one policy in memory at a time.
    seeds = ((stage, context.load_model(stage)) for stage in run.rl.seed_folders)
    betas = ((stage, context.load_model(stage)) for stage in run.rl.beta_folders)
    measured = compare_systems(judge, corpus, context.load_model("base"), seeds, betas)
    return {"evaluation.json": replace(measured, frontiers=_frontiers(folder, run.rl))}


def _frontiers(folder: RunFolder, rl: RLConfig) -> dict[str, tuple[FrontierPoint, ...]]:
    """Reward, wins and KL over training of every policy, by its folder."""
    measurements = Measurements(folder.root)
    return {stage: tuple(measurements.read_lines(stage, "frontier.jsonl", FrontierPoint)) for stage in rl.folders}
