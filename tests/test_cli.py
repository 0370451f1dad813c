"""The command line as a whole: help, exit codes, one clean message for every error.

Goldens are made by `STATEGPT_UPDATE_GOLDENS=1 pytest tests/test_cli.py`; look at their diff.
"""

import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from stategpt.cli import main
from stategpt.config import dump
from stategpt.errors import MissingFile, StorageError
from stategpt.recipes import tiny_cpu

GOLDEN = Path(__file__).parent / "golden" / "cli"
HELP = [
    ["--help"],
    *([name, "--help"] for name in ("run", "plan", "init", "data", "chat", "serve", "report", "tokenizer")),
    *([name, "--help"] for name in ("generate", "score")),
    *([name, "--help"] for name in ("endpoint", "explain", "doctor")),
    *(["tokenizer", name, "--help"] for name in ("train", "encode", "inspect")),
    *(["data", name, "--help"] for name in ("build", "stats", "inspect", "verify")),
]
PLANS = [["plan", "tiny_cpu"], ["plan", "tiny_cpu", "--model.depth", "6"], ["plan", "llama-65b"], ["plan", "gpt3-175b"]]


def check_golden(name: str, text: str) -> None:
    """Compares with the golden, line breaks aside: argparse wraps differently from one Python to the next."""
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("STATEGPT_UPDATE_GOLDENS"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text.split() == path.read_text(encoding="utf-8").split(), f"{path} differs; see the head of this file"


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_help_is_the_golden(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    check_golden("-".join(["help", *words[:-1]]), capsys.readouterr().out)


@pytest.mark.parametrize("words", PLANS, ids=" ".join)
def test_plan_is_the_golden(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    check_golden("-".join(words).replace("--", ""), capsys.readouterr().out)


def test_settings_and_their_meanings_are_the_golden(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "tiny_cpu", "--toml"]) == 0
    printed = capsys.readouterr().out
    assert printed == dump(tiny_cpu())
    check_golden("settings", printed)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "tiny_cpu", "--rl.bata", "1"], "rl.bata is not a setting; nearest: rl.beta"),
        (["run", "tiny_cpu", "--rl.beta", "x"], "rl.beta = 'x': must be a number"),
        (["run", "tiny_cpu", "--rl.beta"], "--rl.beta needs a value: --rl.beta VALUE"),
        (["plan", "llama-7b", "--rl.beta", "1"], "--rl.beta does not apply to llama-7b"),
        (["plan", "llama-7b", "--utilization", "2"], "hardware.utilization = 2.0: must be in (0, 1]"),
        (["run", "llama-7b"], "llama-7b is a published shape, to plan only"),
        (["run", "nope.toml"], "nope.toml does not exist. Check the path"),
        (["run", "smoke_cpu", "--out", f"{__file__}/run"], f"cannot make the run folder {__file__}/run: "),
        (["run", "smoke_cpu", "--out", __file__], f"cannot make the run folder {__file__}: {__file__}: File exists"),
        (["report", "nowhere"], "nowhere is not a folder"),
        (["explain", "nowhere"], "nowhere is not a folder"),
        (["chat", "nowhere"], "nowhere is neither a run folder"),
        (["tokenizer", "inspect", "nowhere"], "nowhere is neither a tokenizer.json nor a folder containing one"),
    ],
)
def test_errors_are_one_line_on_stderr_and_exit_two(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"stategpt: {message}")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [[], ["fly"], ["run"], ["run", "tiny_cpu", "--chek"], ["run", "tiny_cpu", "x"], ["chat", "x", "--stage", "ppo"]],
)
def test_wrong_usage_exits_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: stategpt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "nearest"),
    [
        ("--chek", "--check"),
        ("--lr=1e-3", "--rl.optim.learning_rate, --sft.optim.learning_rate, "),
        ("--model-depth", "--model.depth, "),
    ],
)
def test_an_unknown_option_names_the_nearest_under_the_usage_of_its_command(
    option: str, nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["run", "tiny_cpu", option])
    told = capsys.readouterr().err
    assert told.startswith("usage: stategpt run")
    assert f"unknown option {option.partition('=')[0]}; nearest: {nearest}" in told


Runner = Callable[[object, Path], object]


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Callable[[Runner], None]:
    """Puts a function in the place of `stategpt.pipeline.run`, which needs torch and minutes."""

    def put(runner: Runner) -> None:
        module = types.ModuleType("stategpt.pipeline")
        module.run = runner  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "stategpt.pipeline", module)

    return put


