"""Settings and names on the command line."""

from pathlib import Path

import pytest

from stategpt import recipes
from stategpt.cli import main
from stategpt.cli.parser import COMMANDS, command_flag
from stategpt.cli.settings import default_out, find_run, run_folder, split_settings
from stategpt.config import RunConfig, dump
from stategpt.errors import ConfigError


def test_settings_are_taken_out_wherever_they_stand() -> None:
    words = ["run", "--rl.beta", ".04", "tiny_cpu", "--out", "x", "--model.kv-heads=1", "--seed", "-1", "--name", "a b"]
    settings, rest = split_settings(words)
    assert settings == {"rl.beta": ".04", "model.kv_heads": "1", "seed": "-1", "name": "a b"}
    assert rest == ["run", "tiny_cpu", "--out", "x"]


def test_values_may_look_like_options_or_be_empty() -> None:
    assert split_settings(["run", "--rl.beta", "-0.1"])[0] == {"rl.beta": "-0.1"}
    assert split_settings(["plan", "--gates.required="])[0] == {"gates.required": ""}
    assert split_settings(["plan", "--data.proportions", "code=.5,comments=.5"])[0] == {
        "data.proportions": "code=.5,comments=.5"
    }


def test_commands_say_whether_they_take_settings_and_whether_they_train() -> None:
    flags = {name: [command_flag([name], flag) for flag in ("TAKES_SETTINGS", "TRAINS")] for name in COMMANDS}
    takes = {"run": [True, True], "plan": [True, False], "data": [True, False], "serve": [True, False]}
    assert {name: held for name, held in flags.items() if any(held)} == takes
    assert not command_flag([], "TRAINS")
    assert not command_flag(["fly"], "TRAINS")


def test_other_commands_keep_their_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "nowhere", "--seed", "3", "--prompt=--rl.beta"]) == 2
    assert "nowhere is neither a run folder" in capsys.readouterr().err


def test_setting_without_value_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--rl\.beta needs a value"):
        split_settings(["run", "tiny_cpu", "--rl.beta"])


def test_a_recipe_a_file_and_a_folder_are_found(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(dump(recipes.smoke_cpu()), encoding="utf-8")
    assert find_run("tiny_cpu", {}).run == recipes.tiny_cpu()
    assert find_run(str(tmp_path / "run.toml"), {}).run == recipes.smoke_cpu()
    assert find_run(str(tmp_path), {"rl.steps": "9"}).run.rl.steps == 9


@pytest.mark.parametrize(("name", "nearest"), [("tiny", "tiny_cpu"), ("llama65b", "llama-65b"), ("gpt3", "gpt3-13b")])
def test_unknown_name_gives_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=rf"^'{name}' is neither a recipe .*nearest: {nearest}$"):
        find_run(name, {})


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml does not exist\. .* --toml > my\.toml"):
        find_run(str(tmp_path / "none.toml"), {})
    with pytest.raises(ConfigError, match=r"is a folder without a run\.toml"):
        find_run(str(tmp_path), {})


def test_a_published_shape_cannot_be_trained_and_says_what_it_is_for() -> None:
    with pytest.raises(ConfigError, match=r"^gpt3-175b is a published shape, to plan only: `stategpt plan gpt3-175b`"):
        find_run("gpt3-175b", {})


def test_a_run_without_a_name_is_called_as_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("seed = 3\n", encoding="utf-8")
    (tmp_path / "named.toml").write_text('name = "other"\n', encoding="utf-8")
    mine = find_run(str(tmp_path / "mine.toml"), {}).run
    assert (mine.name, default_out("mine.toml", mine)) == ("mine", Path("runs/mine"))
    assert find_run(str(tmp_path / "named.toml"), {}).run.name == "other"
    assert find_run(str(tmp_path / "mine.toml"), {"name": "typed"}).run.name == "typed"


def test_run_goes_to_the_named_folder_or_below_runs(tmp_path: Path) -> None:
    assert default_out("tiny_cpu", RunConfig(name="mine")) == Path("runs/mine")
    assert default_out(str(tmp_path), RunConfig()) == tmp_path


def test_folder_of_a_run_has_a_run_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no run\.toml"):
        run_folder(str(tmp_path))
    with pytest.raises(ConfigError, match="is not a folder"):
        run_folder(str(tmp_path / "none"))
    (tmp_path / "run.toml").write_text("", encoding="utf-8")
    assert run_folder(str(tmp_path)) == tmp_path
