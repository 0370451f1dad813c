"""Writes the record of a finished run, for benches/records/: machine, versions, command, seconds, gates, measurements.

python benches/demo_record.py runs/tiny benches/records/2026-11-29-tiny_cpu.json --what 'the default job, ...'

What was measured on the run by a script of its own stands beside it: `--beside llmfao=llmfao.json`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from stategpt.evaluate.records import evaluation_json
from stategpt.json_records import to_json
from stategpt.report.run_files import RunFiles

EVALUATED = ("base", "classify", "sft", "rankings", "reward", "reward/judge", "comparison")
LONGEST_LIST = 40
LEFT_OUT = ("examples", "example", "few_shot_document", "training_example", "repeated", "question")
"""Texts, which the report shows; a record holds figures, and no list of more than `LONGEST_LIST` of them."""


def figures(held: Any) -> Any:
    """`held` without the texts of examples and without long lists."""
    if isinstance(held, dict):
        long = {key for key, value in held.items() if isinstance(value, list) and len(value) > LONGEST_LIST}
        return {key: figures(value) for key, value in held.items() if key not in LEFT_OUT and key not in long}
    return [figures(value) for value in held] if isinstance(held, list) else held


def record_of(folder: Path, what: str) -> dict[str, Any]:
    """The record of the finished run in `folder`; seconds are whole, as the terminal shows them."""
    files = RunFiles(folder)
    seconds = {stage: round(spent) for stage, spent in files.seconds().items()}
    measured = {
        stage: figures(json.loads((folder / stage / "evaluation" / "evaluation.json").read_text()))
        for stage in EVALUATED
        if (folder / stage / "evaluation" / "evaluation.json").exists()  # a run has the stages of its file
    }
    return {
        "what": what,
        "runs": [to_json(call) for call in files.environments],
        "seconds": seconds | {"all": sum(seconds.values())},
        "stages": [{"stage": s, "seconds": spent, "tokens": files.tokens(s)} for s, spent in seconds.items()],
        "gates": [evaluation_json(gate) for gate in files.gates],
        **measured,
    }


def main() -> None:
    """Reads the arguments and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("out", type=Path, help="the record, a .json file")
    parser.add_argument("--beside", action="append", default=[], metavar="NAME=FILE", help="JSON of a measurement")
    parser.add_argument("--what", required=True, help="what was measured, in a sentence")
    arguments = parser.parse_args()
    beside = [given.partition("=") for given in arguments.beside]
    others = {name: figures(json.loads(Path(file).read_text(encoding="utf-8"))) for name, _, file in beside}
    text = json.dumps(record_of(arguments.run, arguments.what) | others, indent=1, ensure_ascii=False)
    arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
