"""The reader of model.safetensors: bit by bit what safetensors writes, and a typed error for every broken header."""

import json
import os
import struct

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from stategpt.errors import CorruptArtifact, MissingFile, StorageError  # noqa: E402
from stategpt.model.safetensors_file import FLOATS, HEADER_LIMIT_BYTES, SafetensorsFile  # noqa: E402

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def tensors(dtype) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    shapes = {"matrix": (7, 5), "vector": (3,), "number": (), "nothing": (0, 4), "large": (1100, 1000)}
    return {name: torch.randn(shape, generator=draw).to(dtype) for name, shape in shapes.items()}


def write(path, header, data: bytes = b"", length: int | None = None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


@pytest.mark.parametrize("dtype", FLOATS.values(), ids=FLOATS)
def test_what_safetensors_wrote_is_read_bit_by_bit(tmp_path, dtype):
    path, written = tmp_path / "x.safetensors", tensors(dtype)
    save_file(written, path, metadata={"format": "pt"})
    with SafetensorsFile(path) as file:
        assert file.metadata == {"format": "pt"}
        assert file.tensors.keys() == written.keys()
        for name, tensor in written.items():
            for asked in FLOATS.values():
                assert file.read(name, asked).dtype == asked
                assert torch.equal(file.read(name, asked), tensor.to(asked)), (name, asked)


def test_same_bytes_compares_all_of_them(tmp_path):
    path, large = tmp_path / "x.safetensors", torch.zeros(3 << 18)
    other = large.clone()
    other[-1] = 1
    named = {"a": large, "same": large.clone(), "other": other, "shape": large.view(3, -1).clone(), "f16": large.half()}
    save_file(named, path)
    with SafetensorsFile(path) as file:
        assert [name for name in named if file.same_bytes("a", name)] == ["a", "same"]


@pytest.mark.parametrize(
    "header",
    [
        [],
        5,
        {"x": 5},
        {"x": {}},
        {"x": {**F32, "shape": [-2]}},
        {"x": {**F32, "shape": [2.0]}},
        {"x": {**F32, "shape": [True, 2]}},
        {"x": {**F32, "shape": [1] * 17}},
        {"x": {**F32, "shape": "2"}},
        {"x": {**F32, "shape": [3]}},
        {"x": {**F32, "shape": [2**62, 4]}},
        {"x": {**F32, "dtype": 7}},
        {"x": {**F32, "dtype": "F64"}},
        {"x": {**F32, "data_offsets": [0]}},
        {"x": {**F32, "data_offsets": [8, 0]}},
        {"x": {**F32, "data_offsets": [0, 2**70]}},
        {"x": {**F32, "data_offsets": [4, 12]}},
        {"x": {**F32, "more": 1}},
        {"x": F32, "y": F32},
        {"x": F32, "y": {**F32, "data_offsets": [4, 12]}},
        {"x": F32, "y": {**F32, "data_offsets": [12, 20]}},
        {"x": F32, "__metadata__": 3},
        {"x": F32, "__metadata__": {"format": 3}},
        {},
        b'{"x": ' + json.dumps(F32).encode() + b', "x": ' + json.dumps(F32).encode() + b"}",
        b"[" * 100_000,
        b"{" * 2_000,
        b"\xff\xfe{}",
        b'{"x": NaN}',
    ],
    ids=lambda header: ascii(header)[:60],
)
def test_a_header_that_breaks_a_rule_is_corrupt(tmp_path, header):
    with pytest.raises(CorruptArtifact, match=r"x\.safetensors"):
        SafetensorsFile(write(tmp_path / "x.safetensors", header, bytes(8)))


@pytest.mark.parametrize("length", [0, 1, 3, 10_000, HEADER_LIMIT_BYTES + 1, 2**63, 2**64 - 1])
def test_a_wrong_length_of_the_header_is_corrupt(tmp_path, length):
    with pytest.raises(CorruptArtifact, match="header"):
        SafetensorsFile(write(tmp_path / "x.safetensors", {"x": F32}, bytes(8), length))


@pytest.mark.parametrize("content", [b"", b"abc", bytes(8), bytes(9)])
def test_a_file_too_short_for_a_header_is_corrupt(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(CorruptArtifact, match="header"):
        SafetensorsFile(path)


def test_a_huge_header_is_not_read(tmp_path):
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 1 << 40))
        file.truncate((1 << 40) + 16)  # a hole: takes no disk
    with pytest.raises(CorruptArtifact, match="header"):
        SafetensorsFile(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", FLOATS.values(), ids=FLOATS)
def test_values_that_are_not_finite_are_named(tmp_path, dtype, value):
    path, tensor = tmp_path / "x.safetensors", torch.zeros(1 << 21, dtype=dtype)
    tensor[-5] = value
    save_file({"evil\x1b[31m": tensor}, path)
    with SafetensorsFile(path) as file:
        for asked in FLOATS.values():
            with pytest.raises(CorruptArtifact, match=r"evil\\x1b\[31m holds values that are not finite"):
                file.read("evil\x1b[31m", asked)


def test_values_too_large_for_the_asked_format_are_refused(tmp_path):
    save_file({"x": torch.tensor([1e6])}, tmp_path / "x.safetensors")
    with SafetensorsFile(tmp_path / "x.safetensors") as file, pytest.raises(CorruptArtifact, match="as float16"):
        file.read("x", torch.float16)


def test_a_file_cut_while_it_is_open_is_corrupt(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"x": torch.zeros(1 << 20)}, path)
    with SafetensorsFile(path) as file:
        os.truncate(path, 5000)
        for dtype in (torch.float32, torch.bfloat16):
            with pytest.raises(CorruptArtifact, match="became shorter"):
                file.read("x", dtype)


def test_special_files_are_refused_at_once(tmp_path):
    with pytest.raises(MissingFile):
        SafetensorsFile(tmp_path / "absent")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "fifo", tmp_path / "loop", tmp_path, "/dev/zero"):
        with pytest.raises(StorageError):
            SafetensorsFile(path)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_to_the_header_is_typed_or_reads_the_same_bytes(tmp_path, data):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4).half()}, path)
    content = bytearray(path.read_bytes())
    header_end = 8 + int.from_bytes(content[:8], "little")
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "replace"]))
    at = data.draw(st.integers(0, header_end - 1))
    if kind == "flip":
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    elif kind == "insert":
        content[at:at] = data.draw(st.binary(min_size=1, max_size=8))
    else:
        content[at : at + data.draw(st.integers(1, 20))] = data.draw(st.binary(max_size=20))
    path.write_bytes(content)
    try:
        with SafetensorsFile(path) as file:
            for name, stored in file.tensors.items():
                if stored.dtype in FLOATS:
                    assert file.read(name, FLOATS[stored.dtype]).shape == stored.shape
    except CorruptArtifact:
        pass


def test_a_header_of_more_than_the_limit_is_refused(tmp_path):
    text = json.dumps({"x": F32}).encode()
    padded = text + b" " * (HEADER_LIMIT_BYTES + 1 - len(text))
    with pytest.raises(CorruptArtifact, match="2,097,152"):
        SafetensorsFile(write(tmp_path / "x.safetensors", padded, bytes(8)))
    with SafetensorsFile(write(tmp_path / "x.safetensors", padded[:-1], bytes(8))) as file:
        assert list(file.tensors) == ["x"]
