"""Publishing from Python: whole or not at all, and every damage named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpu_signal import cpu_s_until_interrupted
from stategpt import _native
from stategpt.artifacts import Manifest, fingerprint, publish_file, publish_folder, read_manifest, verify
from stategpt.errors import CorruptArtifact, ForeignArtifact, InvalidArgument, OutOfSpace, StorageError


def write_two(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "a.txt").write_text("alpha")
    (folder / "b.bin").write_bytes(bytes(range(256)))


def test_a_published_folder_verifies_and_its_manifest_says_what_it_was_made_from(tmp_path: Path) -> None:
    made = publish_folder(
        tmp_path / "new" / "shard",
        write_two,
        kind="token_shard",
        fingerprints={"tokenizer": "b3:aa"},
        parents=["b3:bb"],
        extra={"documents": 3, "share": 0.1, "source": "héllo"},
    )
    assert verify(tmp_path / "new" / "shard", "token_shard") == made == read_manifest(tmp_path / "new" / "shard")
    assert (made.schema_version, made.kind, made.parents) == (1, "token_shard", ("b3:bb",))
    assert dict(made.fingerprints) == {"tokenizer": "b3:aa"}
    assert dict(made.extra) == {"documents": 3, "share": 0.1, "source": "héllo"}
    assert {name: record.size for name, record in made.files.items()} == {"b.bin": 256, "deep/a.txt": 5}


def test_the_fingerprint_depends_on_content_and_label_and_on_nothing_else(tmp_path: Path) -> None:
    def made(name: str, text: str = "x", **label: object) -> str:
        write = lambda folder: (folder / "f").write_text(text)  # noqa: E731
        return publish_folder(tmp_path / name, write, kind=str(label.pop("kind", "k")), **label).fingerprint  # type: ignore[arg-type]

    same = made("one")
    assert same == made("two") == made("one")
    others = [made("t", "y"), made("k", kind="other"), made("p", parents=["b3:00"]), made("e", extra={"a": 1})]
    assert len({same, *others}) == 5


def test_a_writer_that_raises_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    before = publish_folder(tmp_path / "x", write_two, kind="k")

    def write_and_fail(folder: Path) -> None:
        write_two(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_folder(tmp_path / "x", write_and_fail, kind="k")
    assert verify(tmp_path / "x") == before
    assert os.listdir(tmp_path) == ["x"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    publish_folder(tmp_path / "x", write_two, kind="old")
    publish_folder(tmp_path / "x", lambda folder: None, kind="new")
    assert verify(tmp_path / "x", "new").files == {}
    assert os.listdir(tmp_path) == ["x"]
    assert os.listdir(tmp_path / "x") == ["manifest.json"]


def test_a_folder_of_the_users_own_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.tex").write_text("years")
    with pytest.raises(InvalidArgument, match="not a published folder"):
        publish_folder(tmp_path / "x", write_two, kind="k")
    assert (tmp_path / "x" / "thesis.tex").read_text() == "years"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "b.bin").unlink(), "b.bin is missing"),
        (lambda folder: (folder / "b.bin").write_bytes(b"short"), "b.bin has 5 bytes instead of 256"),
        (lambda folder: (folder / "deep" / "a.txt").write_text("alphA"), "a.txt is altered in the chunk at byte 0"),
        (lambda folder: (folder / "more").write_text(""), "more is not in the manifest"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "schema version"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json is altered"),
        (lambda folder: (folder / "manifest.json").unlink(), "not a published artifact"),
    ],
)
def test_damage_is_refused_with_the_file_and_what_to_do(tmp_path: Path, damage: object, said: str) -> None:
    publish_folder(tmp_path / "x", write_two, kind="k")
    damage(tmp_path / "x")  # type: ignore[operator]
    with pytest.raises((CorruptArtifact, ForeignArtifact), match=said) as caught:
        verify(tmp_path / "x")
    assert str(tmp_path / "x") in str(caught.value)
    assert "make it again" in str(caught.value)


def test_another_kind_is_foreign(tmp_path: Path) -> None:
    publish_folder(tmp_path / "x", write_two, kind="checkpoint")
    with pytest.raises(ForeignArtifact, match="kind checkpoint, but token_shard is needed"):
        verify(tmp_path / "x", "token_shard")


def test_what_is_not_json_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"\$\.extra\.mean"):
        publish_folder(tmp_path / "x", write_two, kind="k", extra={"mean": float("nan")})
    assert os.listdir(tmp_path) == []


def test_links_and_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="ordinary files"):
        publish_folder(tmp_path / "x", lambda folder: (folder / "link").symlink_to("/etc/hostname"), kind="k")
    with pytest.raises(InvalidArgument, match="UTF-8"):
        publish_folder(tmp_path / "x", lambda folder: (folder / os.fsdecode(b"\xff")).touch(), kind="k")
    assert os.listdir(tmp_path) == []


def test_the_permissions_are_those_of_an_ordinary_new_file(tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_text("")
    publish_file(tmp_path / "published", b"")
    assert (tmp_path / "published").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_errors_of_the_system_name_path_and_operation(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"could not create .*/file/.*Not a directory"):
        publish_file(tmp_path / "file" / "below", b"")
    with pytest.raises(StorageError, match="Is a directory"):
        publish_file(tmp_path, b"")
    assert issubclass(OutOfSpace, OSError)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=3000), again=st.binary(max_size=3000))
def test_a_published_file_reads_back_equal(tmp_path: Path, data: bytes, again: bytes) -> None:
    for content in (data, again):
        publish_file(tmp_path / "f", content)
        assert (tmp_path / "f").read_bytes() == content
    assert os.listdir(tmp_path) == ["f"]


def test_a_signal_ends_verifying_and_publishing_before_they_are_done(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        with (folder / "big").open("wb") as file:
            file.truncate(1 << 40)  # a hole: it takes minutes to read and no disk

    cpu_s_until_interrupted(lambda: publish_folder(tmp_path / "x", fill, kind="test"))
    assert list(tmp_path.iterdir()) == []

    publish_folder(tmp_path / "x", lambda folder: (folder / "big").touch(), kind="test")
    fields = json.loads((tmp_path / "x" / "manifest.json").read_text())
    fields["files"]["big"]["size"] = 1 << 40
    del fields["fingerprint"]
    fields["fingerprint"] = _native.fingerprint_json(json.dumps(fields))
    (tmp_path / "x" / "manifest.json").write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
    os.truncate(tmp_path / "x" / "big", 1 << 40)
    cpu_s_until_interrupted(lambda: verify(tmp_path / "x"))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=12,
)
_FIELDS = ("schema_version", "kind", "files", "fingerprints", "parents", "extra", "fingerprint")


def _or_typed_error(read: Callable[[Path], Manifest], folder: Path) -> Manifest | None:
    """What was read, or None where it was refused in words that are safe to print."""
    refused = ""
    try:
        return read(folder)
    except (CorruptArtifact, ForeignArtifact) as error:
        refused = str(error)
    assert "\x1b" not in refused
    return None


@given(value=_JSON, field=st.sampled_from(_FIELDS), drop=st.booleans())
def test_any_value_in_any_field_of_a_manifest_is_a_typed_error(
    tmp_path_factory: pytest.TempPathFactory, value: object, field: str, drop: bool
) -> None:
    folder = tmp_path_factory.mktemp("any") / "a"
    publish_folder(folder, lambda temporary: (temporary / "f").write_text("x") and None, kind="k")
    path = folder / "manifest.json"
    good = json.loads(path.read_text())
    changed = {key: held for key, held in good.items() if key != field or not drop} | ({} if drop else {field: value})
    for content in (json.dumps(changed, indent=2, sort_keys=True) + "\n", json.dumps(value)):
        path.chmod(0o644)
        path.write_text(content)
        found = _or_typed_error(read_manifest, folder)
        assert found is None or changed == good


@given(
    name=st.text(max_size=30) | st.sampled_from(["../x", "/etc/passwd", "a/../b", "a//b", ".", "", "a\0", "\x1b[31m"])
)
def test_a_signed_manifest_whose_files_lie_outside_is_a_typed_error(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    folder = tmp_path_factory.mktemp("signed") / "a"
    publish_folder(folder, lambda temporary: (temporary / "f").write_text("x") and None, kind="k")
    path = folder / "manifest.json"
    fields = json.loads(path.read_text())
    fields["files"][name] = fields["files"].pop("f")
    del fields["fingerprint"]
    fields["fingerprint"] = fingerprint(fields)
    path.chmod(0o644)
    path.write_text(json.dumps(fields, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    assert _or_typed_error(verify, folder) is None or name == "f"
