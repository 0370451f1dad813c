"""Which settings decide which part of a run: the fingerprints of the stages and the settings that a folder locks.

A part is what a stage publishes in one folder. Its fingerprint holds the settings that decide it and nothing else, so
what a finished part was not made from may change: another `rl.beta` leaves the reward model as it is. One table gives
both, so a setting that is accepted is never found to contradict a fingerprint later.

>>> from stategpt.config import RunConfig
>>> sorted(deciding(RunConfig(), "tokenizer"))
['tokenizer.pattern', 'tokenizer.vocab_size']
>>> decides("rl.beta", "reward/model"), decides("reward.epochs", "rl/model"), decides("rl.log_every_steps", "rl/model")
(False, True, False)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from stategpt.config.run import RunConfig
from stategpt.config.schema import flatten
from stategpt.config.stages import LOW_BETA, RL_FOLDERS

FREE_PREFIXES = ("log_", "checkpoint_", "micro_batch_")
"""Settings of these names decide how work is done and shown, never what comes out (up to float rounding)."""
CHECKPOINTS = "checkpoints"
"""Name of the part of a stage that is trained so far and not finished."""

_SAMPLES = ("pretrain.sample_at", "pretrain.sample_prompts", "pretrain.sample_tokens")
_SAMPLED = ("sampling", "evaluate.precision")
_FRONTIER = (*_SAMPLED, "rl.evaluate_every_steps", "evaluate.frontier_prompts", "evaluate.seed")

_READ_BY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "evaluate.test_tokens": ("base",),
        "evaluate.ngram_order": ("base",),
        "evaluate.sft_samples": ("sft",),
        "evaluate.comparison_prompts": ("comparison",),
        "evaluate.frontier_prompts": RL_FOLDERS,
        "evaluate.best_of": ("comparison",),
        "evaluate.few_shot_examples": ("sft", "comparison"),
        "evaluate.examples": ("sft", "comparison"),
    }
)
"""Settings of `evaluate` that only some stages' evaluations read; any other decides all of them."""


@dataclass(frozen=True)
class Part:
    """One published folder.

    Attributes:
        folder: its path in the run folder.
        made_from: parts that it is made from; their settings decide it too.
        settings: sections and settings that decide it.
        without: settings of those sections that do not.
    """

    folder: str
    made_from: tuple[str, ...]
    settings: tuple[str, ...]
    without: tuple[str, ...] = ()

    def reads(self, key: str) -> bool:
        """Whether the setting is one of its own."""
        named = any(key == name or key.startswith(f"{name}.") for name in self.settings)
        return named and key not in self.without and not key.rpartition(".")[2].startswith(FREE_PREFIXES)


def _trained(stage: str, made_from: tuple[str, ...], settings: tuple[str, ...], *without: str) -> tuple[Part, ...]:
    """The stage's model, and its checkpoints: they hold what was measured in training too, which `without` decides."""
    measured = {"base": (*_SAMPLES, "evaluate.precision")}.get(stage, _FRONTIER if stage in RL_FOLDERS else ())
    inside = tuple(name for name in measured if any(name.startswith(f"{section}.") for section in settings))
    return (
        Part(f"{stage}/model", made_from, settings, (*without, *inside)),
        Part(f"{stage}/{CHECKPOINTS}", made_from, (*settings, *measured), without),
    )


def _evaluated(stage: str, *more: str, made_from: tuple[str, ...] = ()) -> Part:
    others = tuple(key for key, readers in _READ_BY.items() if stage not in readers)
    return Part(f"{stage}/evaluation", made_from or (f"{stage}/model",), ("evaluate", *more), others)


def _policy(stage: str) -> tuple[Part, ...]:
    """How many other policies there are changes nothing of one."""
    others = ("rl.seeds", "rl.beta" if stage == LOW_BETA else "rl.low_beta")
    return (
        *_trained(stage, ("sft/model", "reward/model"), ("seed", "rl", *_SAMPLED), *others),
        _evaluated(stage, "sampling", "rl.evaluate_every_steps"),
    )


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        part.folder: part
        for part in (
            Part("corpus", (), ("corpus",)),
            Part("tokenizer", ("corpus",), ("tokenizer",)),
            *_trained("base", ("tokenizer",), ("seed", "model", "data", "pretrain")),
            _evaluated("base", *_SAMPLES),
            *_trained("sft", ("base/model",), ("seed", "sft")),
            _evaluated("sft", "sampling"),
            Part("rankings/records", ("sft/model",), ("seed", "rankings", *_SAMPLED)),
            Part("rankings/evaluation", ("rankings/records",), ()),
            *_trained("reward", ("sft/model", "rankings/records"), ("seed", "reward")),
            _evaluated("reward"),
            *(part for stage in RL_FOLDERS for part in _policy(stage)),
            _evaluated("comparison", "seed", "sampling", "rl.seeds", "rl.low_beta", made_from=("rl/evaluation",)),
        )
    }
)
"""In the order of the work."""


def decides(key: str, folder: str) -> bool:
    """Whether the setting decides the part, by itself or through what it is made from."""
    part = PARTS[folder]
    return part.reads(key) or any(decides(key, parent) for parent in part.made_from)


def deciding(run: RunConfig, folder: str) -> dict[str, Any]:
    """The part's own settings with their values, dotted key -> value; those of its parents decide it through them."""
    return {key: value for key, value in flatten(run).items() if PARTS[folder].reads(key)}
