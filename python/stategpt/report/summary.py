"""A run in a dozen lines for the terminal: what it is, seconds of each stage, gates."""

from pathlib import Path

from stategpt.evaluate.gates import format_value, verdict
from stategpt.visible_text import visible_line

from .run_files import RunFiles
from .wording import STAGE_LABELS, count, duration, sentence


def summary(run_folder: str | Path) -> str:
    """Stages with tokens and time, and gates with their verdict; what the run does not have is left out."""
    files = RunFiles(Path(run_folder))
    seconds, gates = files.seconds(), files.gates()
    lines = [f"{files.name}: {sentence(files.tokens('base'))}"]
    width = max((len(label) for label in STAGE_LABELS.values()), default=0)
    for stage, spent in seconds.items():
        tokens = files.tokens(stage)
        trained = f"{count(tokens)} tokens" if tokens else ""
        lines.append(f"  {STAGE_LABELS[stage]:<{width}}  {duration(spent):>12}  {trained}".rstrip())
    if seconds:
        lines.append(f"  {'in all':<{width}}  {duration(sum(seconds.values())):>12}")
    width = max((len(gate.gate) for gate in gates), default=0)
    lines += [
        f"  {verdict(gate):<4}  {gate.gate:<{width}}  {format_value(gate.value):>12}  {gate.rule}" for gate in gates
    ]
    page = files.root / "report" / "index.html"
    if page.is_file():
        lines.append(f"  report: {visible_line(str(page))}")
    return "\n".join(lines)