def result(*failed: str) -> types.SimpleNamespace:
    gates = [types.SimpleNamespace(name=name) for name in failed]
    return types.SimpleNamespace(seconds=61.0, report=Path("r/report/index.html"), failed_gates=gates)


def test_run_hands_over_the_resolved_settings(
    stages: Callable[[Runner], None], capsys: pytest.CaptureFixture[str]
) -> None:
    handed: list[tuple[object, Path]] = []
    stages(lambda config, out, **_: handed.append((config, out)) or result())
    assert main(["run", "tiny_cpu", "--rl.beta", ".05", "--out", "somewhere"]) == 0
    [(config, out)] = handed
    assert (config.rl.beta, out) == (0.05, Path("somewhere"))  # type: ignore[attr-defined]
    assert "r/report/index.html" in capsys.readouterr().out


def test_failed_gate_exits_one_only_under_check(
    stages: Callable[[Runner], None], capsys: pytest.CaptureFixture[str]
) -> None:
    stages(lambda config, out, **_: result("rl_win_rate", "base"))
    assert main(["run", "tiny_cpu"]) == 0
    assert main(["run", "tiny_cpu", "--check"]) == 1
    assert "gates failed: rl_win_rate, base" in capsys.readouterr().err
    stages(lambda config, out, **_: result())
    assert main(["run", "tiny_cpu", "--check"]) == 0


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (StorageError("disk"), 2, "disk"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to continue from the last checkpoint"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            2,
            "torch, which is not installed. In the folder of stategpt's source run: pip install",
        ),
    ],
)
def test_exit_codes(
    stages: Callable[[Runner], None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    message: str,
) -> None:
    def fail(config: object, out: Path, **_: object) -> object:
        raise error

    stages(fail)
    assert main(["run", "tiny_cpu"]) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied", "ro/x"), "ro/x: Permission denied. Check the path"),
        (FileExistsError(17, "File exists", "afile"), "afile: File exists."),
        (OSError(18, "Invalid cross-device link", "a", None, "b"), "a -> b: Invalid cross-device link."),
        (MissingFile(2, "x does not exist. Check the path."), "x does not exist. Check the path."),
        (StorageError("bad \x1b]0;title\x07 name"), "bad \\x1b]0;title\\x07 name"),
    ],
)
def test_a_path_that_fails_is_one_line_and_nothing_reaches_the_terminal_raw(
    stages: Callable[[Runner], None], capsys: pytest.CaptureFixture[str], error: Exception, message: str
) -> None:
    def fail(config: object, out: Path, **_: object) -> object:
        raise error

    stages(fail)
    assert main(["run", "tiny_cpu"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"stategpt: {message}")
    assert told.count("\n") == 1


def test_a_nul_byte_in_the_run_folders_name_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "smoke_cpu", "--out", "a\0b"]) == 2
    assert capsys.readouterr().err.startswith("stategpt: cannot make the run folder 'a\\x00b'")


def test_an_error_of_the_system_that_names_no_path_is_a_bug_and_is_shown_whole(
    stages: Callable[[Runner], None],
) -> None:
    def fail(config: object, out: Path, **_: object) -> object:
        raise OSError("something deep inside")

    stages(fail)
    with pytest.raises(OSError, match="something deep inside"):
        main(["run", "tiny_cpu"])


def test_own_missing_modules_are_not_hidden(stages: Callable[[Runner], None]) -> None:
    def fail(config: object, out: Path, **_: object) -> object:
        raise ModuleNotFoundError("No module named 'stategpt.gone'", name="stategpt.gone")

    stages(fail)
    with pytest.raises(ModuleNotFoundError):
        main(["run", "tiny_cpu"])


def test_reader_may_leave_early() -> None:
    command = f"{sys.executable} -m stategpt plan tiny_cpu --toml | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("# A run of stategpt")
    assert done.stderr == ""


def test_commands_and_their_help_import_neither_torch_nor_numpy() -> None:
    program = (
        "import sys, stategpt.cli\n"
        "for name in (*stategpt.cli.parser.COMMANDS, ''):\n"
        "    try: stategpt.cli.main([*name.split(), '--help'])\n"
        "    except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'rich', 'matplotlib'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "[]"


def test_planning_and_help_import_neither_torch_nor_numpy() -> None:
    program = (
        "import sys; from stategpt.cli import main; main(['plan', 'tiny_cpu']);"
        "print(sorted({'torch', 'numpy', 'rich', 'matplotlib'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "[]"
