"""Checkpoints that are damaged, or whole by their manifest and yet no state of the model: nothing of them is loaded.

A checkpoint whose manifest was made anew is what somebody who hands over a run folder can write. torch's fused AdamW
writes through a tensor of the wrong shape without looking.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402
from torch import Tensor  # noqa: E402

from stategpt.artifacts import publish_folder  # noqa: E402
from stategpt.config import GPTConfig, OptimConfig  # noqa: E402
from stategpt.errors import CorruptArtifact, ForeignArtifact, StategptError  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.train.checkpoint import FORMAT_VERSION, LoopState, load_latest_checkpoint, save_checkpoint  # noqa: E402
from stategpt.train.optimizers import build_optimizer, optimizer_tensors  # noqa: E402

TINY = GPTConfig(vocab_size=16, depth=1, width=8, heads=2, kv_heads=1, head_dim=4, mlp_width=8, context_tokens=8)
CONFIG = "b3:" + 64 * "0"
STATE = LoopState(step=3, tokens=300)


def trained(seed: int) -> tuple[GPT, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = GPT(TINY)
    optimizer = build_optimizer(model, OptimConfig(learning_rate=1e-2))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return model, optimizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    model, optimizer = trained(0)
    return save_checkpoint(folder, model, optimizer, STATE, CONFIG)


def sign_again(saved: Path, folder: Path, change: Callable[[Path], None], step: int = 3) -> Path:
    """A copy of the checkpoint with `change` made and a manifest that fits it."""

    def write(temporary: Path) -> None:
        for path in saved.iterdir():
            if path.name != "manifest.json":
                shutil.copy(path, temporary)
        change(temporary)

    final = folder / f"step-{step:06d}"
    extra = {"format_version": FORMAT_VERSION}
    publish_folder(final, write, kind="checkpoint", fingerprints={"config": CONFIG}, extra=extra)
    return final


def everything(model: GPT, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {**model.state_dict(), **optimizer_tensors(model, optimizer)}


def refused(folder: Path, error: type[StategptError] = CorruptArtifact) -> str:
    """Loads into another model, which must stay as it was, bit for bit; returns the message."""
    model, optimizer = trained(1)
    before = copy.deepcopy(everything(model, optimizer))
    with pytest.raises(error) as caught:
        load_latest_checkpoint(folder, model, optimizer, CONFIG)
    after = everything(model, optimizer)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before), "a part of it was loaded"
    return str(caught.value)


def change_tensors(file: str, change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        tensors = load_file(folder / file)
        change(tensors)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / file)

    return write


def test_what_was_saved_is_loaded_bit_for_bit(saved: Path) -> None:
    model, optimizer = trained(1)
    assert load_latest_checkpoint(saved.parent, model, optimizer, CONFIG) == STATE
    for (name, ours), theirs in zip(
        everything(model, optimizer).items(), everything(*trained(0)).values(), strict=True
    ):
        assert torch.equal(ours, theirs), name


NAMES = {"model.safetensors": "layers.0.mlp.down_proj.weight", "optimizer.safetensors": "embed_tokens.weight.exp_avg"}
CHANGES: dict[str, Callable[[Tensor], Tensor | None]] = {
    "missing": lambda x: None,
    "one number": lambda x: torch.zeros(1),
    "no number": lambda x: torch.zeros(0),
    "scalar": lambda x: torch.zeros(()),
    "transposed": lambda x: x.T.unsqueeze(0),
    "flat": lambda x: x.flatten(),
    "int8": lambda x: x.to(torch.int8),
    "bool": lambda x: x.to(torch.bool),
    "float64": lambda x: x.double(),
    "bfloat16": lambda x: x.bfloat16(),
    "NaN": lambda x: x.index_fill(0, torch.tensor([0]), float("nan")),
    "infinite": lambda x: x.index_fill(0, torch.tensor([0]), float("inf")),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("file", NAMES)
def test_a_changed_tensor_is_named(saved: Path, tmp_path: Path, file: str, change: str) -> None:
    name = NAMES[file]

    def alter(tensors: dict[str, Tensor]) -> None:
        changed = CHANGES[change](tensors.pop(name))
        if changed is not None:
            tensors[name] = changed

    sign_again(saved, tmp_path, change_tensors(file, alter))
    message = refused(tmp_path)
    assert file in message
    assert name in message


@pytest.mark.parametrize("file", NAMES)
def test_an_unknown_tensor_is_named(saved: Path, tmp_path: Path, file: str) -> None:
    sign_again(saved, tmp_path, change_tensors(file, lambda tensors: tensors.setdefault("more", torch.zeros(2))))
    assert "more" in refused(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.5, 2.0**40])
def test_a_count_of_steps_that_is_none_is_named(saved: Path, tmp_path: Path, value: float) -> None:
    def alter(tensors: dict[str, Tensor]) -> None:
        tensors["norm.weight.step"] = torch.tensor(value)

    sign_again(saved, tmp_path, change_tensors("optimizer.safetensors", alter))
    assert "norm.weight.step" in refused(tmp_path)


def test_a_negative_mean_of_squares_is_named(saved: Path, tmp_path: Path) -> None:
    def alter(tensors: dict[str, Tensor]) -> None:
        tensors["norm.weight.exp_avg_sq"] *= -1

    sign_again(saved, tmp_path, change_tensors("optimizer.safetensors", alter))
    assert "norm.weight.exp_avg_sq" in refused(tmp_path)


def test_all_moments_of_one_number_are_refused_before_the_optimizer_has_them(saved: Path, tmp_path: Path) -> None:
    def alter(tensors: dict[str, Tensor]) -> None:
        for name in tensors:
            if not name.endswith(".step"):
                tensors[name] = torch.zeros(1)

    sign_again(saved, tmp_path, change_tensors("optimizer.safetensors", alter))
    assert "exp_avg" in refused(tmp_path)


def test_an_empty_optimizer_is_refused_not_started_afresh(saved: Path, tmp_path: Path) -> None:
    sign_again(saved, tmp_path, change_tensors("optimizer.safetensors", lambda tensors: tensors.clear()))
    assert "lacks" in refused(tmp_path)


GOOD = {"step": 3, "tokens": 300, "skipped": 0, "skipped_in_a_row": 0}
VALUES = [-5, True, 1.5, "3", None, [], {}, 2**63, 1e30]
STATES: list[str | bytes] = [
    *(json.dumps({**GOOD, key: value}) for key in GOOD for value in VALUES),
    json.dumps({"step": 3}),
    json.dumps({**GOOD, "more": 1}),
    json.dumps({**GOOD, "step": 4}),
    '{"step": ' + "9" * 5001 + "}",
    '{"step": NaN}',
    '{"step": 3, "step": 3}',
    "[]",
    "3",
    "null",
    "{",
    "",
    "[" * 100_000,
    b"\xff",
]


@pytest.mark.parametrize("text", STATES, ids=range(len(STATES)))
def test_a_state_with_other_fields_or_values_is_refused(saved: Path, tmp_path: Path, text: str | bytes) -> None:
    content = text if isinstance(text, bytes) else text.encode()
    sign_again(saved, tmp_path, lambda folder: (folder / "state.json").write_bytes(content) and None)
    assert "state.json" in refused(tmp_path)


@pytest.mark.parametrize("file", ["state.json", *NAMES])
def test_a_file_missing_from_a_whole_checkpoint_is_named(saved: Path, tmp_path: Path, file: str) -> None:
    sign_again(saved, tmp_path, lambda folder: (folder / file).unlink())
    assert file in refused(tmp_path)


@pytest.mark.parametrize("file", ["state.json", *NAMES])
def test_random_bytes_signed_again_never_raise_a_raw_error(saved: Path, tmp_path: Path, file: str) -> None:
    """Flips mostly of the headers; a flip that leaves a number finite cannot be seen, and may be loaded."""
    draw = random.Random(file)
    good = (saved / file).read_bytes()
    model, optimizer = trained(1)
    typed = 0
    for _ in range(60):
        content = bytearray(good)
        for _ in range(draw.randrange(1, 4)):
            content[draw.randrange(min(len(content), 400))] = draw.randrange(256)
        cut = bytes(content[: draw.randrange(len(content))] if draw.random() < 0.2 else content)
        sign_again(saved, tmp_path, lambda folder, cut=cut: (folder / file).write_bytes(cut) and None)
        try:
            load_latest_checkpoint(tmp_path, model, optimizer, CONFIG)
        except CorruptArtifact:
            typed += 1
    assert typed > 30


def test_a_refused_checkpoint_does_not_give_way_to_the_one_before(saved: Path, tmp_path: Path) -> None:
    """Only damage does; a whole checkpoint of something else is no accident."""
    sign_again(saved, tmp_path, lambda folder: None)
    later = json.dumps({**GOOD, "step": 4, "tokens": -1})
    sign_again(saved, tmp_path, lambda folder: (folder / "state.json").write_text(later) and None, step=4)
    assert "step-000004" in refused(tmp_path)
    (tmp_path / "step-000004" / "state.json").write_text("damaged")
    model, optimizer = trained(1)
    assert load_latest_checkpoint(tmp_path, model, optimizer, CONFIG) == STATE


def test_what_a_task_keeps_is_restored_in_place_or_the_checkpoint_is_refused(tmp_path: Path) -> None:
    model, optimizer = trained(0)
    kept = {"best": torch.tensor([1.0, 2.0])}
    path = save_checkpoint(tmp_path, model, optimizer, LoopState(step=3, ended="far enough"), CONFIG, kept)
    best = torch.zeros(2)
    state = load_latest_checkpoint(tmp_path, model, optimizer, CONFIG, {"best": best})
    assert state == LoopState(step=3, ended="far enough")
    assert best.tolist() == [1.0, 2.0]
    with pytest.raises(CorruptArtifact, match=r"kept\.safetensors lacks 'last'"):
        load_latest_checkpoint(tmp_path, model, optimizer, CONFIG, {"last": best})
    shutil.rmtree(path)
    save_checkpoint(tmp_path, model, optimizer, LoopState(step=3), CONFIG)
    with pytest.raises(CorruptArtifact, match=r"kept\.safetensors"):
        load_latest_checkpoint(tmp_path, model, optimizer, CONFIG, {"best": best})


def test_a_checkpoint_without_the_fingerprint_of_its_configuration_is_foreign(saved: Path, tmp_path: Path) -> None:
    extra = {"format_version": FORMAT_VERSION}
    publish_folder(tmp_path / "step-000003", lambda folder: None, kind="checkpoint", extra=extra)
    assert "None" in refused(tmp_path, ForeignArtifact)


@pytest.mark.parametrize(
    ("extra", "version"), [({}, "1"), ({"format_version": 3}, "3"), ({"format_version": "x"}, "x")]
)
def test_a_checkpoint_of_another_format_version_says_so(tmp_path: Path, extra: dict[str, Any], version: str) -> None:
    path = tmp_path / "step-000003"
    publish_folder(path, lambda folder: None, kind="checkpoint", fingerprints={"config": CONFIG}, extra=extra)
    message = refused(tmp_path, ForeignArtifact)
    assert f"format version {version}; this version of stategpt reads version {FORMAT_VERSION}. Delete" in message


def test_steps_of_seven_digits_come_after_those_of_six(tmp_path: Path) -> None:
    model, optimizer = trained(0)
    kept: list[list[str]] = []
    for step in range(999_998, 1_000_003):
        save_checkpoint(tmp_path, model, optimizer, LoopState(step=step), CONFIG)
        kept.append(sorted(path.name for path in tmp_path.iterdir()))
        state = load_latest_checkpoint(tmp_path, model, optimizer, CONFIG)
        assert state is not None
        assert state.step == step
    assert kept[2:] == [
        ["step-1000000", "step-999999"],
        ["step-1000000", "step-1000001"],
        ["step-1000001", "step-1000002"],
    ]
