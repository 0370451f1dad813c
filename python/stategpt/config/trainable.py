"""Counts what a stage trains: adapters, parts of the weights, or all of them. Needs no torch, so `plan` can count."""

from __future__ import annotations

from dataclasses import replace

from stategpt.config.architecture import NORM_VECTORS
from stategpt.config.lora import LoRAConfig, last_layers, layers_of, linear_shapes, matches
from stategpt.config.model import GPTConfig
from stategpt.config.run import RunConfig
from stategpt.config.stages import FineTuneConfig


def trainable_parameters(run: RunConfig, stage: str) -> int:
    """Counts the numbers that a stage of the run trains, a reward model's head included; 0 where nothing is trained."""
    config = getattr(run, stage, None)
    if not isinstance(config, FineTuneConfig):
        return run.model.parameters if stage == "pretrain" else 0
    if stage != "reward":
        return trained_of(run.model, config.train, run.lora)
    shape = replace(run.model, tied_embeddings=True)  # it predicts no tokens
    return trained_of(shape, config.train, run.lora.without_prediction) + run.model.width


def adapter_parameters(model: GPTConfig, lora: LoRAConfig) -> int:
    """Numbers in the adapters of a model: rank (inputs + outputs) a layer, with DoRA one for each output more."""
    total = 0
    for name, (outputs, inputs) in linear_shapes(model).items():
        for layer in layers_of(model, name):
            if matches(layer, lora.targets):
                total += lora.rank * (inputs + outputs) + (outputs if lora.dora else 0)
    return total


def trained_of(model: GPTConfig, train: str, lora: LoRAConfig) -> int:
    """Numbers of a GPT that a stage trains, heads aside."""
    if lora.rank:
        return adapter_parameters(model, lora)
    norm = NORM_VECTORS[model.architecture.norm] * model.width
    layers = last_layers(train)
    if layers is not None:
        return layers * model.block_parameters + norm
    if train == "all":
        return model.parameters
    prediction = 0 if model.tied_embeddings else model.vocab_size * model.width
    return model.depth * model.block_parameters + norm + prediction
