"""Which settings decide which part of a run: the fingerprints of the stages and the settings that a folder locks.

A part is what a stage publishes in one folder. Its fingerprint holds the settings that decide it and nothing else, so
what a finished part was not made from may change: another `rl.beta` leaves the reward model as it is. One table gives
both, so a setting that is accepted is never found to contradict a fingerprint later.

>>> from stategpt.config import RunConfig
>>> sorted(deciding(RunConfig(), "tokenizer"))
['tokenizer.pattern', 'tokenizer.vocab_size']
>>> run = RunConfig()
>>> [decides(run, key, "rl/model") for key in ("rl.beta", "reward.epochs", "rl.log_every_steps")]
[True, True, False]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from stategpt.config.paths import MODELS, PATTERNS
from stategpt.config.run import RunConfig
from stategpt.config.schema import flatten, general_key
from stategpt.config.stage_names import STAGES, StageName

FREE_PREFIXES = ("log_", "checkpoint_", "micro_batch_", "gradient_checkpointing")
"""Names of settings that affect how work is done and shown, never the result (up to float rounding)."""
FREE = ("stages", "corpus.on_change", "corpus.max_rejected_share", "evaluate.max_failed_share")
"""Settings that decide whether something is made, never what."""
FILES = (*PATTERNS, *MODELS, "start.chat", "start.engine")
"""Settings that name files, and what reads them. Not the names decide, but what is in the files, whose hashes corpus
and tokenizer folder hold; the engine is recorded there too, and another one is refused."""
CHECKPOINTS = "checkpoints"
"""Name of the part that holds a stage's unfinished training."""

_READING = (
    *("sft.format", "sft.columns", "rankings.format", "rankings.columns"),
    *("classify.format", "classify.columns"),
)
"""Settings of how files are read: they decide the corpus, and through it what is made from it."""
_CORPUS = ("corpus", "sources", "curate", *_READING)
_NOT_CORPUS = ("sources.NAME.share", "sources.NAME.max_epochs")
_PROMPT_USES = ("rankings", "rl", "evaluate")
CURATION = "curation"
"""Documents that [curate] kept, and a record of each that it removed."""
CONVERSATION_FIT = "data/conversations/fit"
"""Which conversations fit the model, and what of them is trained on."""
PROMPT_FIT = "data/prompts/fit"
"""Which prompts fit the model."""
_FIT_SETTINGS = ("sft.loss_on", "sft.too_long", "sft.row_tokens", "model.context_tokens")

_EVALUATE_READ_BY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "evaluate.test_tokens": ("pretrain",),
        "evaluate.ngram_order": ("pretrain",),
        "evaluate.sft_samples": ("sft",),
        "evaluate.comparison_prompts": ("compare",),
        "evaluate.frontier_prompts": ("rl",),
        "evaluate.best_of": ("compare",),
        "evaluate.scorer": ("rl", "compare"),
        "evaluate.scorer_options": ("rl", "compare"),
        "evaluate.few_shot_examples": ("sft", "compare"),
        "evaluate.examples": ("sft", "compare"),
    }
)
"""Settings of `evaluate` that only some stages' evaluations read; any other decides all of them."""


@dataclass(frozen=True)
class Part:
    """One published folder.

    Attributes:
        folder: its path in the run folder.
        made_from: parts that it is made from: their settings decide it too, and where one of them is made again, so is
            it.
        settings: sections and settings that decide it.
        without: settings of those sections that do not.
    """

    folder: str
    made_from: tuple[str, ...]
    settings: tuple[str, ...]
    without: tuple[str, ...] = ()

    def reads(self, key: str) -> bool:
        """Whether the setting is one of this part's."""
        key = general_key(key)
        if key in FILES or key in FREE or key.rpartition(".")[2].startswith(FREE_PREFIXES):
            return False
        named = any(key == name or key.startswith(f"{name}.") for name in self.settings)
        return named and key not in self.without


def _of_stage(stage: StageName, folder: str, without: tuple[str, ...], asked: tuple[str, ...] = ()) -> Iterator[Part]:
    """The artifact of a stage's folder, its checkpoints and its evaluation, which reads the prompts `asked` too.

    Checkpoints hold what was measured while training too, so settings of that decide them and not the artifact.
    """
    if stage.artifact:
        inside = tuple(
            key for key in stage.measured_with if any(key.startswith(f"{section}.") for section in stage.settings)
        )
        yield Part(f"{folder}/{stage.artifact}", stage.made_from, stage.settings, (*without, *inside))
    if stage.artifact == "model":
        settings = (*stage.settings, *stage.measured_with)
        yield Part(f"{folder}/{CHECKPOINTS}", stage.made_from, settings, without)
    if stage.artifact == "records":
        yield Part(f"{folder}/evaluation", (f"{folder}/records", *asked), ())
    else:
        unread = tuple(key for key, readers in _EVALUATE_READ_BY.items() if stage.name not in readers)
        made_from = (*((f"{folder}/{stage.artifact}",) if stage.artifact else stage.made_from), *asked)
        yield Part(f"{folder}/evaluation", made_from, ("evaluate", *stage.evaluated_with), unread)


