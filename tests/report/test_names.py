"""No label of a page names a stage that did not run: what runs without SFT is called by what it is."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jinja2", reason="the [train] extra is not installed")
pytest.importorskip("matplotlib", reason="the [train] extra is not installed")

from stategpt.config import RunConfig, SourceConfig, StartConfig
from stategpt.evaluate import check_gates
from stategpt.evaluate.records import PretrainEvaluation, SFTEvaluation, read_evaluations
from stategpt.report.figures import all_sketches
from stategpt.report.page import render_page
from stategpt.report.run_files import RunFiles
from stategpt.report.summary import summary
from stategpt.report.wording import Names
from stategpt.visible_text import visible

SOURCES = {"docs": SourceConfig(paths=("docs",), share=1.0)}
START = StartConfig("model")
RUNS = {
    "sources only": ({"sources": SOURCES}, ("pretrain",)),
    "start and chats": ({"start": START, "chats": True}, ("sft",)),
    "start, rankings and reward": ({"start": START}, ("rankings", "reward")),
    "sources, rankings, reward, rl": ({"sources": SOURCES}, ("pretrain", "rankings", "reward", "rl", "compare")),
    "start, rankings, reward, rl": ({"start": START}, ("rankings", "reward", "rl", "compare")),
    "start and rl with a rule": ({"start": START, "rule": True}, ("rl", "compare")),
}
WORDS = {"sft": r"\bSFT\b", "rl": r"\bRLHF\b|\bRLOO\b", "reward": r"[Rr]eward model", "pretrain": r"\bbase( model)?\b"}
"""Stage -> what only a run with that stage may say."""


def configured(given: dict[str, object], stages: tuple[str, ...]) -> RunConfig:
    run = replace(RunConfig(), stages=("prepare", *stages), start=given.get("start", StartConfig()))  # type: ignore[arg-type]
    run = replace(run, sources=given.get("sources", {}))  # type: ignore[arg-type]
    if given.get("chats"):
        run = replace(run, sft=replace(run.sft, data=("chats.jsonl",)))
    if given.get("rule"):
        run = replace(run, rl=replace(run.rl, scorer="length", prompts=("prompts.jsonl",)))
    if "rankings" in stages:
        run = replace(run, rankings=replace(run.rankings, data=("hh.jsonl",)))
    return run


@pytest.mark.parametrize("name", RUNS)
def test_no_label_names_a_stage_that_did_not_run(name: str, tmp_path: Path, write_run: Callable[..., Path]) -> None:
    given, stages = RUNS[name]
    files = RunFiles(write_run(tmp_path / "run"))
    run = files.__dict__["run"] = configured(given, stages)
    measured = read_evaluations(files.root)
    if "sft" not in stages:
        measured = replace(measured, sft=SFTEvaluation())
    if "pretrain" not in stages:
        measured = replace(measured, base=PretrainEvaluation())
    files.__dict__["evaluations"] = measured
    files.__dict__["gates"] = check_gates(measured, run.gates, stages)
    page = re.sub(r"<style>.*?</style>", "", render_page(files, []), flags=re.DOTALL)
    page = page.partition('<section id="origin"')[0] + page.partition('<section id="glossary"')[2]  # run.toml, folders
    text = re.sub(r"<[^>]*>", " ", page)
    sketches = [sketch for sketch in all_sketches(files) if _is_of(sketch.name, stages)]
    text += "\n".join(f"{sketch.title}. {sketch.caption} {_words(sketch.paint)}" for sketch in sketches)
    for stage, word in WORDS.items():
        if stage not in stages and not (stage == "reward" and "rankings" in stages):
            found = [text[max(0, m.start() - 60) : m.end() + 30] for m in re.finditer(word, text)]
            assert not found, (stage, found)


def _words(paint: Any) -> str:
    """The texts that a figure is painted with: labels of its axes and of what is drawn."""
    keywords = getattr(paint, "keywords", {})
    return " ".join(value for value in keywords.values() if isinstance(value, str))


def _is_of(figure: str, stages: tuple[str, ...]) -> bool:
    """Whether a figure is on the page of a run with these stages."""
    starts = {
        "rl": ("rl_", "reward_over_kl", "wins_over_kl"),
        "compare": ("win_rates", "elo", "diversity"),
        "reward": ("rewards", "calibration", "loss_reward"),
        "sft": ("loss_sft",),
        "pretrain": ("loss_base", "bits_per_byte"),
    }
    return any(figure.startswith(starts[stage]) for stage in stages if stage in starts)


@pytest.mark.parametrize("name", RUNS)
def test_the_summary_on_the_terminal_names_what_ran(
    name: str, tmp_path: Path, write_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    given, stages = RUNS[name]
    root = write_run(tmp_path / "run", leave_out=("gates", "log"))
    monkeypatch.setattr(RunFiles, "run", configured(given, stages))
    said = " ".join(summary(root).partition("  total")[0].split())
    if not {"pretrain", "sft"} <= set(stages):
        assert "GPT assistant" not in said
        assert "A run of " in said


def test_names_are_those_of_what_ran() -> None:
    names = {name: Names.of(configured(*RUNS[name])) for name in RUNS}
    assert names["sources, rankings, reward, rl"].system("sft") == "base"
    assert names["start, rankings, reward, rl"].system("sft") == "start"
    assert names["start and chats"].system("base") == "start"
    assert names["start and chats"].system("prompted_base") == "prompted start"
    assert names["start and chats"].system("sft") == "SFT"
    assert names["start and rl with a rule"].rewarder == f"the scorer {visible('length')}"
    assert names["start, rankings, reward, rl"].demonstrations == "best-ranked completions"
    assert Names.of(None) == Names()
