"""Loading and saving weights: no random numbers, no second copy, the file's number format, nothing believed unseen."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch import nn  # noqa: E402

from stategpt.artifacts import publish_folder  # noqa: E402
from stategpt.config import GPTConfig  # noqa: E402
from stategpt.config.families import FAMILIES  # noqa: E402
from stategpt.errors import CorruptArtifact, ForeignArtifact, InvalidArgument, StorageError  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.model.hf import gpt_tensor_name, names_of, reward_tensor_name  # noqa: E402
from stategpt.model.safetensors_file import HEADER_LIMIT_BYTES, SafetensorsFile  # noqa: E402
from stategpt.model.weights import _expected  # noqa: E402

SHAPE = GPTConfig(vocab_size=31, depth=2, width=16, heads=4, kv_heads=2, head_dim=8, mlp_width=24, context_tokens=32)
UNTIED = GPTConfig(**{**SHAPE.__dict__, "tied_embeddings": False})
FORMATS = [torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture
def folder(tmp_path) -> Path:
    torch.manual_seed(0)
    GPT(SHAPE).save_pretrained(tmp_path)
    return tmp_path


def change_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_tensors(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("reward", [False, True], ids=["gpt", "reward"])
def test_number_formats_are_kept_and_written_back(tmp_path, dtype, reward):
    torch.manual_seed(0)
    kind = RewardModel if reward else GPT
    model = (RewardModel(GPT(UNTIED)) if reward else GPT(UNTIED)).to(dtype)
    for folder in (tmp_path / "first", tmp_path / "again"):
        model.save_pretrained(folder)
        assert config_of(folder)["dtype"] == str(dtype)[6:]
        assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {dtype}
        loaded = kind.from_pretrained(folder)
        for (name, ours), (_, theirs) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
            assert theirs.dtype == dtype
            assert theirs.requires_grad
            assert torch.equal(ours, theirs), name
        model = loaded
    assert (tmp_path / "first" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("asked", FORMATS, ids=str)
def test_the_asked_format_is_what_to_would_give(folder, asked):
    kept, loaded = GPT.from_pretrained(folder), GPT.from_pretrained(folder, asked)
    for ours, theirs in zip(kept.to(asked).parameters(), loaded.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_mixed_formats_come_in_the_one_that_holds_them_all(folder, tmp_path):
    model = GPT.from_pretrained(folder)
    model.layers[0].mlp.bfloat16()
    model.layers[1].mlp.half()
    model.norm.half()
    model.save_pretrained(tmp_path / "mixed")
    assert config_of(tmp_path / "mixed")["dtype"] == "float32"
    assert {x.dtype for x in load_file(tmp_path / "mixed" / "model.safetensors").values()} == {torch.float32}
    change_tensors(folder, lambda t: t.update({"model.norm.weight": t["model.norm.weight"].half()}))
    assert {parameter.dtype for parameter in GPT.from_pretrained(folder).parameters()} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.float64, torch.int8, "float32"])
def test_other_formats_are_no_argument(folder, dtype):
    with pytest.raises(InvalidArgument, match="dtype"):
        GPT.from_pretrained(folder, dtype)


def test_weights_that_could_not_be_loaded_again_are_not_saved(tmp_path):
    with pytest.raises(InvalidArgument, match="float64"):
        GPT(SHAPE).double().save_pretrained(tmp_path)
    wrapped = GPT(SHAPE)
    wrapped.layers[1].mlp.up_proj = nn.Sequential(wrapped.layers[1].mlp.up_proj)
    with pytest.raises(InvalidArgument, match=r"model\.layers\.1\.mlp\.up_proj\.0\.weight.*Merge adapters"):
        wrapped.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("config", [SHAPE, UNTIED], ids=["tied", "untied"])
def test_expected_tensors_are_those_of_the_module(config):
    model = GPT(config)
    expected = {gpt_tensor_name(name): tuple(p.shape) for name, p in model.named_parameters()}
    qwen3 = FAMILIES["qwen3"]
    assert dict(_expected(GPT, config, names_of(qwen3, gpt_tensor_name))) == expected
    reward = RewardModel(model)
    expected = {reward_tensor_name(name): tuple(p.shape) for name, p in reward.named_parameters()}
    assert dict(_expected(lambda c: RewardModel(GPT(c)), config, names_of(qwen3, reward_tensor_name))) == expected


@pytest.mark.parametrize("reward", [False, True], ids=["gpt", "reward"])
def test_no_weight_is_drawn_for_a_model_that_is_loaded(tmp_path, reward, monkeypatch):
    model = RewardModel(GPT(SHAPE)) if reward else GPT(SHAPE)
    model.save_pretrained(tmp_path)
    monkeypatch.setattr("stategpt.model.gpt.initialize", lambda model: pytest.fail("initialized"))
    before = torch.get_rng_state()
    type(model).from_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loaded_model_has_its_rotary_frequencies(folder):
    assert torch.equal(GPT.from_pretrained(folder).rotary.frequency, GPT(SHAPE).rotary.frequency)
    RewardModel(GPT(SHAPE)).save_pretrained(folder / "reward")
    loaded = RewardModel.from_pretrained(folder / "reward", torch.bfloat16)
    assert torch.equal(loaded.gpt.rotary.frequency, GPT(SHAPE).rotary.frequency)
    assert all(tensor.device.type == "cpu" for tensor in (*loaded.parameters(), *loaded.buffers()))


HOSTILE = [
    {"num_hidden_layers": 3},
    {"num_hidden_layers": 1},
    {"num_hidden_layers": 65_536},
    {"num_hidden_layers": 10**9},
    {"vocab_size": 3_000_000},
    {"vocab_size": 1 << 24, "hidden_size": 1 << 20},
    {"intermediate_size": 1 << 22},
    {"num_attention_heads": 1 << 16, "num_key_value_heads": 1 << 16, "head_dim": 1 << 16},
]


@pytest.mark.parametrize("changes", HOSTILE, ids=str)
def test_sizes_that_the_weights_do_not_have_are_refused_unread(folder, changes, monkeypatch):
    change_config(folder, **changes)
    monkeypatch.setattr(SafetensorsFile, "read", lambda *_: pytest.fail("read"))
    with pytest.raises((CorruptArtifact, ForeignArtifact), match=r"config\.json|lacks model\.layers\.2\."):
        GPT.from_pretrained(folder)


_PEAK = """
import json, re, sys, torch
from pathlib import Path
from stategpt.errors import StategptError
from stategpt.model import GPT

