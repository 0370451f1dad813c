"""What every stage publishes loads here and in transformers, whatever the shape of the model."""

from __future__ import annotations

import ast
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

import stategpt  # noqa: E402
from stategpt.artifacts import verify  # noqa: E402
from stategpt.config import override  # noqa: E402
from stategpt.data import chat_prompt, reward_sequence  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402

SHAPES = {"Qwen3": {}, "Llama": {"qk_norm": False}, "biased": {"qk_norm": False, "attention_bias": True}}
FILES = ["config.json", "manifest.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


@pytest.mark.parametrize("switches", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("stage", ["base", "sft", "rl"])
def test_a_stage_publishes_a_folder_that_the_next_one_and_transformers_read(
    stage: str, switches: dict[str, bool], inputs: StageContext
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra: dev)")
    model = GPT(replace(inputs.run.model, **switches))
    manifest = inputs.publish(stage, "model", partial(inputs.save_model, model), "config", ())
    folder = inputs.folder.model(stage)
    verify(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*FILES, "chat_template.jinja", "generation_config.json"]
    )
    assert Tokenizer.load(folder / "tokenizer.json").fingerprint == manifest.fingerprints["tokenizer"]
    assert inputs.load_model(stage).config == model.config
    reader = transformers.AutoTokenizer.from_pretrained(folder)
    messages = [{"role": "user", "content": "Why 12345?"}]
    ids = reader.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert ids == chat_prompt(inputs.tok, "Why 12345?").tolist()


def test_the_reward_stage_publishes_a_template_that_ends_in_the_reward_token(inputs: StageContext) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra: dev)")
    inputs.publish("reward", "model", partial(inputs.save_model, RewardModel(GPT(inputs.run.model))), "config", ())
    folder = inputs.folder.model("reward")
    verify(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "chat_template.jinja"])
    reader = transformers.AutoTokenizer.from_pretrained(folder)
    messages = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    answer = [*inputs.tok.encode("So.").tolist(), inputs.control.end_of_text]
    expected = reward_sequence(chat_prompt(inputs.tok, "Why?"), answer, inputs.control)
    assert reader.apply_chat_template(messages, return_dict=True)["input_ids"] == expected.tolist()


def test_every_sampler_of_stages_and_evaluation_has_its_precision(inputs: StageContext) -> None:
    """`evaluate.precision` holds wherever a stage samples; a bare `Engine(model, tok)` would leave it out."""
    package = Path(stategpt.__file__).parent
    found: dict[str, list[bool]] = {}
    for path in sorted([*(package / "stages").glob("*.py"), *(package / "evaluate").glob("*.py")]):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Engine"]
        if made:
            found[path.stem] = [any(word.arg == "precision" for word in call.keywords) for call in made]
    assert found == {"held_out": [True], "context": [True]}
    run = override(inputs.run, {"evaluate.precision": "bfloat16"})
    engine = replace(inputs, run=run).engine(GPT(inputs.run.model))
    assert engine.precision == "bfloat16"
