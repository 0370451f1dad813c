"""The header of GGUF files: all types of metadata, the directory, and everything that is refused, with its place."""

import struct
import tracemalloc

import numpy as np
import pytest

from stategpt.errors import CorruptArtifact, ForeignArtifact, MissingFile, StorageError
from stategpt.gguf_file import BLOCKS, MAX_ENTRIES, MAX_ITEMS, GgufFile, read_metadata

UINT32, FLOAT32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9


def text(value: str | bytes) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(content)) + content


def entry(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def described(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    """An entry of the directory; `shape` as the file has it, the fastest axis first."""
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dimensions + struct.pack("<IQ", kind, offset)


def whole(
    entries: list[bytes], tensors: list[bytes], data: bytes = b"", *, version: int = 3, alignment: int = 32
) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(entries)) + b"".join([*entries, *tensors])
    return head + b"\0" * (-len(head) % alignment) + data if tensors else head


@pytest.fixture
def read(tmp_path):
    """Writes bytes to a file and reads its header."""
    path = tmp_path / "a.gguf"

    def of(content: bytes) -> GgufFile:
        path.write_bytes(content)
        with GgufFile(path) as file:
            return file

    return of


NUMBERS = [
    (0, "<B", 255),
    (1, "<b", -128),
    (2, "<H", 65535),
    (3, "<h", -2),
    (4, "<I", 2**32 - 1),
    (5, "<i", -(2**31)),
    (6, "<f", 0.5),
    (7, "<B", True),
    (10, "<Q", 2**64 - 1),
    (11, "<q", -(2**63)),
    (12, "<d", 0.1),
]


@pytest.mark.parametrize(("kind", "packing", "value"), NUMBERS)
@pytest.mark.parametrize("version", [2, 3])
def test_every_type_of_number_is_read_alone_and_in_an_array(read, kind, packing, value, version):
    packed = struct.pack(packing, value)
    array = struct.pack("<IQ", kind, 3) + packed * 3
    found = read(whole([entry("a", kind, packed), entry("b", ARRAY, array)], [], version=version)).metadata
    assert found == {"a": value, "b": [value] * 3}
    assert type(found["a"]) is type(value)


def test_strings_and_nested_arrays_are_read(read):
    strings = struct.pack("<IQ", STRING, 2) + text("ä") + text("")
    nested = struct.pack("<IQ", ARRAY, 2) + strings + struct.pack("<IQ", BOOL, 1) + b"\1"
    found = read(whole([entry("a", STRING, text("Ġ t")), entry("b", ARRAY, nested)], [])).metadata
    assert found == {"a": "Ġ t", "b": [["ä", ""], [True]]}


def test_tensors_have_the_places_of_the_directory(read):
    tensors = [described("m", (3, 2)), described("q", (32, 1, 2), kind=8, offset=32)]
    file = read(whole([], tensors, bytes(range(24)) + b"\0" * 8 + b"x" * 68))
    matrix, blocks = file.tensors["m"], file.tensors["q"]
    assert (matrix.dtype, matrix.shape, matrix.end - matrix.begin) == ("F32", (2, 3), 24)
    assert (blocks.dtype, blocks.shape, blocks.end - blocks.begin) == ("Q8_0", (2, 1, 32), 68)
    with GgufFile(file.path) as opened:
        assert opened.read(matrix.begin, 24).tolist() == list(range(24))
        assert opened.read(blocks.begin, 68).tobytes() == b"x" * 68


def test_the_alignment_of_the_metadata_decides_where_tensors_begin(read):
    content = whole(
        [entry("general.alignment", UINT32, struct.pack("<I", 64))], [described("m", (1,))], b"\1\2\3\4", alignment=64
    )
    file = read(content)
    assert file.alignment == 64
    with GgufFile(file.path) as opened:
        assert opened.read(file.tensors["m"].begin, 4).tolist() == [1, 2, 3, 4]


def test_equal_tensors_are_recognized_by_their_bytes(tmp_path):
    tensors = [described(name, (2,), offset=32 * at) for at, name in enumerate("abc")]
    values = [struct.pack("<2f", 1, 2), struct.pack("<2f", 1, 2), struct.pack("<2f", 1, 3)]
    (tmp_path / "a.gguf").write_bytes(whole([], tensors, b"".join(each + b"\0" * 24 for each in values)))
    with GgufFile(tmp_path / "a.gguf") as file:
        assert file.same_bytes("a", "b")
        assert not file.same_bytes("a", "c")


ONE = [described("m", (8,))]
DATA = b"\0" * 32
FOREIGN = {
    "no GGUF": (b"GGML" + b"\0" * 40, "does not begin with GGUF"),
    "version 1": (whole([], [], version=1), "it is 1; versions 2 and 3"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "one part of several": (whole([entry("split.count", 2, struct.pack("<H", 3))], []), "split.count.*one of 3 parts"),
    "an unknown type of tensor": (whole([], [described("m", (8,), kind=77)], DATA), "m, byte 24: its type.*77"),
}
CORRUPT = {
    "empty": (b"", "the magic, byte 0"),
    "too many tensors": (b"GGUF" + struct.pack("<IQQ", 3, MAX_ENTRIES + 1, 0), "number of tensors, byte 8"),
    "too many metadata": (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63), "number of metadata, byte 16"),
    "a key longer than the file": (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 60000), "metadata 0.*truncated"),
    "a key that is too long": (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62), f"metadata 0.*{2**62} bytes"),
    "a value longer than the file": (whole([entry("k", STRING, struct.pack("<Q", 2**20))], []), "k, byte.*truncated"),
    "an array longer than the file": (
        whole([entry("k", ARRAY, struct.pack("<IQ", STRING, 2**20))], []),
        "k, byte.*trunc",
    ),
    "numbers longer than the file": (
        whole([entry("k", ARRAY, struct.pack("<IQ", 10, 2**21))], []),
        "k, byte.*truncated",
    ),
    "an array with too many items": (
        whole([entry("k", ARRAY, struct.pack("<IQ", UINT32, MAX_ITEMS + 1))], []),
        f"{MAX_ITEMS + 1} items",
    ),
    "arrays without an end": (whole([entry("k", ARRAY, struct.pack("<IQ", ARRAY, 1) * 9)], []), "nested more than 4"),
    "an unknown type of value": (whole([entry("k", 13, b"\0" * 8)], []), "k, byte 37.*13"),
    "the same key twice": (whole([entry("k", BOOL, b"\0")] * 2, []), "k, byte 38: the key is there twice"),
    "a key that is not UTF-8": (whole([entry(b"\xff", BOOL, b"\0")], []), "not UTF-8"),
    "a truth value of 2": (whole([entry("k", BOOL, b"\2")], []), "k, byte.*neither 0 nor 1"),
    "no dimension": (whole([], [described("m", ())], DATA), "m, byte 24: it has 0 dimensions"),
    "five dimensions": (whole([], [described("m", (1,) * 5)], DATA), "5 dimensions"),
    "an empty axis": (whole([], [described("m", (8, 0))], DATA), r"its shape is \[0, 8\]"),
    "a memory bomb": (whole([], [described("m", (2**40, 2**20))], DATA), "m, byte 24"),
    "a product beyond 64 bits": (whole([], [described("m", (2**32, 2**32, 2**32))], DATA), "m, byte 24: its shape"),
    "a row that is no blocks": (whole([], [described("m", (8,), kind=8)], DATA), "multiple of 32"),
    "the same tensor twice": (whole([], [*ONE, *ONE], DATA), "m, byte.*twice"),
    "an offset of no alignment": (whole([], [described("m", (8,), offset=8)], DATA * 2), "its offset is 8, expected 0"),
    "a gap": (whole([], [*ONE, described("n", (8,), offset=64)], DATA * 3), "n, byte.*offset is 64, expected 32"),
    "an overlap": (whole([], [described("m", (16,)), described("n", (8,), offset=32)], DATA * 3), "n.*expected 64"),
    "a tensor beyond the file": (whole([], [described("m", (9,))], DATA), "m, byte 24: it ends at byte.*truncated"),
    "an offset beyond 64 bits": (whole([], [described("m", (8,), offset=2**64 - 32)], DATA), "its offset is 18446"),
    "bytes after the tensors": (whole([], ONE, DATA * 2), "the tensors end here"),
    "an alignment of 0": (whole([entry("general.alignment", UINT32, b"\0" * 4)], []), "general.alignment.*it is 0"),
    "an alignment that is no power": (
        whole([entry("general.alignment", UINT32, struct.pack("<I", 24))], []),
        "it is 24",
    ),
    "an alignment that is a text": (whole([entry("general.alignment", STRING, text("32"))], []), "it is '32'"),
}


