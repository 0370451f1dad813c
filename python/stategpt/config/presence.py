"""Which stages a run has: the sections present in its file are the stages that run; what a present stage needs.

| in the file                              | runs                                                          |
|------------------------------------------|---------------------------------------------------------------|
| `[sources.NAME]`                         | pretrain, from random weights or from the model of `[start]`  |
| `[sft]`, `[rankings]`, `[reward]`        | the stage of that name                                        |
| `[classify]`                             | classify, which needs labeled texts (`data`)                  |
| `[rl]`                                   | rl, and compare: every system on the same prompts             |
| `corpus.source`, or none of a user's data| every stage, as in the recipes                                |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stategpt.config.evaluation import GATE_STAGES
from stategpt.config.run import RunConfig
from stategpt.config.stage_names import STAGES, USUAL_STAGES
from stategpt.errors import ConfigError

ALL_STAGES = tuple(stage.name for stage in STAGES)
"""Names of all stages, in order."""
REWARD_MODEL = "reward_model"
"""Name of the scorer that is the run's own reward model."""


def stages_of(table: Mapping[str, Any]) -> tuple[str, ...]:
    """The stages that run for the sections of a file (nested plain values), in order."""
    if not has_own_data(table):
        return USUAL_STAGES
    return tuple(stage.name for stage in STAGES if stage is STAGES[0] or (stage.section or stage.name) in table)


def has_own_data(table: Mapping[str, Any]) -> bool:
    """Whether a file (nested plain values) names data or a model of the user's."""

    def given(section: str, name: str) -> bool:
        """Whether a section sets a value that is not empty."""
        values = table.get(section)
        return isinstance(values, Mapping) and bool(values.get(name))

    files = (
        ("sft", "data"),
        ("rankings", "data"),
        ("rankings", "prompts"),
        ("rl", "prompts"),
        ("classify", "data"),
        ("start", "model"),
    )
    return bool(table.get("sources")) or any(given(section, name) for section, name in files)


def is_own(run: RunConfig) -> bool:
    """Whether the corpus is built from files that the run names, not by `corpus.source`."""
    prompts = (run.rankings.prompts, run.rl.prompts, run.evaluate.prompts)
    return not run.corpus.source and bool(run.own_data or run.start.model or any(prompts))


def require_complete(run: RunConfig) -> None:
    """Refuses a run in which a stage lacks what it needs.

    Raises:
        ConfigError: names the stage, what is missing and the section that gives it; all that is missing, one a line.
    """
    lacking = list(missing(run))
    if lacking:
        raise ConfigError("; ".join(lacking))


def missing(run: RunConfig) -> Iterator[str]:
    """What the stages of a run need and the settings do not give, each as a sentence with its remedy."""
    stages, whole = run.stages, bool(run.corpus.source)
    if whole and run.own_data:
        yield (
            f"corpus.source = {run.corpus.source!r} builds a whole corpus, and {', '.join(run.own_data)} give data "
            "too; leave out one of them"
        )
    if "pretrain" in stages and not (whole or run.sources):
        yield "pretraining has no documents; add [sources.NAME] with paths, or corpus.source"
    if not (whole or run.sources or run.start.model) and set(stages) - {"prepare"}:
        yield (
            "there is no model to train: add [sources.NAME] with paths (a base model from documents), or [start] with "
            "model = a folder"
        )
    if "sft" in stages and not (whole or run.sft.data):
        yield "[sft] has no conversations; add sft.data = files of chats, or leave the section out"
    if run.lora.rank and not set(run.fine_tuning_stages) & set(stages):
        yield "[lora] adapts what stages after pretraining train, and none of them runs; leave it out"
    if "classify" in stages and not run.classify.data:
        yield "[classify] has no labeled texts; add classify.data = files of them, or leave the section out"
    yield from _missing_of_feedback(run, whole)
    for family in run.gates.required:
        if GATE_STAGES[family] not in stages:
            yield f"gates.required has {family!r}, a promise of the stage {GATE_STAGES[family]}, which does not run"


def _missing_of_feedback(run: RunConfig, whole: bool) -> Iterator[str]:
    """The same for rankings, reward and RL."""
    stages, conversations = run.stages, whole or "sft" in run.stages
    if "rankings" in stages and not run.rankings.data:
        if not run.rankings.scorer:
            yield (
                "[rankings] has neither data nor a scorer; add rankings.data = files of people's rankings, or "
                "rankings.scorer, which ranks completions of the model"
            )
        if not (conversations or run.rankings.prompts):
            yield "[rankings] has no prompts to complete; add rankings.prompts = files, rankings.data or [sft]"
    if "reward" in stages and "rankings" not in stages:
        yield "[reward] has nothing to learn from; add [rankings] with data = files of people's rankings"
    if "rl" in stages:
        if run.rl.scorer == REWARD_MODEL and "reward" not in stages:
            yield "[rl] rewards with the reward model, which is not trained; add [rankings] and [reward], or rl.scorer"
        if not (conversations or run.rl.prompts or "rankings" in stages):
            yield "[rl] has no prompts; add rl.prompts = files, [sft] or [rankings]"


def through(run: RunConfig, stage: str) -> tuple[str, ...]:
    """The stages of a run up to `stage`, in order.

    Raises:
        ConfigError: there is no such stage, or the run does not have it.
    """
    return run.stages[: _position(run, stage, "until") + 1]


def before(run: RunConfig, stage: str) -> tuple[str, ...]:
    """The stages of a run ahead of `stage`, in order; raises as `until`."""
    return run.stages[: _position(run, stage, "from")]


def _position(run: RunConfig, stage: str, option: str) -> int:
    if stage not in run.stages:
        what = "is not among this run's stages" if stage in ALL_STAGES else "is not a stage"
        raise ConfigError(f"--{option} {stage[:100]!a} {what}; give one of {', '.join(run.stages)}")
    return run.stages.index(stage)
