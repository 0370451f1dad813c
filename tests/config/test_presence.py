"""The sections of a file are the stages that run; what a present stage needs and is missing is named with a remedy."""

import tomllib
from pathlib import Path

import pytest

from stategpt.config import RunConfig, dump, from_dict, load
from stategpt.config.presence import before, is_own, missing, require_complete, stages_of, through
from stategpt.config.stage_names import USUAL_STAGES
from stategpt.errors import ConfigError
from stategpt.recipes import RECIPES

DOCUMENTS = '[sources.manual]\npaths = ["docs/*.md"]\nshare = 1.0\n'
CHATS = '[sft]\ndata = ["chats.jsonl"]\n'
RANKED = '[rankings]\ndata = ["hh.jsonl"]\n'


def run_of(text: str) -> RunConfig:
    return from_dict(tomllib.loads(text))


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        (DOCUMENTS, "prepare pretrain"),
        (DOCUMENTS + CHATS, "prepare pretrain sft"),
        (DOCUMENTS + '[classify]\ndata = ["labeled.jsonl"]\n', "prepare pretrain classify"),
        (DOCUMENTS + CHATS + RANKED + "[reward]\n", "prepare pretrain sft rankings reward"),
        (DOCUMENTS + CHATS + RANKED + "[reward]\n[rl]\n", " ".join(USUAL_STAGES)),
        (DOCUMENTS + RANKED + "[reward]\n", "prepare pretrain rankings reward"),
        (DOCUMENTS + '[rl]\nscorer = "length"\nprompts = ["p.jsonl"]\n', "prepare pretrain rl compare"),
        (DOCUMENTS + "[evaluate]\nexamples = 3\n", "prepare pretrain"),
        ("[rl]\nbeta = 0.04\n", " ".join(USUAL_STAGES)),
        ('[corpus]\nsource = "python_library"\n', " ".join(USUAL_STAGES)),
    ],
)
def test_the_sections_are_the_stages(text: str, stages: str) -> None:
    assert " ".join(stages_of(tomllib.loads(text))) == stages
    assert " ".join(run_of(text).stages) == stages


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_run_every_stage_and_lack_nothing(name: str) -> None:
    run = RECIPES[name]()
    assert run.stages == USUAL_STAGES
    require_complete(run)
    assert not is_own(run)


def test_a_resolved_run_keeps_its_stages(tmp_path: Path) -> None:
    run = run_of(DOCUMENTS + CHATS)
    (tmp_path / "run.toml").write_text(dump(run))
    assert load(tmp_path / "run.toml").stages == run.stages == ("prepare", "pretrain", "sft")
    with pytest.raises(ConfigError, match=r"stages = .*must be stages in their order, prepare first"):
        run_of(f'stages = ["sft", "pretrain"]\n{DOCUMENTS}')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DOCUMENTS + "[sft]\nepochs = 1.0\n", r"\[sft\] has no conversations; add sft\.data"),
        (CHATS, r"there is no model to train: add \[sources\.NAME\].*or \[start\]"),
        (DOCUMENTS + "[reward]\n", r"\[reward\] has nothing to learn from; add \[rankings\]"),
        (DOCUMENTS + CHATS + "[rankings]\ncompletions = 3\n", r"\[rankings\] has neither data nor a scorer"),
        (DOCUMENTS + '[rankings]\nscorer = "length"\n[reward]\n', r"\[rankings\] has no prompts to complete"),
        (DOCUMENTS + CHATS + "[rl]\nsteps = 3\n", r"\[rl\] rewards with the reward model, which is not trained"),
        (DOCUMENTS + '[rl]\nscorer = "length"\n', r"\[rl\] has no prompts; add rl\.prompts"),
        ('[corpus]\nsource = "python_library"\n' + CHATS, r"builds a whole corpus, and sft\.data give data too"),
    ],
)
def test_what_a_stage_lacks_is_named_with_its_remedy(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        require_complete(run_of(text))


def test_what_is_complete_lacks_nothing() -> None:
    for text in (
        DOCUMENTS,
        DOCUMENTS + CHATS,
        DOCUMENTS + RANKED + "[reward]\n",
        DOCUMENTS + CHATS + RANKED + "[reward]\n[rl]\n",
        DOCUMENTS + CHATS + '[rankings]\nscorer = "length"\n[reward]\n[rl]\n',
    ):
        assert not list(missing(run_of(text))), text


def test_a_users_run_is_not_gated_by_the_demos_thresholds() -> None:
    assert run_of(DOCUMENTS).gates.required == ()
    assert RECIPES["tiny_cpu"]().gates.required != ()
    assert run_of(DOCUMENTS + '[gates]\nrequired = ["base"]\n').gates.required == ("base",)


def test_the_policy_is_the_sft_model_where_sft_runs() -> None:
    assert run_of(DOCUMENTS + CHATS).policy == "sft"
    assert run_of(DOCUMENTS + RANKED + "[reward]\n").policy == "base"


def test_parts_of_a_run_by_name() -> None:
    run = run_of(DOCUMENTS + CHATS)
    assert through(run, "pretrain") == ("prepare", "pretrain")
    assert before(run, "sft") == ("prepare", "pretrain")
    assert before(run, "prepare") == ()
    with pytest.raises(ConfigError, match=r"--until 'reward' is not among this run's stages; give one of prepare"):
        through(run, "reward")
    with pytest.raises(ConfigError, match=r"--from 'stf' is not a stage"):
        before(run, "stf")


def test_shares_of_sources_add_up_and_replace_proportions() -> None:
    two = '[sources.a]\npaths = ["a"]\nshare = 0.7\n[sources.b]\npaths = ["b"]\nshare = 0.3\n'
    assert run_of(two).proportions == {"a": 0.7, "b": 0.3}
    with pytest.raises(ConfigError, match=r"shares of all sources must add up to 1, not 1\.4"):
        run_of(two.replace("0.3", "0.7"))
    with pytest.raises(ConfigError, match=r"data\.proportions = .*does not apply with \[sources\]"):
        run_of(two + "[data]\nproportions = {a = 1.0}\n")
