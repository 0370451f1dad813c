"""Stages with adapters or frozen parts: what is trained, kept, resumed and published, and what RL's reference is."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from paged_decoding import Decoding  # noqa: E402
from stategpt.artifacts import RunFolder, read_lines, verify  # noqa: E402
from stategpt.config import RunConfig  # noqa: E402
from stategpt.config.dial import LORA_RATE_FACTOR, resolved_optim  # noqa: E402
from stategpt.config.lora import BaseFormat, LoRAConfig  # noqa: E402
from stategpt.config.trainable import trainable_parameters  # noqa: E402
from stategpt.data import write_shards  # noqa: E402
from stategpt.data.corpus import CONVERSATIONS, Corpus  # noqa: E402
from stategpt.model import GPT, RewardModel, load_adapter  # noqa: E402
from stategpt.model.lora import lora, lora_layers  # noqa: E402
from stategpt.model.parameter_groups import parameter_groups  # noqa: E402
from stategpt.model.quantize import QuantizedLinear, quantize  # noqa: E402
from stategpt.stages import reward as reward_stage  # noqa: E402
from stategpt.stages import rl as rl_stage  # noqa: E402
from stategpt.stages import sft as sft_stage  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.stages.fine_tuning import FineTuning  # noqa: E402
from stategpt.stages.rl import rl  # noqa: E402

ADAPTED = LoRAConfig(rank=4, dropout=0.1)


@pytest.fixture
def started(recipe: RunConfig, before_rl: RunFolder, corpus: Corpus) -> StageContext:
    """A run folder with a base model and the shards of conversations, and adapters in the settings."""
    run = replace(recipe, lora=ADAPTED, sft=replace(recipe.sft, checkpoint_every_steps=2))
    context = StageContext.of(run, before_rl)
    write_shards(corpus.conversations["train"], context.tok, before_rl.shards(CONVERSATIONS, "train"))
    for name in ("model.safetensors", "manifest.json"):
        assert (before_rl.model("base") / name).exists()
    return context


def _with(context: StageContext, **settings: object) -> StageContext:
    return replace(context, run=replace(context.run, **settings))


def _base(context: StageContext, name: str = "base") -> GPT:
    return GPT.from_pretrained(context.folder.model(name))


def _changed(model: torch.nn.Module, base: torch.nn.Module) -> set[str]:
    before = dict(base.named_parameters())
    return {name for name, each in model.named_parameters() if not torch.equal(each, before[name])}


def test_sft_publishes_adapters_beside_the_merged_model(started: StageContext) -> None:
    model = sft_stage._train(started, "b3:sft")
    base, folder = _base(started), started.folder.root / "sft" / "adapter"
    linear = {f"layers.{n}.{part}_proj.weight" for n in range(base.config.depth) for part in ("self_attn.q", "mlp.up")}
    changed = _changed(model, base)
    assert linear <= changed
    assert all(name.endswith("_proj.weight") for name in changed), "norms and embeddings are frozen"
    assert verify(folder, kind="adapter").fingerprints["config"] == "b3:sft"
    again = load_adapter(base, folder)
    ids = torch.arange(12)[None]
    with torch.inference_mode():
        ours, theirs = (Decoding(each.eval())(ids) for each in (model, again))
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert len(list(lora_layers(again))) == 7 * base.config.depth


def test_checkpoints_hold_what_is_trained_and_nothing_of_the_base(started: StageContext) -> None:
    sft_stage._train(started, "b3:sft")
    (checkpoint, *_) = sorted((started.folder.root / "sft" / "checkpoints").iterdir(), reverse=True)
    with safe_open(checkpoint / "model.safetensors", "pt") as file:
        weights = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    with safe_open(checkpoint / "optimizer.safetensors", "pt") as file:
        state = set(file.keys())
    assert all(".lora_A" in name or ".lora_B" in name for name in weights)
    assert all(".lora_A" in name or ".lora_B" in name for name in state)
    numbers = sum(torch.Size(shape).numel() for shape in weights.values())
    assert numbers == trainable_parameters(started.run, "sft")
    held = sum(path.stat().st_size for path in checkpoint.iterdir())
    full = (started.folder.model("base") / "model.safetensors").stat().st_size
    assert 12 * numbers < held < 12 * numbers + 64_000 < full


RESUMED = """
import os, signal, sys
from pathlib import Path
import torch
from stategpt.artifacts import RunFolder
from stategpt.config import load
from stategpt.stages import sft
from stategpt.stages.context import StageContext
from stategpt.train import checkpoint, loop
context = StageContext.of(load(Path(sys.argv[1])), RunFolder(Path(sys.argv[2])))
save, killed_at = loop.save_checkpoint, int(sys.argv[3])
def killing(folder, model, optimizer, state, *rest):
    path = save(folder, model, optimizer, state, *rest)
    if state.step == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return path
