"""Runs as TOML: round trips, partial files, overrides, and errors with their place."""

import os
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt import recipes
from stategpt.config import CorpusConfig, PretrainConfig, RLConfig, RunConfig, dump, from_dict, load, override
from stategpt.config.toml import format_value, resolve
from stategpt.errors import ConfigError
from stategpt.recipes import tiny_cpu

texts = st.text(st.characters(exclude_categories=["Cs"]))
plain_values = st.recursive(
    texts | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


@given(plain_values)
def test_any_plain_value_survives_toml(value: object) -> None:
    assert tomllib.loads(f"value = {format_value(value)}")["value"] == value


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_recipes_round_trip_through_a_file(name: str, tmp_path: Path) -> None:
    run = recipes.RECIPES[name]()
    (tmp_path / "run.toml").write_text(dump(run), encoding="utf-8")
    assert load(tmp_path / "run.toml") == run


@given(
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True),
    beta=st.floats(0, 1e6),
    prompts=st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
)
def test_awkward_values_round_trip(name: str, beta: float, prompts: list[str]) -> None:
    pretrain = PretrainConfig(sample_prompts=tuple(prompts), sample_at=("end",))
    run = RunConfig(name=name, rl=RLConfig(beta=beta), pretrain=pretrain)
    assert from_dict(tomllib.loads(dump(run))) == run


def test_dumped_file_explains_every_setting() -> None:
    lines = [line for line in dump(RunConfig()).splitlines() if " = " in line]
    assert len(lines) > 100
    assert all("  # " in line for line in lines)


@pytest.mark.parametrize("section", ["rankings", "rl", "evaluate"])
@pytest.mark.parametrize("name", ["temperature", "max_tokens"])
def test_a_setting_of_earlier_files_names_where_it_stands_now(section: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text(f"[{section}]\n{name} = 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"old\.toml:2: {section}\.{name} is now sampling\.{name}, one setting"):
        load(path)
    with pytest.raises(ConfigError, match=rf"^{section}\.{name} is now sampling\.{name}"):
        override(RunConfig(), {f"{section}.{name}": "1"})


def test_partial_file_has_the_default_jobs_values_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[rl]\nbeta = 0.04\n[rl.optim]\nlearning_rate = 5e-4\n', encoding="utf-8")
    default = RunConfig()
    rl = replace(default.rl, beta=0.04, optim=replace(default.rl.optim, learning_rate=5e-4))
    assert load(path) == replace(default, name="mine", rl=rl)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[rl]\nbata = 1.0\n", r"rl\.bata is not a setting; nearest: rl\.beta"),
        ('[rl]\nbeta = "x"\n', r"rl\.beta = 'x': must be a number"),
        ("[rl]\nsteps = 1.0\n", r"rl\.steps = 1\.0: must be a whole number"),
        ("[rl.optim]\nlearning_rate = -1\n", r"rl\.optim\.learning_rate = -1\.0: must be 0 or more"),
        ("rl = 3\n", "rl is a section"),
        ("seed = \n", "is not TOML.*line 1"),
    ],
)
def test_wrong_file_names_itself_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"wrong.toml.*{message}"):
        load(path)


def test_missing_and_binary_files_are_config_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml does not exist"):
        load(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary\.toml is not UTF-8 at byte 0"):
        load(tmp_path / "binary.toml")
    with pytest.raises(ConfigError, match=r"cannot be read as a run: .* is a folder, not a regular file"):
        load(tmp_path)
    (tmp_path / "deep.toml").write_text("a = " + "[" * 4000, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"deep\.toml: is nested too deeply"):
        load(tmp_path / "deep.toml")


def test_override_takes_text_and_values() -> None:
    run = override(RunConfig(), {"rl.beta": "0.04", "rl.steps": 5, "evaluate.best_of": "2,16", "seed": "7"})
    assert (run.rl.beta, run.rl.steps, run.evaluate.best_of, run.seed) == (0.04, 5, (2, 16), 7)
    assert RunConfig().rl.beta == 0.1


def test_entries_of_a_table_can_be_set_one_by_one() -> None:
    tiny = tiny_cpu()
    run = override(tiny, {"data.proportions.code": ".4", "data.proportions.docstrings": "0.5"})
    assert run.data.proportions == {"code": 0.4, "docstrings": 0.5, "comments": 0.1}
    with pytest.raises(ConfigError, match=r"must add up to 1, not 1\.1"):
        override(tiny, {"data.proportions.code": "0.4"})


def test_overrides_that_go_together_are_checked_together() -> None:
    run = override(RunConfig(), {"corpus.min_response_characters": "9", "corpus.max_response_characters": "9"})
    assert run.corpus == CorpusConfig(min_response_characters=9, max_response_characters=9)
    with pytest.raises(ConfigError, match=r"corpus\.max_response_characters = 8: .* min_response_characters = 9"):
        override(run, {"corpus.max_response_characters": "8"})


def test_resolved_says_what_was_given_and_what_followed() -> None:
    resolved = resolve(RunConfig(), {"tokenizer.vocab_size": "512"})
    assert resolved.given == {"tokenizer.vocab_size": 512}
    assert resolved.derived == {"model.vocab_size": 512}
    assert resolved.run.model.vocab_size == 512


def test_resolved_file_is_taken_as_it_stands() -> None:
    run = override(RunConfig(), {"model.depth": 6, "model.width": 128, "model.heads": 4, "model.kv_heads": 4})
    assert from_dict(tomllib.loads(dump(run))) == run


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("x = " + "[" * 2000 + "]" * 2000, "nested too deeply"),
        ("x = " + "[\n" * 100_000, "nested too deeply"),
        ("seed = " + "1" * 4050, "a whole number of 1345[0-9] bits"),
        ("seed = " + "1" * 5000, "line 1 has 5,007 characters"),
        (".".join(["a"] * 100_000) + " = 1", "line 1 has 200,003 characters"),
        ("k" * 1_000_000 + " = 1", "is larger than 262,144 bytes"),
        ("k" * 4000 + " = 1", r"k{200}\.\.\. is not a setting; nearest"),
        ("seed = 1\n" * 20_000 + "# " + "x" * 100_000, "larger than|not TOML|characters"),
        ('"\\u001b[31m\\u202e" = 1', r"\\x1b\[31m\\u202e is not a setting"),
        ('name = "a/b"', "must be 1 to 100 letters"),
        ('name = ".."', "must be 1 to 100 letters"),
        ('name = "\\u001b[31m"', "must be 1 to 100 letters"),
        ("seed = 9223372036854775807", "must lie between"),
        ("[rl]\nbeta = nan", "must be a number"),
        ("[rl]\nbeta = 1e300", "must lie between"),
        ("[data.proportions]\ncode = 1e308\ncomments = 1e308", "must lie between|at most 1"),
    ],
)
def test_what_no_run_holds_is_refused_in_bounded_time(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=says) as refused:
        load(path)
    assert len(str(refused.value)) < 1000 + len(str(path))
    assert "\x1b" not in str(refused.value)


def test_a_file_of_the_longest_keys_is_refused_in_bounded_time(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("\n".join(f"{'a.' * 2030}a{number} = 1" for number in range(60)), encoding="utf-8")
    with pytest.raises(ConfigError):
        load(path)


def test_a_fifo_and_a_folder_are_no_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.toml")
    for path in (tmp_path / "fifo.toml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read as a run"):
            load(path)
