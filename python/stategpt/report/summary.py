"""A run in a dozen lines for the terminal: what it is, seconds of each stage, gates."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from stategpt.config.stage_names import folder_title
from stategpt.evaluate.gates import format_value, verdict
from stategpt.evaluate.records import GateResult

from .run_files import RunFiles
from .wording import count, duration, sentence

WIDTH = 80


def summary(run_folder: str | Path, width: int = WIDTH) -> str:
    """Stages with tokens and time, and gates with their verdict; what the run does not have is left out.

    Args:
        width: characters of a line.
    """
    files = RunFiles(Path(run_folder))
    seconds = files.seconds()
    opening = textwrap.wrap(f"{files.name}: {sentence(files.tokens('base'), files.stages)}", width)
    tokens = {stage: files.tokens(stage) for stage in seconds}
    return "\n".join([*opening, *stage_lines(seconds, tokens), *gate_lines(files.gates, width)])


def stage_lines(seconds: Mapping[str, float], tokens: Mapping[str, int | None]) -> list[str]:
    """A line for each stage with its time and the tokens it was trained on, and one for all together."""
    if not seconds:
        return []
    width = max((len(folder_title(stage)) for stage in seconds), default=0)
    lines = []
    for stage, spent in seconds.items():
        trained = f"{count(tokens.get(stage))} tokens" if tokens.get(stage) else ""
        lines.append(f"  {folder_title(stage):<{width}}  {duration(spent):>12}  {trained}".rstrip())
    return [*lines, f"  {'total':<{width}}  {duration(sum(seconds.values())):>12}"]


def gate_lines(gates: Sequence[GateResult], width: int = WIDTH) -> list[str]:
    """Verdict, name, value and rule of each gate; a rule that is too long continues below."""
    longest = max((len(gate.name) for gate in gates), default=0)
    lines: list[str] = []
    for gate in gates:
        head = f"  {verdict(gate):<4}  {gate.name:<{longest}}  {format_value(gate.value):>7}  "
        column = " " * len(head)
        rule = textwrap.wrap(gate.rule, max(20, width - len(head)), break_long_words=False, break_on_hyphens=False) or [
            ""
        ]
        lines += [(head if not number else column) + part for number, part in enumerate(rule)]
    return lines
