"""`stategpt tokenizer`: train on files, show tokens, look inside."""

import io
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from stategpt.cli import main
from stategpt.cli.token_view import show_tokens
from stategpt.config import CONTROL_TOKENS

pytest.importorskip("stategpt._native", reason="the extension is not built")
from stategpt.tokenizer import Tokenizer
from stategpt.tokenizer.inspection import longest_tokens

TEXT = "def add(first, second):\n    return first + second\n" * 20


@pytest.fixture
def trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    (tmp_path / "corpus.txt").write_text(TEXT, encoding="utf-8")
    out = tmp_path / "tokenizer.json"
    words = ["tokenizer", "train", str(tmp_path / "corpus.txt"), "--vocab-size", "300", "--out", str(out)]
    assert main(words) == 0
    assert "trained on 1 KB in 1 files" in capsys.readouterr().out
    return out


def test_trained_tokenizer_reserves_the_control_tokens(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenizer", "inspect", str(trained), str(trained.parent / "corpus.txt")]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name} {number}" in printed for number, name in enumerate(CONTROL_TOKENS))
    assert "bytes per token" in printed
    assert "fingerprint" in printed


def test_tokens_of_a_text_join_to_the_text(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["tokenizer", "encode", str(trained.parent), "return first"]) == 0
    pieces = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()]
    assert "".join(pieces) == "return·first"
    monkeypatch.setattr("sys.stdin", io.StringIO("return first"))
    assert main(["tokenizer", "encode", str(trained), "--ids"]) == 0
    assert len(capsys.readouterr().out.split()) == len(pieces)


def test_text_never_becomes_a_control_token(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenizer", "encode", str(trained), "<|endoftext|>", "--ids"]) == 0
    assert all(int(token) >= len(CONTROL_TOKENS) for token in capsys.readouterr().out.split())


def test_a_control_token_comes_out_of_text_on_request(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for special, is_control in (("text", False), ("unflagged", False), ("allow", True)):
        assert main(["tokenizer", "encode", str(trained), "<|endoftext|>", "--ids", "--special", special]) == 0
        assert (capsys.readouterr().out.split() == ["0"]) == is_control


def test_half_a_character_is_shown_as_bytes(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenizer", "encode", str(trained), "é"]) == 0
    assert "<C3>" in capsys.readouterr().out


def test_inspect_shows_tokens_of_a_text_and_bytes_per_token(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = str(trained.parent / "corpus.txt")
    assert main(["tokenizer", "inspect", str(trained), corpus, "--text", "return é\x1b[31m"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["id", "bytes", "piece", "token"]
    assert "".join(line.split()[3] for line in lines if line.split()[3:4] and line.split()[0].isdigit()).startswith(
        "return"
    )
    assert any(line.startswith(corpus) for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_on_a_terminal_tokens_stand_above_their_ids(trained: Path) -> None:
    tok = Tokenizer.load(trained)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=40, color_system="truecolor")
    show_tokens(tok, "return first + second\n    日本\n", console)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()).splitlines()
    assert "\x1b[30;48;2;" in screen.getvalue()
    assert all(cell_len(line) <= 40 for line in plain)
    ids = [int(word) for line in plain[1::2] for word in line.split()]
    assert ids == tok.encode("return first + second\n    日本\n").tolist()


@pytest.mark.parametrize(("content", "message"), [(b"caf\xe9 au lait", "UTF-8"), (None, "none.txt")])
def test_unusable_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, message: str
) -> None:
    path = tmp_path / "none.txt"
    if content is not None:
        path.write_bytes(content)
    assert main(["tokenizer", "train", str(path), "--out", str(tmp_path / "t.json")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "t.json").exists()
    assert main(["tokenizer", "inspect", str(tmp_path)]) == 2


def with_gap_and_odd_names(trained: Path) -> Path:
    """A file with a gap in its ids, and an added token whose name would change a terminal."""
    file = json.loads(trained.read_text())
    file["model"]["vocab"]["qqqq"] = 700
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    file["added_tokens"].append({"id": 701, "content": "<\x1b]0;owned\x07\n\u202e>", **flags})
    file["model"]["vocab"]["<\x1b]0;owned\x07\n\u202e>"] = 701
    path = trained.parent / "gap.json"
    path.write_text(json.dumps(file))
    return path


def test_inspect_takes_gaps_in_the_ids_and_odd_names(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = with_gap_and_odd_names(trained)
    assert main(["tokenizer", "inspect", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "qqqq" in printed
    assert r"<\x1b]0;owned\x07\n\u202e> 701" in printed
    assert not {"\x1b", "\x07", "\u202e"} & {*printed}


def test_inspect_asks_each_token_once_and_the_special_ones_once_in_all() -> None:
    asked = Counter[str]()

    class Counting(Tokenizer):
        """A tokenizer that counts the questions."""

        __slots__ = ()

        @property
        def special_tokens(self) -> dict[str, int]:
            asked["special_tokens"] += 1
            return super().special_tokens

        def token_bytes(self, id: int) -> bytes:
            asked["token_bytes"] += 1
            return super().token_bytes(id)

    tok = Counting(Tokenizer.train(["abcd"], 500, special_tokens=[f"<{number}>" for number in range(200)]))
    longest = longest_tokens(tok, 3)
    assert longest[0] == b"abcd"
    assert asked == {"special_tokens": 1, "token_bytes": tok.vocab_size - 200}


def test_the_engine_is_chosen_on_the_command_line(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")
    path = trained.parent / "lower.json"
    path.write_text(json.dumps({**json.loads(trained.read_text()), "normalizer": {"type": "Lowercase"}}))
    for command in (["inspect", str(path)], ["encode", str(path), "ADD"]):
        assert main(["tokenizer", *command]) == 2
        message = capsys.readouterr().err
        assert "--engine tokenizers" in message
        assert len(message.splitlines()) == 1
        assert main(["tokenizer", *command, "--engine", "tokenizers"]) == 0
        printed = capsys.readouterr().out
        assert "".join(printed.split()[1::2]) == "add" or command[0] == "inspect"


def test_a_byte_token_of_a_vocabulary_that_is_not_byte_level_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")
    model = {"type": "BPE", "vocab": {"<0xC3>": 0, "<0xA9>": 1, "a": 2}, "merges": [], "byte_fallback": True}
    decoder = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
    path = tmp_path / "fallback.json"
    path.write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model, "decoder": decoder}))
    engine = ["--engine", "tokenizers"]
    assert main(["tokenizer", "encode", str(path), "aé", *engine]) == 0
    assert capsys.readouterr().out.split() == ["2", "a", "0", "\ufffd", "1", "\ufffd"]
    assert main(["tokenizer", "inspect", str(path), *engine, "--text", "aé"]) == 0
    assert main(["tokenizer", "inspect", str(path), *engine]) == 0


def test_errors_take_one_line(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd\x1b[31m.json").write_text("{")
    for words in (
        ["inspect", str(tmp_path / "none")],
        ["inspect", str(tmp_path / "odd\x1b[31m.json")],
        ["encode", str(tmp_path / "odd\x1b[31m.json"), "a"],
        ["encode", str(trained), "\ud800"],
        ["inspect", str(trained), "--text", "\ud800"],
        ["inspect", str(trained), str(tmp_path)],
    ):
        assert main(["tokenizer", *words]) == 2, words
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1, said
        assert said.startswith("stategpt: ")
