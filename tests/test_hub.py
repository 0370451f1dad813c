"""Models by name: what is a name and what a path, which files are fetched, and what each failure tells."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

hub = pytest.importorskip("huggingface_hub", reason="models by name need the hf extra (huggingface_hub)")
from huggingface_hub import constants, errors  # noqa: E402

from stategpt.config import CONTROL_TOKENS  # noqa: E402
from stategpt.data import ChatTemplate  # noqa: E402
from stategpt.errors import CorruptArtifact, HubError, MissingExtra, MissingFile, StategptError, StorageError  # noqa: E402
from stategpt.hub import MODEL_FILES, local_path  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402


class Repository:
    """A fake of the Hub with one model: `snapshot_download` copies the files that the patterns let through."""

    def __init__(self, cache: Path, files: dict[str, bytes]) -> None:
        self.cache, self.files = cache, files
        self.calls: list[tuple[str, str | None]] = []
        self.fetched: set[str] = set()

    def snapshot_download(
        self, repo_id: str, *, revision: str | None, allow_patterns: list[str], ignore_patterns: list[str]
    ) -> str:
        self.calls.append((repo_id, revision))
        for name, content in self.files.items():
            allowed, left_out = (
                any(fnmatch.fnmatch(name, each) for each in patterns) for patterns in (allow_patterns, ignore_patterns)
            )
            if allowed and not left_out:
                self.fetched.add(name)
                (self.cache / name).parent.mkdir(parents=True, exist_ok=True)
                (self.cache / name).write_bytes(content)
        return str(self.cache)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def served(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, bytes]], Repository]:
    def serve(files: dict[str, bytes]) -> Repository:
        made = Repository(tmp_path / "cache", files)
        monkeypatch.setattr(hub, "snapshot_download", made.snapshot_download)
        return made

    return serve


_FILES = (
    "config.json generation_config.json model.safetensors model-00001-of-00002.safetensors "
    "model.safetensors.index.json tokenizer.json tokenizer_config.json chat_template.jinja tokenizer.model "
    "pytorch_model.bin consolidated.safetensors consolidated.00.pth model.pt model.pkl onnx/config.json "
    "onnx/model.safetensors modeling.py README.md original/params.json model.gguf"
)
FILES = _FILES.split()
WANTED = set(FILES[:9])


def test_only_what_is_read_is_fetched_and_never_a_pickle(served: Callable[[dict[str, bytes]], Repository]) -> None:
    repository = served(dict.fromkeys(FILES, b""))
    assert local_path("org/name") == repository.cache
    assert repository.fetched == WANTED


def test_a_tokenizer_needs_no_weights(served: Callable[[dict[str, bytes]], Repository], tmp_path: Path) -> None:
    tok = Tokenizer.train(["ab"], 300, special_tokens=["<|im_start|>", "<|im_end|>"])
    tok.save(tmp_path / "tokenizer.json")
    template = b"{% for message in messages %}{{ message['content'] + '<|im_end|>' }}{% endfor %}"
    repository = served(
        {
            "tokenizer.json": (tmp_path / "tokenizer.json").read_bytes(),
            "chat_template.jinja": template,
            "model.safetensors": b"",
        }
    )
    assert Tokenizer.load("org/name@v1").fingerprint == tok.fingerprint
    assert ChatTemplate.load("org/name@v1").jinja() == template.decode()
    assert repository.calls == [("org/name", "v1")] * 2
    assert "model.safetensors" not in repository.fetched


def test_a_model_comes_by_its_name_and_revision(
    served: Callable[[dict[str, bytes]], Repository], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
    from stategpt.config import GPTConfig
    from stategpt.model import GPT, RewardModel

    model = GPT(GPTConfig(depth=1, width=16, heads=1, kv_heads=1, head_dim=16, mlp_width=16, vocab_size=300))
    tok = Tokenizer.train(["ab"], 300, special_tokens=CONTROL_TOKENS)
    model.save_pretrained(tmp_path / "m", tok)
    repository = served({path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()})
    found = GPT.from_pretrained("org/name@refs/pr/1")
    assert repository.calls == [("org/name", "refs/pr/1")]
    for name, value in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)
    with pytest.raises(StategptError, match="ForSequenceClassification"):
        RewardModel.from_pretrained("org/name")


def test_a_reward_model_and_a_classifier_come_by_their_names(
    served: Callable[[dict[str, bytes]], Repository], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
    from stategpt.config import GPTConfig
    from stategpt.model import GPT, Classifier, RewardModel

    shape = GPTConfig(depth=1, width=16, heads=1, kv_heads=1, head_dim=16, mlp_width=16, vocab_size=300)
    for made in (RewardModel(GPT(shape)), Classifier(GPT(shape), ("bad", "good"))):
        name = type(made).__name__
        made.save_pretrained(tmp_path / name)
        served({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
        found = type(made).from_pretrained(f"org/{name}")
        assert torch.equal(found.head.weight, made.head.weight)
        with pytest.raises(StategptError, match="GGUF files hold language models; give the folder of a"):
            type(made).from_pretrained("model.gguf")


def test_a_path_wins_and_what_looks_like_one_is_never_downloaded(
    here: Path, served: Callable[[dict[str, bytes]], Repository]
) -> None:
    repository = served({})
    (here / "runs").mkdir()
    (here / "org" / "name").mkdir(parents=True)
    paths = [
        "org/name",
        "runs/tiny",
        "a",
        "./a/b",
        "../a/b",
        "/a/b",
        "a/b/c",
        "~/a",
        "a/b.json",
        "a/b.gguf",
        "",
        "a/b@",
    ]
    for text in [*paths, "a\\b", "a/..", "a/b@../c", "-a/b", "a b/c", "x" * 97 + "/b"]:
        assert local_path(text) == Path(text)
    assert local_path(Path("other/name")) == Path("other/name")
    assert repository.calls == []
    with pytest.raises(StorageError, match="runs/tiny"):
        Tokenizer.load("runs/tiny")


def answered(kind: type[Exception], text: str) -> Exception:
    """An error of the library as after an answer of the server, whatever HTTP library it uses."""
    made = kind.__new__(kind)
    made.args = (text,)
    return made


@pytest.mark.parametrize(
    ("raised", "kind", "told"),
    [
        (
            lambda: answered(errors.GatedRepoError, "gated"),
            HubError,
            r"org/name is gated: accept .*/org/name.*log in",
        ),
        (lambda: answered(errors.RepositoryNotFoundError, "no"), MissingFile, "neither a path here nor a model"),
        (lambda: answered(errors.RevisionNotFoundError, "no"), MissingFile, "org/name has no revision 'v9'"),
        (
            lambda: errors.LocalEntryNotFoundError("no connection"),
            HubError,
            "could not be downloaded.*Check the connection",
        ),
        (lambda: answered(errors.HfHubHTTPError, "500"), HubError, "HfHubHTTPError: 500"),
        (lambda: RuntimeError("odd\nlines"), HubError, r"\(RuntimeError: odd\)"),
    ],
    ids=["gated", "no model", "no revision", "no connection", "server", "other"],
)
def test_each_failure_says_what_to_do(
    here: Path, monkeypatch: pytest.MonkeyPatch, raised: Any, kind: type[Exception], told: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise raised()

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(kind, match=told):
        local_path("org/name@v9")


def test_offline_only_what_is_in_the_cache_is_found(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the library itself: it must not be asked for the network, which no test has."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(HubError, match="HF_HUB_OFFLINE forbids a download"):
        local_path("org/name")


def test_without_the_library_the_extra_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"org/name, which is not a path here.* needs huggingface_hub.*\[hf\]"):
        local_path("org/name")


def test_a_snapshot_without_weights_says_what_it_holds(served: Callable[[dict[str, bytes]], Repository]) -> None:
    pytest.importorskip("torch", reason="the model needs the train extra (torch)")
    from stategpt.model import GPT

    served({"pytorch_model.bin": b"", "README.md": b""})
    with pytest.raises(CorruptArtifact, match=r"holds no config\.json"):
        GPT.from_pretrained("org/name")
    assert "*.bin" not in MODEL_FILES
