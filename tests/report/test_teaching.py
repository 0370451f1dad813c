"""The page has each of the fourteen pictures by which the talk's first half explains how an assistant is made."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="the report needs the train extra")
pytest.importorskip("jinja2", reason="the report needs the train extra")

from stategpt.report.canvas import Picture
from stategpt.report.figures import all_sketches
from stategpt.report.page import render_page
from stategpt.report.run_files import RunFiles

ITEMS: Mapping[str, str] = {
    "mixture table": r"<th>source</th><th class=\"n\">planned</th>.*data-label=\"documents\">7,615</td>",
    "tokenization picture": r"<dt>raw text</dt>.*<dt>tokens</dt>.*<dt>ids</dt>",
    "hyperparameter tables": r"this run</th><th class=\"n\">GPT-3 175B</th><th class=\"n\">LLaMA-65B</th>.*65.2 B",
    "packed rows with EOS": r"aria-label=\"Row 4: .*<span class=\"chip cell\">.*<polygon",
    "training curves": r"id=\"figure-loss_base\".*validation loss \(dots\).*ln V",
    "samples over time": r"<span class=\"given\">Return the</span> number of items",
    "base as completer": r"Three ways to ask the same question.*class=\"base\">base</dt>",
    "few-shot base as assistant": r"document that the base model reads.*Answer: Greatest common divisor\.",
    "SFT example": r"chip read\">What</span>.*chip learned\">Return</span>",
    "K completions ranked": r"A ranked prompt.*sample long\">Returns the the name of self\._queue",
    "reward token picture": r"completion-part\">Return the number of items.*chip reward-token.*\+1\.42",
    "RL weighted tokens": r"chip raised\" style=\"--strength: \d+%\">Return.*chip lowered\"",
    "why RLHF": r"Why RLHF.*Judging is easier than writing",
    "mode collapse": r"class=\"card repeated\".*RLHF, beta 0\.04.*Return the current context\..*90 <small>13\.4 %",
}


@pytest.fixture(scope="module")
def page(run_folder: Path) -> str:
    """The page of the finished run; its figures have titles and captions and are not painted."""
    files = RunFiles(run_folder)
    pictures = [Picture(each.name, each.title, each.caption, b"", b"", 1, 1) for each in all_sketches(files)]
    return render_page(files, pictures)


@pytest.mark.parametrize("item", ITEMS)
def test_the_page_has_the_picture(page: str, item: str) -> None:
    assert re.search(ITEMS[item], page, re.DOTALL), item


@pytest.mark.parametrize(
    "said",
    [
        "stategpt run tiny_cpu --out runs/tiny",
        "2026-01-02 03:04 UTC",
        "Some Processor 9000, 4 cores, 16 GB memory",
        "Python 3.12.1, stategpt 0.1.0, torch 2.9.0",
        "0123456789ab",
    ],
)
def test_machine_versions_and_command_are_named(page: str, said: str) -> None:
    assert said in page


def test_every_section_that_teaches_has_a_formula_a_source_file_and_a_command(page: str) -> None:
    for anchor in ("data", "pretraining", "sft", "reward", "rl", "answers"):
        section = page.partition(f'<section id="{anchor}">')[2].partition("</section>")[0]
        assert '<dl class="about">' in section, anchor


def test_terms_are_explained_where_they_are_used_and_at_the_end(page: str) -> None:
    assert '<abbr class="term" title="Kullback-Leibler divergence' in page
    assert "<dt>KL</dt>" in page.partition('id="glossary"')[2]