loop.save_checkpoint = killing
sft._train(context, "b3:sft").save_pretrained(Path(sys.argv[2]) / "result")
"""


def test_a_killed_run_resumes_with_the_same_bits(started: StageContext, tmp_path: Path) -> None:
    from stategpt.config import dump

    settings, root = tmp_path / "run.toml", started.folder.root
    settings.write_text(dump(started.run))
    straight = sft_stage._train(started, "b3:sft")
    adapter = (root / "sft" / "adapter" / "adapter_model.safetensors").read_bytes()
    for path in (root / "sft" / "checkpoints", root / "sft" / "adapter"):
        subprocess.run(["rm", "-r", str(path)], check=True)
    (root / "sft" / "metrics.jsonl").unlink()
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    codes = [
        subprocess.run(
            [sys.executable, "-c", RESUMED, str(settings), str(root), str(step)], env=environment, check=False
        ).returncode
        for step in (2, 0)
    ]
    assert codes == [-signal.SIGKILL, 0]
    assert (root / "sft" / "adapter" / "adapter_model.safetensors").read_bytes() == adapter
    resumed = load_file(root / "result" / "model.safetensors")
    assert all(torch.equal(resumed[f"model.{name}"], value) for name, value in straight.named_parameters())


def test_rl_has_its_policy_with_adapters_off_as_its_reference(
    started: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, bool, bool]] = []
    updates = rl_stage.RLTask.updates
    base = _base(started, "sft")

    def watch(task: rl_stage.RLTask, step: int) -> object:
        held = {parameter.data_ptr() for parameter in task.policy.parameters()}
        shared = all(parameter.data_ptr() in held for parameter in task.reference.parameters())
        kept = all(".lora_" in name for name in task.kept())
        seen.append((step, shared and kept, not _changed(task.reference, base)))
        yield from updates(task, step)

    monkeypatch.setattr(rl_stage.RLTask, "updates", watch)
    run = replace(started.run, rl=replace(started.run.rl, steps=2, evaluate_every_steps=1))
    rl(run, started.folder)
    assert seen[0] == (0, True, True)
    assert all(shared and same for _, shared, same in seen)
    folder = started.folder.root / "rl"
    assert {path.name for path in folder.iterdir()} >= {"model", "adapter", "evaluation"}
    policy = GPT.from_pretrained(folder / "model")
    assert _changed(policy, base)
    first = read_lines(folder / "log" / "metrics.jsonl")[0]
    assert first["kl_nats_per_completion"] == 0.0


def test_a_reward_model_trains_adapters_and_its_head(started: StageContext, corpus: Corpus) -> None:
    model = RewardModel(_base(started, "sft"))
    before = {name: each.clone() for name, each in model.named_parameters()}
    tuning = FineTuning.of(started.run, "reward", model, 0)
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    assert "head.weight" in trained
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trainable_parameters(started.run, "reward")
    with torch.no_grad():
        model.head.weight.add_(1.0)
        next(lora_layers(model))[1].lora_B.fill_(0.01)
    model.reward_offset = -0.25
    tuning.finish(started.folder.stage("reward"), "b3:reward")
    assert [name for name, _ in model.named_parameters()] == list(before)
    again = load_adapter(RewardModel(_base(started, "sft")), started.folder.root / "reward" / "adapter")
    assert torch.equal(again.head.weight, model.head.weight)
    assert again.reward_offset == -0.25
    assert reward_stage.FineTuning is FineTuning


@pytest.mark.parametrize("train", ["all", "no_embedding", "last_1_layers"])
@pytest.mark.parametrize("stage", ["sft", "reward"])
def test_parts_of_the_weights_are_trained_and_counted(started: StageContext, stage: str, train: str) -> None:
    for tied in (True, False):
        shape = replace(started.run.model, tied_embeddings=tied)
        config = replace(getattr(started.run, stage), train=train)
        run = replace(started.run, lora=LoRAConfig(), model=shape, **{stage: config})
        model = GPT(shape) if stage == "sft" else RewardModel(GPT(shape))
        FineTuning.of(run, stage, model, 0)
        trained = {name for name, each in model.named_parameters() if each.requires_grad}
        count = sum(each.numel() for each in model.parameters() if each.requires_grad)
        assert count == trainable_parameters(run, stage)
        in_groups = sum(each.numel() for group in parameter_groups(model, 1e-3, 0.1) for each in group["params"])
        assert in_groups == count
        assert any("embed_tokens" in name for name in trained) == (train == "all")
        assert any("layers.0." in name for name in trained) == (train != "last_1_layers")
        assert ("head.weight" in trained) == (stage == "reward")


def test_the_last_layers_alone_change_and_fill_a_checkpoint(started: StageContext) -> None:
    depth = started.run.model.depth
    context = _with(started, lora=LoRAConfig(), sft=replace(started.run.sft, train="last_1_layers"))
    changed = _changed(sft_stage._train(context, "b3:sft"), _base(started))
    assert changed
    assert all(name.startswith((f"layers.{depth - 1}.", "norm.")) for name in changed)
    assert not (started.folder.root / "sft" / "adapter").exists()
    (checkpoint, *_) = sorted((started.folder.root / "sft" / "checkpoints").iterdir(), reverse=True)
    assert set(load_file(checkpoint / "model.safetensors")) >= changed
    assert not any("embed" in name for name in load_file(checkpoint / "optimizer.safetensors"))


@pytest.mark.parametrize("format", ["bfloat16", "int8", "nf4"])
def test_a_base_of_low_precision_is_published_as_what_was_trained_on(started: StageContext, format: BaseFormat) -> None:
    context = _with(started, lora=replace(ADAPTED, base=format, targets=("q_proj",)))
    model = sft_stage._train(context, "b3:sft")
    rounded = _base(started).bfloat16().float()
    if format != "bfloat16":
        rounded = _base(started)
        for name, layer in quantize(_base(started), format).named_modules():
            if isinstance(layer, QuantizedLinear):
                rounded.get_submodule(name).weight.data = layer.dequantized()
    changed = _changed(model, rounded)
    assert changed == {f"layers.{n}.self_attn.q_proj.weight" for n in range(model.config.depth)}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    load_adapter(_base(started), started.folder.root / "sft" / "adapter")  # belongs to the base as it came


def test_the_rate_of_adapters_is_ten_times_that_of_weights_and_a_heads_is_not(recipe: RunConfig) -> None:
    plain = replace(recipe, sft=replace(recipe.sft, optim=replace(recipe.sft.optim, learning_rate=0.0)))
    adapted = replace(plain, lora=LoRAConfig(rank=2))
    rate, of_adapters = (resolved_optim(run, "sft").learning_rate for run in (plain, adapted))
    assert of_adapters == pytest.approx(LORA_RATE_FACTOR * rate, rel=1e-2)
    given = replace(adapted, sft=replace(adapted.sft, optim=replace(adapted.sft.optim, learning_rate=0.5)))
    assert resolved_optim(given, "sft").learning_rate == 0.5
    assert resolved_optim(adapted, "pretrain") == resolved_optim(plain, "pretrain")
    torch.manual_seed(0)
    model = RewardModel(GPT(recipe.model))
    of = {id(p): g["lr"] for g in parameter_groups(model, rate, 0.1) for p in g["params"]}
    whole = of[id(model.head.weight)]
    lora(model, rank=2)
    of = {id(p): g["lr"] for g in parameter_groups(model, LORA_RATE_FACTOR * rate, 0.1) for p in g["params"]}
    assert of[id(model.head.weight)] == pytest.approx(whole)
    assert of[id(next(lora_layers(model))[1].lora_A)] == pytest.approx(LORA_RATE_FACTOR * rate)


def test_policies_of_other_seeds_begin_with_other_factors(started: StageContext) -> None:
    def first(seed: int, stage: str) -> torch.Tensor:
        return next(lora_layers(FineTuning.of(started.run, stage, _base(started), seed).model))[1].lora_A

    drawn: Callable[[int, str], torch.Tensor] = first
    assert torch.equal(drawn(1, "rl"), drawn(1, "rl"))
    assert not torch.equal(drawn(1, "rl"), drawn(2, "rl"))
    assert not torch.equal(drawn(1, "rl"), drawn(1, "sft"))
