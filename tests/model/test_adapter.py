"""Adapter folders: PEFT's format in and out, and what is refused: other bases, pickles, settings not computed here."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")

from safetensors.torch import load_file, safe_open, save_file  # noqa: E402

from peft_goldens import FOLDER, IDS, SETTINGS, base_of  # noqa: E402
from stategpt.errors import CorruptArtifact, ForeignArtifact, InvalidArgument, MissingFile, StategptError  # noqa: E402
from stategpt.model import GPT, RewardModel, load_adapter, save_adapter  # noqa: E402
from stategpt.model.adapter import base_hash  # noqa: E402
from stategpt.model.lora import lora, lora_layers, merge  # noqa: E402
from stategpt.model.quantize import quantize  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing import Layout  # noqa: E402

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
FIRST = "base_model.model.model.layers.0.self_attn.q_proj"


def logits(model: GPT) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS, TensorLayout.of(Layout.packed([[8]], 8)))


def trained(model: GPT) -> GPT:
    torch.manual_seed(1)
    with torch.no_grad():
        for _, layer in lora_layers(model):
            layer.lora_B.normal_(std=0.1)
    return model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The folder of an adapter of the llama base."""
    save_adapter(trained(lora(base_of("llama"), rank=3, targets=["q_proj", "up_proj"])), tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.parametrize("name", SETTINGS)
def test_an_adapter_that_peft_wrote_computes_what_peft_computed(name):
    expected = torch.tensor(json.loads((FOLDER / name / "logits.json").read_text()))
    model = base_of(name)
    plain = (logits(model) - expected).abs().max()
    found = (logits(load_adapter(model, FOLDER / name)) - expected).abs().max()
    assert found <= 1e-5 * expected.abs().max() < plain
    assert (logits(merge(model)) - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", SETTINGS)
def test_an_adapter_of_peft_is_written_back_as_it_was(name, tmp_path):
    save_adapter(load_adapter(base_of(name), FOLDER / name), tmp_path)
    before, after = (load_file(folder / TENSORS) for folder in (FOLDER / name, tmp_path))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    before, after = (json.loads((folder / CONFIG).read_text()) for folder in (FOLDER / name, tmp_path))
    assert set(before["target_modules"]) == {each.rpartition(".")[2] for each in after["target_modules"]} or (
        len(after["target_modules"]) > len(before["target_modules"])
    )
    for key in ("r", "use_dora", "use_rslora", "fan_in_fan_out", "lora_dropout", "task_type", "bias"):
        assert before[key] == after[key], key


@pytest.mark.parametrize("kind", [{}, {"rslora": True}, {"dora": True}])
@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_saved_comes_back(name, kind, tmp_path):
    model = trained(lora(base_of(name), rank=3, alpha=5, dropout=0.25, **kind))
    save_adapter(model, tmp_path)
    again = load_adapter(base_of(name), tmp_path).eval()
    assert torch.allclose(logits(again), logits(model.eval()), atol=1e-6)
    assert {layer.dropout for _, layer in lora_layers(again)} == {0.25}
    assert not any(p.requires_grad for n, p in again.named_parameters() if "lora_" not in n and "magnitude" not in n)


def test_names_and_bytes_of_the_files(saved: Path, tmp_path: Path):
    with safe_open(saved / TENSORS, "pt") as file:
        names, metadata = set(file.keys()), file.metadata()
    layers = [
        f"base_model.model.model.layers.{n}.{part}" for n in (0, 1) for part in ("self_attn.q_proj", "mlp.up_proj")
    ]
    assert names == {f"{layer}.lora_{letter}.weight" for layer in layers for letter in "AB"}
    assert metadata == {"format": "pt", "base": base_hash(base_of("llama"))}
    model = trained(lora(base_of("llama"), rank=3, targets=["q_proj", "up_proj"]))
    save_adapter(model, tmp_path / "again")
    assert (saved / TENSORS).read_bytes() == (tmp_path / "again" / TENSORS).read_bytes()
    assert (saved / CONFIG).read_bytes() == (tmp_path / "again" / CONFIG).read_bytes()


def test_layers_that_share_an_ending_are_named_in_full(tmp_path: Path):
    save_adapter(lora(base_of("llama"), targets=["layers.1.self_attn.q_proj", "v_proj"]), tmp_path)
    found = json.loads((tmp_path / CONFIG).read_text())["target_modules"]
    assert found == ["model.layers.1.self_attn.q_proj", "v_proj"]


def test_a_reward_adapter_brings_head_and_offset(tmp_path: Path):
    model = lora(RewardModel(base_of("llama")), rank=2)
    model.reward_offset = 1.5
    save_adapter(model, tmp_path)
    assert "base_model.model.score.weight" in load_file(tmp_path / TENSORS)
    assert json.loads((tmp_path / CONFIG).read_text())["modules_to_save"] == ["score"]
    again = load_adapter(RewardModel(base_of("llama")), tmp_path)
    assert torch.equal(again.head.weight, model.head.weight)
    assert again.reward_offset == 1.5
    with pytest.raises(ForeignArtifact, match=r"score\.weight has no place in this model"):
        load_adapter(base_of("llama"), tmp_path)


def test_the_hash_is_of_values_not_of_formats_or_adapters():
    base = base_of("llama")
    rounded = base_of("llama").bfloat16()
    assert base_hash(rounded) == base_hash(base_of("llama").bfloat16().float()) != base_hash(base)
    assert base_hash(lora(base_of("llama"))) == base_hash(base)
    assert base_hash(quantize(base_of("llama"), "int8")) != base_hash(base)
    assert base_hash(lora(quantize(base_of("llama"), "int8"))) == base_hash(quantize(base_of("llama"), "int8"))


def test_an_adapter_of_other_weights_is_refused(saved: Path):
    other = base_of("llama")
    with torch.no_grad():
        other.norm.weight[0] += 1
    with pytest.raises(ForeignArtifact, match=r"another base.*hash differs"):
        load_adapter(other, saved)
    assert not list(lora_layers(other))
    load_adapter(base_of("llama"), saved)


def _config(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        found = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(found | changes))

    return change


def _tensors(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / TENSORS)
        change(tensors)
        save_file(tensors, folder / TENSORS)

    return rewrite


def _pickle(folder: Path) -> None:
    (folder / TENSORS).rename(folder / "adapter_model.bin")


def _rename(folder: Path) -> None:
    def moved(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.startswith(FIRST)]:
            tensors[name.replace("q_proj", "w_proj")] = tensors.pop(name)

    _tensors(moved)(folder)


def _set(part: str, value: torch.Tensor) -> Callable[[Path], None]:
    return _tensors(lambda tensors: tensors.update({f"{FIRST}.{part}": value}))


BROKEN: dict[str, tuple[Callable[[Path], None], type[StategptError], str]] = {
    "pickle": (_pickle, ForeignArtifact, "is a pickle"),
    "no file": (lambda folder: (folder / TENSORS).unlink(), MissingFile, "does not exist"),
    "no config": (lambda folder: (folder / CONFIG).unlink(), MissingFile, "does not exist"),
    "another method": (_config(peft_type="LOHA"), ForeignArtifact, "peft_type is LOHA"),
    "biases": (_config(bias="all"), ForeignArtifact, "bias is all"),
    "biases of B": (_config(lora_bias=True), ForeignArtifact, "lora_bias is set"),
    "changed base": (_config(init_lora_weights="pissa"), ForeignArtifact, "changes the base's weights"),
    "replicated layers": (_config(layer_replication=[[0, 2]]), ForeignArtifact, "layer_replication is set"),
    "unknown setting": (_config(use_new_thing=True), ForeignArtifact, "use_new_thing is set"),
    "pattern": (_config(alpha_pattern={"(a+)+$": 3}), ForeignArtifact, "only plain names"),
    "alpha": (_config(lora_alpha=-1), CorruptArtifact, "alpha of lora_alpha is -1"),
    "alpha of a type": (_config(lora_alpha="8"), CorruptArtifact, "lora_alpha"),
    "dropout": (_config(lora_dropout=1.5), CorruptArtifact, "lora_dropout is 1.5"),
    "not json": (lambda folder: (folder / CONFIG).write_text("{"), CorruptArtifact, "not valid JSON"),
    "dora without norms": (_config(use_dora=True), CorruptArtifact, "lora_magnitude_vector"),
    "unknown layer": (_rename, ForeignArtifact, "w_proj, which is no linear layer"),
    "unknown tensor": (_tensors(lambda t: t.update(x=torch.zeros(1))), ForeignArtifact, "x has no place"),
    "embedding": (
        _tensors(lambda t: t.update({"base_model.model.model.embed_tokens.lora_embedding_A": torch.zeros(3, 23)})),
        ForeignArtifact,
        "lora_embedding_A has no place",
    ),
    "no layer": (_tensors(dict.clear), CorruptArtifact, "holds no adapter"),
    "half a layer": (_tensors(lambda t: t.__delitem__(f"{FIRST}.lora_B.weight")), CorruptArtifact, "has .*lora_A"),
    "other inputs": (_set("lora_A.weight", torch.zeros(3, 17)), ForeignArtifact, r"is \[3, 17\], this model needs"),
    "other outputs": (_set("lora_B.weight", torch.zeros(8, 3)), ForeignArtifact, r"is \[8, 3\], this model needs"),
    "other ranks": (_set("lora_A.weight", torch.zeros(2, 16)), ForeignArtifact, "this model needs"),
    "a vector": (_set("lora_A.weight", torch.zeros(16)), ForeignArtifact, "expected"),
    "rank 0": (_set("lora_A.weight", torch.zeros(0, 16)), ForeignArtifact, "expected"),
    "not finite": (_set("lora_B.weight", torch.full((16, 3), float("nan"))), CorruptArtifact, "not finite"),
    "integers": (_set("lora_B.weight", torch.zeros(16, 3, dtype=torch.int32)), ForeignArtifact, "is I32"),
    "truncated": (
        lambda folder: (folder / TENSORS).write_bytes((folder / TENSORS).read_bytes()[:-8]),
        CorruptArtifact,
        "truncated",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_is_refused_and_the_model_is_as_it_was(case, saved: Path):
    spoil, error, said = BROKEN[case]
    spoil(saved)
    model = base_of("llama")
    plain = logits(model)
    with pytest.raises(error, match=said):
        load_adapter(model, saved)
    assert torch.equal(logits(model), plain)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_an_adapter_of_another_family_is_refused(tmp_path: Path):
    with pytest.raises(ForeignArtifact, match="_proj, which is no linear layer"):
        load_adapter(base_of("llama"), FOLDER / "phi3_rslora")
    shutil.copytree(FOLDER / "llama_dora", tmp_path / "copy")
    with pytest.raises(InvalidArgument, match="has adapters already"):
        load_adapter(lora(base_of("llama")), tmp_path / "copy")


def test_nothing_is_saved_of_a_model_without_adapters(tmp_path: Path):
    with pytest.raises(InvalidArgument, match="no adapters to save"):
        save_adapter(merge(lora(base_of("llama"))), tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()
