"""Weights in several files: what is written, what comes back, and what hostile indexes answer."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
from safetensors.torch import load_file, save_file  # noqa: E402

from stategpt.artifacts import publish_folder  # noqa: E402
from stategpt.config import GPTConfig  # noqa: E402
from stategpt.errors import CorruptArtifact, ForeignArtifact, InvalidArgument, StorageError  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.model.safetensors_file import SafetensorsFile  # noqa: E402
from stategpt.model.weight_files import MAX_SHARDS  # noqa: E402

SHAPE = GPTConfig(
    vocab_size=31,
    depth=3,
    width=16,
    heads=4,
    kv_heads=2,
    head_dim=8,
    mlp_width=24,
    context_tokens=32,
    tied_embeddings=False,
)
LIMIT = 5_000
INDEX = "model.safetensors.index.json"


def gpt() -> GPT:
    torch.manual_seed(0)
    return GPT(SHAPE)


@pytest.fixture
def folder(tmp_path) -> Path:
    gpt().save_pretrained(tmp_path, shard_bytes=LIMIT)
    return tmp_path


def change_index(folder: Path, change) -> None:
    index = json.loads((folder / INDEX).read_text())
    change(index["weight_map"])
    (folder / INDEX).write_text(json.dumps(index))


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("model-*.safetensors"))


@pytest.mark.parametrize("reward", [False, True], ids=["gpt", "reward"])
def test_shards_come_back_bit_by_bit(tmp_path, reward):
    model = RewardModel(gpt()) if reward else gpt()
    model.save_pretrained(tmp_path, shard_bytes=LIMIT)
    files = shards(tmp_path)
    assert len(files) > 3
    assert files[0].name == f"model-00001-of-{len(files):05}.safetensors"
    assert not (tmp_path / "model.safetensors").exists()
    for file in files:
        tensors = load_file(file)
        assert len(tensors) == 1 or sum(tensor.nbytes for tensor in tensors.values()) <= LIMIT
    total = sum(parameter.nbytes for parameter in model.parameters())
    assert json.loads((tmp_path / INDEX).read_text())["metadata"]["total_size"] == total
    loaded = type(model).from_pretrained(tmp_path)
    for (name, ours), (_, theirs) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_transformers_reads_our_shards_and_we_read_its(folder, tmp_path):
    transformers = pytest.importorskip("transformers", reason="parity needs the hf extra (transformers)")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size=LIMIT)
    assert len(shards(tmp_path / "theirs")) > 3
    ours, again = gpt().state_dict(), GPT.from_pretrained(tmp_path / "theirs").state_dict()
    assert all(torch.equal(ours[name], again[name]) for name in ours)


def test_one_file_is_written_below_the_limit_and_the_limit_is_positive(tmp_path):
    model = gpt()
    model.save_pretrained(tmp_path, shard_bytes=sum(p.nbytes for p in model.parameters()))
    assert (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / INDEX).exists()
    with pytest.raises(InvalidArgument, match="shard_bytes is 0"):
        model.save_pretrained(tmp_path, shard_bytes=0)


def test_the_other_form_of_an_earlier_model_is_removed(folder):
    other = GPT(SHAPE)
    for limit in (1 << 30, LIMIT):
        other.save_pretrained(folder, shard_bytes=limit)
        loaded = GPT.from_pretrained(folder)
        assert torch.equal(loaded.embed_tokens.weight, other.embed_tokens.weight)
        assert (folder / INDEX).exists() != (folder / "model.safetensors").exists()
        other = GPT(SHAPE)


def test_a_second_copy_of_a_tied_matrix_may_be_in_another_file(tmp_path):
    tied = GPT(GPTConfig(**{**SHAPE.__dict__, "tied_embeddings": True}))
    tied.save_pretrained(tmp_path, shard_bytes=LIMIT)
    copy = tied.embed_tokens.weight.detach().clone()
    save_file({"lm_head.weight": copy}, tmp_path / "head.safetensors")
    change_index(tmp_path, lambda index: index.update({"lm_head.weight": "head.safetensors"}))
    GPT.from_pretrained(tmp_path)
    save_file({"lm_head.weight": copy + 1}, tmp_path / "head.safetensors")
    with pytest.raises(ForeignArtifact, match=r"lm_head\.weight"):
        GPT.from_pretrained(tmp_path)


def test_a_missing_shard_is_named(folder):
    shards(folder)[1].unlink()
    with pytest.raises(CorruptArtifact, match=r"model-00002-of-.*is missing, and .*index\.json names it"):
        GPT.from_pretrained(folder)


def test_a_tensor_in_two_shards_is_named(folder):
    first, second = shards(folder)[:2]
    name = min(load_file(first))
    save_file({**load_file(second), name: load_file(first)[name]}, second)
    with pytest.raises(CorruptArtifact, match=rf"{second.name}: {name} is in {first.name} too"):
        GPT.from_pretrained(folder)


def test_a_tensor_that_the_index_does_not_have_is_named(folder):
    last = shards(folder)[-1]
    save_file({**load_file(last), "extra": torch.ones(1)}, last)
    with pytest.raises(CorruptArtifact, match=r"extra is not in model\.safetensors\.index\.json"):
        GPT.from_pretrained(folder)
    change_index(folder, lambda index: index.update(extra=last.name))
    with pytest.raises(ForeignArtifact, match="no place for: extra"):
        GPT.from_pretrained(folder)


def test_a_tensor_that_its_shard_lacks_is_named(folder):
    change_index(folder, lambda index: index.update({"model.norm.weight": shards(folder)[0].name}))
    with pytest.raises(CorruptArtifact, match=r"model-00001.*lacks model\.norm\.weight"):
        GPT.from_pretrained(folder)
    change_index(folder, lambda index: index.pop("model.norm.weight"))
    with pytest.raises(CorruptArtifact, match=r"model\.norm\.weight is not in"):
        GPT.from_pretrained(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../outside.safetensors",
        "/tmp/outside.safetensors",
        "inner/x.safetensors",
        "..\\x.safetensors",
        "C:x.safetensors",
        ".hidden.safetensors",
        "model.safetensors\x00",
        "pickle.bin",
        "",
    ],
)
def test_a_shard_elsewhere_is_refused_unopened(folder, name, monkeypatch):
    opened = []
    make = SafetensorsFile.__init__

    def recorded(self, path, *limits):
        opened.append(path.name)
        make(self, path, *limits)

    monkeypatch.setattr(SafetensorsFile, "__init__", recorded)
    change_index(folder, lambda index: index.update({"model.norm.weight": name}))
    with pytest.raises(CorruptArtifact, match="names the file"):
        GPT.from_pretrained(folder)
    assert opened == ["model.safetensors"]


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', '{"weight_map": {"x": 5}}', '{"a":' * 50_000),
        '{"weight_map": {"x": "a.safetensors", "x": "b.safetensors"}}',
    ],
)
def test_an_index_that_is_none_is_corrupt(folder, content):
    (folder / INDEX).write_text(content)
    with pytest.raises(CorruptArtifact, match=r"index\.json"):
        GPT.from_pretrained(folder)


def test_an_index_has_a_limit_of_bytes_and_of_files(folder):
    (folder / INDEX).write_text('{"weight_map": {"x": "' + "a" * (4 << 20) + '"}}')
    with pytest.raises(CorruptArtifact, match="4,194,304"):
        GPT.from_pretrained(folder)
    many = {f"t{number}": f"{number}.safetensors" for number in range(MAX_SHARDS + 1)}
    (folder / INDEX).write_text(json.dumps({"weight_map": many}))
    with pytest.raises(CorruptArtifact, match=f"names {MAX_SHARDS + 1} files; at most {MAX_SHARDS}"):
        GPT.from_pretrained(folder)


def test_headers_of_all_files_share_one_limit(folder, monkeypatch):
    sizes = [int.from_bytes(path.read_bytes()[:8], "little") for path in shards(folder)]
    monkeypatch.setattr("stategpt.model.weight_files.HEADER_LIMIT_BYTES", sum(sizes))
    GPT.from_pretrained(folder)
    monkeypatch.setattr("stategpt.model.weight_files.HEADER_LIMIT_BYTES", sum(sizes) - 1)
    with pytest.raises(CorruptArtifact, match=rf"{shards(folder)[-1].name}.*header"):
        GPT.from_pretrained(folder)


def test_a_special_file_in_place_of_index_or_shard_is_typed(folder):
    for path in (shards(folder)[0], folder / INDEX):
        path.unlink()
        path.mkdir()
        with pytest.raises(StorageError, match=path.name):
            GPT.from_pretrained(folder)


def test_published_shards_are_verified_and_need_their_manifest(tmp_path):
    final = tmp_path / "model"
    publish_folder(final, lambda folder: gpt().save_pretrained(folder, manifest=True, shard_bytes=LIMIT), kind="model")
    GPT.from_pretrained(final)
    (final / "manifest.json").unlink()
    with pytest.raises(CorruptArtifact, match=r"published with a manifest\.json, which is missing"):
        GPT.from_pretrained(final)