def _in_run(run: RunConfig, stage: StageName) -> StageName:
    """The stage as this run has it: made from the parts that are there; people's rankings from the corpus alone."""
    if stage.name == "rankings" and run.rankings.data:
        divided = ("seed", "rankings.judge_share", "evaluate.scorer") if run.trains_judge else ()
        return replace(stage, made_from=("corpus/rankings",), settings=divided)
    made_from = [re.sub("^sft/", f"{run.policy}/", part) for part in stage.made_from]
    if stage.name in ("rl", "compare") and run.decides_wins == "rankings.scorer":
        decide = ("rankings.scorer", "rankings.scorer_options")
        stage = replace(
            stage,
            measured_with=(*stage.measured_with, *decide) if stage.artifact else (),
            evaluated_with=(*stage.evaluated_with, *decide),
        )
    made_from += _asked(run, stage.asks)
    if stage.name == "pretrain" and run.start.model:
        made_from.append(start_part(run))
    if "reward" not in run.stages:
        made_from = [part for part in made_from if not part.startswith("reward/")]
    if stage.name == "rl" and run.trains_judge:  # it measures the frontier
        made_from.append("reward/judge/model")
    return replace(stage, made_from=tuple(made_from))


def _asked(run: RunConfig, purposes: tuple[str, ...]) -> tuple[str, ...]:
    """Parts of the corpus that prompts for these purposes come from: those that `data.prompts.prompts_of` may read."""
    given = {use: f"corpus/prompts/{use}" for use in _PROMPT_USES if getattr(run, use).prompts}
    found = [given[purpose] for purpose in purposes if purpose in given]
    if purposes and not (run.corpus.source or run.sft.data):  # else those of the conversations serve
        found += [given[use] for use in ("rl", "rankings") if use in given]
        found += ["corpus/rankings"] if run.rankings.data else []
    elif purposes:
        found.append("corpus/conversations")
    return tuple(dict.fromkeys(found))


def _of_corpus(run: RunConfig) -> Iterator[Part]:
    """The corpus and its parts (`data.corpus.PARTS`) that the run has."""
    if run.curate.is_active:
        yield Part(CURATION, (), ("curate", "sources"), _NOT_CORPUS)
    yield Part("corpus", (), _CORPUS, _NOT_CORPUS)
    names = ["documents", "conversations", *(["rankings"] if run.rankings.data else [])]
    names += [f"prompts/{use}" for use in _PROMPT_USES if getattr(run, use).prompts]
    names += ["labels"] if run.classify.data else []
    for name in names:
        yield Part(f"corpus/{name}", ("corpus",), ())


def start_part(run: RunConfig) -> str:
    """Where a run keeps the model that it starts from: as its base model, or apart where pretraining continues it."""
    return "start/model" if "pretrain" in run.stages else "base/model"


def parts_of(run: RunConfig) -> dict[str, Part]:
    """Every part of a run by its folder, in the order of the work."""
    parts = list(_of_corpus(run))
    prompts = tuple(part.folder for part in parts if part.folder.startswith("corpus/prompts/"))
    if run.start.model:  # its content decides, which the fingerprint of its manifest holds
        parts += [Part("tokenizer", (), ()), Part(start_part(run), (), ())]
    else:
        parts.append(Part("tokenizer", ("corpus/documents",), ("tokenizer",)))
    parts.append(Part(CONVERSATION_FIT, ("tokenizer", "corpus/conversations"), _FIT_SETTINGS))
    parts.append(Part(PROMPT_FIT, ("tokenizer", *prompts), ("model.context_tokens",)))
    for stage in (_in_run(run, stage) for stage in STAGES[1:] if stage.name in run.stages):
        if stage.name == "rl":
            for folder in run.rl.folders:
                beta = "rl.beta" if folder in run.rl.beta_folders else "rl.extra_betas"
                others = dict.fromkeys(("rl.seeds", "rl.extra_betas", beta))  # other policies change nothing of one
                parts.extend(_of_stage(stage, folder, tuple(others)))
        else:
            asked = _asked(run, stage.evaluated_asking)
            if stage.name == "rankings" and run.rankings.data:  # which completions are the same tokens
                asked = ("tokenizer",)
            parts.extend(_of_stage(stage, stage.folder, _READING, asked))
        if stage.name == "reward" and run.trains_judge:
            parts.extend(_of_stage(stage, "reward/judge", _READING))
    return {part.folder: part for part in parts}


def decides(run: RunConfig, key: str, folder: str) -> bool:
    """Whether the setting decides the part, by itself or through what it is made from."""
    return _decides(parts_of(run), key, folder)


def _decides(parts: Mapping[str, Part], key: str, folder: str) -> bool:
    part = parts[folder]
    return part.reads(key) or any(_decides(parts, key, parent) for parent in part.made_from)


def deciding(run: RunConfig, folder: str) -> dict[str, Any]:
    """The part's own settings with their values, dotted key -> value; those of its parents decide it through them."""
    part = parts_of(run)[folder]
    return {key: value for key, value in flatten(run).items() if part.reads(key)}