@pytest.mark.parametrize(("content", "message"), FOREIGN.values(), ids=FOREIGN)
def test_files_of_another_kind_are_refused_by_name(read, content, message):
    with pytest.raises(ForeignArtifact, match=rf"a\.gguf, (?s:.*){message}"):
        read(content)


@pytest.mark.parametrize(("content", "message"), CORRUPT.values(), ids=CORRUPT)
def test_damaged_headers_are_refused_with_key_and_offset_before_anything_is_allocated(read, content, message):
    tracemalloc.start()
    with pytest.raises(CorruptArtifact, match=rf"a\.gguf, .*{message}"):
        read(content)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_header_that_is_too_long_is_refused_at_its_limit(tmp_path):
    path = tmp_path / "a.gguf"
    with open(path, "wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + entry("k", ARRAY, struct.pack("<IQ", STRING, 2)))
        file.write(struct.pack("<Q", 40 << 20))
        file.seek(40 << 20, 1)  # holes
        file.write(struct.pack("<Q", 40 << 20))
        file.truncate(1 << 40)
    with pytest.raises(CorruptArtifact, match=r"k, byte 41943.*the header is longer than 67,108,864 bytes"):
        read_metadata(path)


def test_what_is_no_regular_file_is_refused(tmp_path):
    with pytest.raises(MissingFile):
        read_metadata(tmp_path / "none.gguf")
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(StorageError, match="a folder"):
        read_metadata(tmp_path / "folder.gguf")


def test_a_file_that_becomes_shorter_is_noticed(tmp_path):
    path = tmp_path / "a.gguf"
    path.write_bytes(whole([], [described("m", (1 << 16,))], b"\0" * (1 << 18)))
    with GgufFile(path) as file:
        path.write_bytes(b"")
        with pytest.raises(CorruptArtifact, match="became shorter"):
            file.read(file.tensors["m"].begin, 1 << 18)


def test_types_of_tensors_are_those_of_the_package():
    gguf = pytest.importorskip("gguf", reason="the package of the extra hf is the reference")
    for name, (code, values, size) in BLOCKS.items():
        kind = gguf.GGMLQuantizationType[name]
        assert (kind.value, gguf.GGML_QUANT_SIZES[kind]) == (code, (values, size)), name


def test_a_file_of_the_package_is_read_as_the_package_reads_it(tmp_path):
    gguf = pytest.importorskip("gguf", reason="the package of the extra hf is the reference")
    path = tmp_path / "a.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(128)
    writer.add_token_list(["a", "Ġb", "<|c|>"])
    writer.add_token_scores([0.5, -1.0, 0.25])
    writer.add_rope_freq_base(5e5)
    for name, values in (("x", np.arange(6, dtype=np.float32).reshape(2, 3)), ("y", np.arange(4, dtype=np.float16))):
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    expected = gguf.GGUFReader(path)
    with GgufFile(path) as file:
        assert dict(file.metadata) == {
            key: field.contents() for key, field in expected.fields.items() if not key.startswith("GGUF.")
        }
        for tensor in expected.tensors:
            ours = file.tensors[tensor.name]
            assert (ours.begin, ours.end - ours.begin) == (tensor.data_offset, tensor.n_bytes)
            assert ours.shape == tuple(tensor.shape.tolist()[::-1])
