"""Counts what a stage trains: adapters, parts of the weights, or all of them. Needs no torch, so `plan` can count."""

from __future__ import annotations

from dataclasses import replace

from stategpt.config.classify import Method
from stategpt.config.lora import LoRAConfig
from stategpt.config.model import GPTConfig
from stategpt.config.run import RunConfig
from stategpt.config.stages import FineTuneConfig
from stategpt.config.trained import Trained


def trainable_parameters(run: RunConfig, stage: str) -> int:
    """Counts the numbers that a stage of the run trains, heads included; 0 where nothing is trained.

    Of classification those of the method that is published.
    """
    found = trained_in(run, stage)
    return found.numbers if found else 0


def trained_in(run: RunConfig, stage: str) -> Trained | None:
    """Tells what a stage of the run trains, of classification by the published method; None: nothing."""
    if stage == "pretrain":
        return Trained.of(run.model)
    if stage == "classify":
        return trained_by(run, "full")
    return stage_training(run, stage) if stage in run.fine_tuning_stages else None


def stage_training(run: RunConfig, stage: str) -> Trained:
    """Tells what one of `run.fine_tuning_stages` trains; a reward model's head counts."""
    config: FineTuneConfig = getattr(run, stage)
    if stage == "reward":
        return Trained.of(headless(run.model), config.train, run.lora.without_prediction, run.model.width)
    return Trained.of(run.model, config.train, run.lora)


def trained_by(run: RunConfig, method: Method) -> Trained:
    """Tells what a method of classification trains; its adapters are those of [classify].

    Labels that only the data name are counted as two.
    """
    given, shape = run.classify, headless(run.model)
    lora = LoRAConfig(rank=given.lora_rank, alpha=given.lora_alpha) if method == "lora" else LoRAConfig()
    return Trained.of(shape, lora=lora, head=(len(given.labels) or 2) * shape.width)


def headless(model: GPTConfig) -> GPTConfig:
    """The shape of a model that predicts no tokens: without a prediction matrix."""
    return replace(model, tied_embeddings=True)