def status(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

def peak(load):
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    model = load()
    return status("VmHWM") - before, sum(p.numel() * p.element_size() for p in model.parameters()) if model else 0

def refused():
    for folder in hostile:
        try:
            GPT.from_pretrained(folder)
        except StategptError:
            continue
        raise SystemExit(folder)

good, large, sharded, *hostile = sys.argv[1:]
GPT.from_pretrained(good, torch.bfloat16)
found = {"refused": peak(refused)}
for name, folder in (("one file", large), ("shards", sharded)):
    for dtype in ("bfloat16", "float32"):
        found[f"{name} {dtype}"] = peak(lambda: GPT.from_pretrained(folder, getattr(torch, dtype)))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def peaks(tmp_path_factory) -> dict[str, list[int]]:
    """Growth of resident memory at its peak, and bytes of weights, in a process of its own."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("needs Linux's peak of resident memory")
    folder = tmp_path_factory.mktemp("peaks")
    GPT(SHAPE).save_pretrained(folder / "good")
    hostile = [folder / f"hostile{number}" for number in range(len(HOSTILE) + 1)]
    for path in hostile:
        shutil.copytree(folder / "good", path)
    for path, changes in zip(hostile, HOSTILE, strict=False):
        change_config(path, **changes)
    header = b'{"x":[' + b"[]," * (HEADER_LIMIT_BYTES // 3 - 4) + b"[]]}"
    (hostile[-1] / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    # The embedding is most of it, and stored a second time: the worst case for a copy.
    with torch.device("meta"):
        large = GPT(GPTConfig(vocab_size=40_000, depth=2, width=512, heads=4, kv_heads=2, mlp_width=1536))
    zeros = {gpt_tensor_name(name): torch.zeros(p.shape).bfloat16() for name, p in large.named_parameters()}
    zeros["lm_head.weight"] = zeros["model.embed_tokens.weight"].clone()
    GPT(SHAPE).save_pretrained(folder / "large")
    save_file(zeros, folder / "large" / "model.safetensors")
    change_config(
        folder / "large", vocab_size=40_000, hidden_size=512, intermediate_size=1536, head_dim=64, num_key_value_heads=2
    )
    sharded = folder / "sharded"
    GPT.from_pretrained(folder / "large").save_pretrained(sharded, shard_bytes=4_000_000)
    assert len(list(sharded.glob("model-*.safetensors"))) == 4
    folders = (folder / "good", folder / "large", sharded, *hostile)
    arguments = [sys.executable, "-c", _PEAK, *map(str, folders)]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("files", ["one file", "shards"])
def test_the_peak_of_memory_is_the_weights(peaks, files, dtype):
    peak, weights = peaks[f"{files} {dtype}"]
    assert weights > 50e6 * (2 if dtype == "float32" else 1) * 0.9
    assert peak <= 1.1 * weights + (1 << 20)  # pieces of tensors that threads read at the same time


def test_hostile_sizes_take_less_than_64_mib(peaks):
    assert peaks["refused"][0] < 64 << 20


def test_a_context_of_two_billion_tokens_takes_no_memory(folder):
    change_config(folder, max_position_embeddings=2**31 - 1)
    model = GPT.from_pretrained(folder)
    assert sum(tensor.numel() for tensor in model.buffers()) == SHAPE.head_dim // 2


@pytest.mark.parametrize(
    "dtype", [torch.int8, torch.uint8, torch.bool, torch.int64, torch.float64, torch.float8_e4m3fn]
)
def test_other_number_formats_are_foreign_and_named(folder, dtype):
    change_tensors(folder, lambda t: t.update({"model.norm.weight": torch.ones(16).to(dtype)}))
    with pytest.raises(ForeignArtifact, match=r"model\.norm\.weight is .*only F32, BF16, F16"):
        GPT.from_pretrained(folder)


def test_weights_that_are_not_finite_are_corrupt(folder):
    change_tensors(folder, lambda t: t["model.layers.1.mlp.up_proj.weight"].fill_(float("nan")))
    with pytest.raises(CorruptArtifact, match=r"model\.layers\.1\.mlp\.up_proj\.weight holds values"):
        GPT.from_pretrained(folder)


def test_stored_rotary_constants_are_left_out(folder):
    constants = {f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": torch.ones(4) for layer in range(2)}
    change_tensors(folder, lambda t: t.update(constants | {"model.rotary_emb.inv_freq": torch.ones(4)}))
    GPT.from_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pytorch_model.bin", "pickle, which can run code"),
        ("pytorch_model.bin.index.json", "pickles, which can run code"),
        ("consolidated.00.pth", "pickle, which can run code"),
        ("model.ckpt", "pickle, which can run code"),
    ],
)
def test_other_kinds_of_weights_are_named(folder, name, message):
    (folder / "model.safetensors").unlink()
    (folder / name).write_text("{}")
    with pytest.raises(ForeignArtifact, match=message):
        GPT.from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "model.safetensors"])
def test_a_special_file_in_place_of_a_file_is_typed(folder, name):
    path = folder / name

    def fifo():
        os.mkfifo(path)

    def loop():
        path.symlink_to(path.name)

    def device():
        path.symlink_to("/dev/zero")

    for make in (fifo, loop, device, path.mkdir):
        path.unlink()
        make()
        with pytest.raises(StorageError, match=name):
            GPT.from_pretrained(folder)
        path.rmdir() if make == path.mkdir else path.unlink()
        path.touch()


@pytest.mark.parametrize("reward", [False, True], ids=["gpt", "reward"])
def test_a_published_model_is_not_loaded_without_its_manifest(tmp_path, reward):
    final, model = tmp_path / "model", RewardModel(GPT(SHAPE)) if reward else GPT(SHAPE)
    publish_folder(final, lambda folder: model.save_pretrained(folder, manifest=True), kind="model")
    type(model).from_pretrained(final)
    (final / "manifest.json").unlink()
    with pytest.raises(CorruptArtifact, match=r"published with a manifest\.json, which is missing"):
        type(model).from_pretrained(final)
    (final / "manifest.json").symlink_to("nowhere")
    with pytest.raises(CorruptArtifact):
        type(model).from_pretrained(final)


def test_weights_written_anew_carry_no_mark(tmp_path):
    publish_folder(tmp_path / "a", lambda folder: GPT(SHAPE).save_pretrained(folder, manifest=True), kind="model")
    GPT.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    with safe_open(tmp_path / "b" / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    GPT.from_pretrained(tmp_path / "b")


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    model = GPT(SHAPE)
    for number in range(12):  # the order of two metadata keys would differ in every other call
        (tmp_path / str(number)).mkdir()
        model.save_pretrained(tmp_path / str(number), manifest=True)
    files = {(tmp_path / str(number) / "model.safetensors").read_bytes() for number in range(12)}
    assert len(files) == 1
    header = next(iter(files))[8:].partition(b"model.")[0]
    assert header.startswith(b'{"__metadata__":{"format":"pt",')


def test_absurd_sizes_are_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    """config.json of a model of 10**14 weights beside a file of kilobytes."""
    import resource

    GPT(GPTConfig(vocab_size=300, depth=1, width=16, heads=2, kv_heads=1, head_dim=8, mlp_width=16)).save_pretrained(
        tmp_path
    )
    path = tmp_path / "config.json"
    found = json.loads(path.read_text())
    largest = {
        "vocab_size": 1 << 24,
        "hidden_size": 1 << 20,
        "intermediate_size": 1 << 22,
        "num_hidden_layers": 1 << 16,
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, value in [*largest.items(), ("all", 0)]:
        sizes = largest if name == "all" else {name: value}
        path.write_text(json.dumps({**found, **sizes}))
        with pytest.raises((CorruptArtifact, ForeignArtifact), match=r"config\.json"):
            GPT.from_pretrained(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB
