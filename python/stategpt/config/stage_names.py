"""The stages of a run: names, folders, titles, and the settings that decide each. The one place that lists them.

Pipeline, planner, fingerprints, report, `chat` and the tests read this table; `stategpt.stages` holds a module of each
name. A new stage is such a module, its section in `config.run.RunConfig`, and a line here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StageName:
    """One stage.

    Attributes:
        name: module in `stategpt.stages`, and its section in the config if it has one.
        folder: its folder in the run folder.
        title: what it is called on the terminal and in the report.
        label: its name in tables, where space is short.
        section: section of a user's file that makes it run, where that has not its name.
        artifact: what it publishes in its folder: "model", "records", or "" for measurements only.
        made_from: parts (`folder/artifact`) of earlier stages and of the corpus that its artifact is made from. What
            prompts a run reads depends on its files: `config.parts` adds those.
        asks: purposes (`data.prompts`) of the prompts that its artifact is made with.
        evaluated_asking: those of the prompts that only its evaluation reads.
        settings: sections and settings that decide its artifact.
        measured_with: settings that decide only what is measured while it trains.
        evaluated_with: settings, besides those of `evaluate`, that decide what is measured on its artifact.
        chat: whether `stategpt chat` can talk to its model.
        is_extra: whether it runs only where its section is given: it is no step from documents to an assistant.
    """

    name: str
    folder: str
    title: str
    label: str
    section: str = ""
    artifact: str = ""
    made_from: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    evaluated_asking: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    measured_with: tuple[str, ...] = ()
    evaluated_with: tuple[str, ...] = ()
    chat: bool = False
    is_extra: bool = False


_SAMPLES = ("pretrain.sample_at", "pretrain.sample_prompts", "pretrain.sample_tokens")
_SAMPLED = ("sampling", "evaluate.precision")

STAGES = (
    StageName("prepare", "data", "corpus, tokenizer, shards", "data"),
    StageName(
        "pretrain",
        "base",
        "pretraining",
        "base",
        section="sources",
        artifact="model",
        made_from=("tokenizer", "corpus/documents"),
        settings=("seed", "model", "data", "pretrain", "sources.NAME.share", "sources.NAME.max_epochs"),
        measured_with=(*_SAMPLES, "evaluate.precision"),
        evaluated_with=_SAMPLES,
        chat=True,
    ),
    StageName(
        "classify",
        "classify",
        "classification",
        "classify",
        artifact="model",
        made_from=("base/model", "corpus/labels"),
        settings=("seed", "classify"),
        is_extra=True,
    ),
    StageName(
        "sft",
        "sft",
        "supervised fine-tuning",
        "SFT",
        artifact="model",
        made_from=("base/model", "corpus/conversations"),
        evaluated_asking=("evaluate",),
        settings=("seed", "sft", "lora"),
        evaluated_with=("sampling",),
        chat=True,
    ),
    StageName(
        "rankings",
        "rankings",
        "rankings",
        "rankings",
        artifact="records",
        made_from=("sft/model",),
        asks=("rankings",),
        settings=("seed", "rankings", *_SAMPLED),
    ),
    StageName(
        "reward",
        "reward",
        "reward modeling",
        "reward",
        artifact="model",
        made_from=("sft/model", "rankings/records", "corpus/conversations"),
        settings=("seed", "reward", "lora"),
    ),
    StageName(
        "rl",
        "rl",
        "reinforcement learning",
        "RLHF",
        artifact="model",
        made_from=("sft/model", "reward/model"),
        asks=("rl", "evaluate"),
        settings=("seed", "rl", "lora", *_SAMPLED),
        measured_with=(
            *_SAMPLED,
            "rl.evaluate_every_steps",
            "evaluate.frontier_prompts",
            "evaluate.seed",
            "evaluate.scorer",
            "evaluate.scorer_options",
        ),
        evaluated_with=("sampling", "rl.evaluate_every_steps"),
        chat=True,
    ),
    StageName(
        "compare",
        "comparison",
        "comparison",
        "comparison",
        section="rl",
        made_from=("rl/evaluation", "corpus/conversations"),
        evaluated_asking=("evaluate",),
        evaluated_with=("seed", "sampling", "rl.seeds", "rl.extra_betas"),
    ),
)
"""In the talk's order."""

USUAL_STAGES = tuple(stage.name for stage in STAGES if not stage.is_extra)
"""Names of the stages that run where nothing says which."""

STAGE_OF = {stage.name: stage for stage in STAGES}
"""Each stage by its name."""


def stage_of_folder(folder: str) -> StageName:
    """The stage that publishes in `folder`, also in one below its own: `rl/seed_1` belongs to `rl`."""
    return next(stage for stage in STAGES if folder.partition("/")[0] == stage.folder)


def folder_label(folder: str) -> str:
    """A folder's name in tables and progress lines: rl/seed_1 -> "rl, seed 1"."""
    return folder.replace("/", ", ").replace("_", " ")


def folder_title(folder: str) -> str:
    """What a stage's folder is called in the report: rl/seed_1 -> "reinforcement learning, seed 1"."""
    _, _, variant = folder.partition("/")
    title = stage_of_folder(folder).title
    return f"{title}, {variant.replace('_', ' ')}" if variant else title
