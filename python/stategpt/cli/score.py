"""`stategpt score`: log-probabilities of texts, and of completions given prompts."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stategpt.cli.commands import add
from stategpt.cli.model_source import DTYPES, STAGE_FOLDERS, add_engine, load_engine, model_place, torch_dtype
from stategpt.errors import ConfigError, NoChatTemplate
from stategpt.visible_text import visible_line

if TYPE_CHECKING:
    from stategpt.cli.record_file import Checked, Item, RecordFile
    from stategpt.cli.scored_texts import Score, ScoredText
    from stategpt.generate import Engine

_DETAILS = """A record has `text`; or `prompt` and `completion`, of which the completion is scored; with --chat also
`messages`, of which the answers are scored. Log-probabilities are the model's own, in nats: temperature 1, nothing
removed. Perplexity is exp(-log-probability / tokens). Texts longer than the context are scored in windows.

  stategpt score runs/tiny --text "Return the length of a list."
  stategpt score models/SmolLM2-135M answers.jsonl --chat --out scores.jsonl --tokens"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = add(commands, "score", execute, "log-probabilities of texts, or of completions given prompts", _DETAILS)
    parser.add_argument("model", metavar="RUN_OR_MODEL", help="a run folder, a model folder, a .gguf file, or org/name")
    parser.add_argument("file", nargs="?", metavar="FILE", help="records: JSON lines, JSON, CSV or Parquet")
    parser.add_argument("--stage", choices=STAGE_FOLDERS, help="model of the run (default: the last language model)")
    parser.add_argument("--text", help="a text instead of a file; with --prompt the completion")
    parser.add_argument("--prompt", metavar="TEXT", help="what is before --text and not scored")
    parser.add_argument("--chat", action="store_true", help="through the chat template (default: as documents)")
    parser.add_argument("--out", metavar="OUT", help="file to write, a record a line; the total is printed")
    parser.add_argument("--tokens", action="store_true", help="also the id and log-probability of each token")
    parser.add_argument("--skip-bad", action="store_true", help="leave bad records out; their errors are written")
    parser.add_argument("--dtype", choices=tuple(DTYPES), help="number format of the weights (default: as stored)")
    add_engine(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Prints the scores, or writes them and prints their total."""
    if (arguments.file is None) == (arguments.text is None):
        raise ConfigError("give a file of records, or --text TEXT")
    if arguments.prompt is not None and arguments.text is None:
        raise ConfigError("--prompt is what is before --text; in a file it is the field prompt")
    if arguments.chat and arguments.text is not None and arguments.prompt is None:
        raise ConfigError("--chat scores the answer to a prompt: give --prompt TEXT, too")

    from stategpt.cli.record_file import RecordFile
    from stategpt.cli.scored_texts import TextReader

    place = model_place(arguments.model, arguments.stage)
    engine = load_engine(place, arguments.engine, torch_dtype(arguments.dtype))
    if arguments.chat and engine.chat is None:
        raise NoChatTemplate(f"{place} has no chat template; leave --chat out to score documents")
    read = TextReader(engine, chat=arguments.chat)
    if arguments.file is None:
        return _one(engine, read(_record(arguments)), tokens=arguments.tokens)
    file = RecordFile(arguments.file, read)
    checked = file.check(skip_bad=arguments.skip_bad)
    return _Scoring(arguments, engine, file, checked).run()


def _record(arguments: argparse.Namespace) -> dict[str, Any]:
    """The text of the command line as a record."""
    if arguments.prompt is None:
        return {"text": arguments.text}
    return {"prompt": arguments.prompt, "completion": arguments.text}


def _one(engine: Engine, text: ScoredText, *, tokens: bool) -> int:
    from stategpt.cli.scored_texts import scores

    (log_probs,) = scores(engine, [text])
    print(_score(text, log_probs))
    if tokens:
        for token, log_prob in zip(text.ids[text.counted].tolist(), log_probs.tolist(), strict=True):
            print(f"{log_prob:10.4f}  {token:>8}  {visible_line(engine.tok.decode([token]))}")
    return 0


def _score(text: ScoredText, log_probs: Any) -> Score:
    from stategpt.cli.scored_texts import Score

    return Score(float(log_probs.sum(dtype="float64")), len(log_probs), text.bytes)


class _Scoring:
    """Scores the records of a file in their order."""

    def __init__(
        self, arguments: argparse.Namespace, engine: Engine, file: RecordFile[ScoredText], checked: Checked
    ) -> None:
        self.arguments, self.engine, self.file, self.checked = arguments, engine, file, checked
        self.total: Score | None = None

    def run(self) -> int:
        """Writes or prints each record, then the total."""
        from stategpt.artifacts import publish_written
        from stategpt.artifacts.fingerprint import json_text

        if self.arguments.out is None:
            for record in self._records():
                self._print(record)
        else:

            def write(path: Path) -> None:
                """Writes all records; the file appears whole."""
                with path.open("wb") as output:
                    output.writelines((json_text(record) + "\n").encode() for record in self._records())

            publish_written(self.arguments.out, write)
        count, left_out = len(self.checked.lines), len(self.checked.rejected)
        print(f"{count:,} records{f', {left_out:,} left out' if left_out else ''}: {self.total}")
        return 0

    def _records(self) -> Iterator[dict[str, Any]]:
        """Yields scores, and errors of records that were left out, in the order of the file."""
        from stategpt.cli.record_file import failure_of
        from stategpt.cli.scored_texts import scores
        from stategpt.progress import progress

        rejected = list(reversed(self.checked.rejected))
        items, texts = tee(self.file.items(self.checked))
        with progress("score", len(self.checked.lines), "records") as advance:
            found = scores(self.engine, (item.value for item in texts))
            for number, (item, log_probs) in enumerate(zip(items, found, strict=True), start=1):
                while rejected and rejected[-1][0].where.line < item.where.line:
                    yield failure_of(*rejected.pop())
                yield self._record(item, log_probs)
                advance(number, "")
            while rejected:
                yield failure_of(*rejected.pop())

    def _record(self, item: Item[ScoredText], log_probs: Any) -> dict[str, Any]:
        score = _score(item.value, log_probs)
        self.total = score if self.total is None else self.total + score
        name = {} if item.id is None else {"id": item.id}
        record = {**name, "line": item.where.line, **score.to_json()}
        if self.arguments.tokens:
            record["token_ids"] = item.value.ids[item.value.counted].tolist()
            record["token_log_probs"] = log_probs.tolist()
        return record

    def _print(self, record: dict[str, Any]) -> None:
        name = visible_line(str(record.get("id", "")), 40)
        where = f"{self.arguments.file}:{record['line']}{f' ({name})' if name else ''}"
        if "error" in record:
            print(f"{where}: left out: {visible_line(record['error']['message'])}")
            return
        from stategpt.cli.scored_texts import Score

        print(f"{where}: {Score(record['log_prob'], record['tokens'], record['bytes'])}")
