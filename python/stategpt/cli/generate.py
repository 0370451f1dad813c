"""`stategpt generate`: samples of many prompts, in one batch that never empties, resumable."""

from __future__ import annotations

import argparse
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stategpt.cli.commands import add
from stategpt.cli.constraint_options import add_constraint, constraint_of
from stategpt.cli.model_source import (
    DTYPES,
    STAGE_FOLDERS,
    add_engine,
    load_engine,
    model_hash,
    model_place,
    torch_dtype,
)
from stategpt.errors import ConfigError, NoChatTemplate, StategptError
from stategpt.visible_text import visible_line

if TYPE_CHECKING:
    from stategpt.arguments import Ids
    from stategpt.cli.record_file import Checked, RecordFile
    from stategpt.cli.resumable_file import ResumableFile
    from stategpt.cli.sampling_run import Sampled, Wanted
    from stategpt.generate import Engine

INTERRUPTED = 130
_DETAILS = """A record of FILE has `prompt`, with --chat also `messages`, and `id` if you like. Every record is checked
before the first is computed. OUT gets a record for each sample, in the order of the prompts, when all are done; until
then finished samples are in OUT.part. The same command continues an interrupted run, with the same results: seed, line
and sample decide the random numbers. Other settings, another file of prompts and another model are refused.

  stategpt generate runs/tiny --chat --prompts prompts.jsonl --out answers.jsonl --n 4 --temperature 0.8
  stategpt generate models/SmolLM2-135M --prompts prompts.jsonl --out facts.jsonl --schema fact.json"""

_SETTINGS: tuple[tuple[str, type, Any, str], ...] = (
    ("n", int, 1, "samples of each prompt (default: 1)"),
    ("max_tokens", int, 256, "most tokens of a sample (default: 256)"),
    ("temperature", float, 1.0, "0 = greedy (default: 1)"),
    ("top_k", int, None, "draw from the K most likely tokens only"),
    ("top_p", float, None, "draw from the fewest tokens that hold this probability"),
    ("min_p", float, None, "leave out tokens less likely than this share of the most likely one"),
    ("repetition_penalty", float, 1.0, "for ids in prompt and sample; 1 = none (default: 1)"),
    ("presence_penalty", float, 0.0, "for ids in the sample; 0 = none (default: 0)"),
    ("frequency_penalty", float, 0.0, "for each time an id is in the sample; 0 = none (default: 0)"),
    ("seed", int, 0, "seed of the sampling (default: 0)"),
)
"""Option, type, default and help of what decides a sample."""
_OF_SAMPLING = (
    *("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "seed"),
)


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = add(commands, "generate", execute, "sample completions of the prompts in a file", _DETAILS)
    parser.add_argument("model", metavar="RUN_OR_MODEL", help="a run folder, a model folder, a .gguf file, or org/name")
    parser.add_argument("--stage", choices=STAGE_FOLDERS, help="model of the run (default: the last language model)")
    parser.add_argument("--prompts", required=True, metavar="FILE", help="JSON lines, JSON, CSV or Parquet")
    parser.add_argument("--out", required=True, metavar="OUT", help="file to write, JSON lines")
    parser.add_argument("--chat", action="store_true", help="through the chat template (default: as documents)")
    for name, kind, default, told in _SETTINGS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=told, dest=name)
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="ends a sample; may be repeated")
    add_constraint(parser, patterns=True)
    parser.add_argument("--tokens", action="store_true", help="also write the id and log-probability of each token")
    parser.add_argument("--skip-bad", action="store_true", help="leave bad records out; their errors are written")
    parser.add_argument("--rows", type=int, help="samples that run at a time (default: 256)")
    parser.add_argument("--exact", action="store_true", help="log-probabilities equal to the last bit in any batch")
    parser.add_argument("--dtype", choices=tuple(DTYPES), help="number format of the weights (default: as stored)")
    add_engine(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Generates what is not there yet."""
    if arguments.out.endswith((".gz", ".zst")):
        raise ConfigError(f"--out {visible_line(arguments.out)}: the output is not compressed; give a name as x.jsonl")
    spec = constraint_of(arguments.schema, arguments.regex)

    import numpy as np

    from stategpt.cli.record_file import RecordFile

    place = model_place(arguments.model, arguments.stage)
    engine = load_engine(
        place,
        arguments.engine,
        torch_dtype(arguments.dtype),
        keep_prefixes=True,
        batch_rows=arguments.rows,
        exact=arguments.exact,
    )
    make = prompt_reader(engine, place, chat=arguments.chat)
    # Settings are checked before the file is read, which may be long.
    request = engine.request(
        np.array([0], dtype=np.uint32),  # each prompt is put here
        arguments.n,
        max_tokens=arguments.max_tokens,
        stop=arguments.stop,
        constraint=spec,
        raw_log_probs=True,
        sampling=engine.sampling(**{name: getattr(arguments, name) for name in _OF_SAMPLING}),
    )
    file = RecordFile(arguments.prompts, make)
    return _Job(arguments, engine, file, request).run(_settings(arguments, place))


def prompt_reader(engine: Engine, place: Path, *, chat: bool) -> Callable[[dict[str, Any]], Ids]:
    """Returns what makes the ids of a prompt of a record.

    Raises:
        NoChatTemplate: prompts are to go through a template, and the model has none.
    """
    from stategpt.cli.record_file import text_field
    from stategpt.data.lines import BadLine
    from stategpt.data.message_records import messages_of

    context, template = engine.model.config.context_tokens, engine.chat
    if chat and template is None:
        raise NoChatTemplate(f"{place} has no chat template; leave --chat out to continue texts")

    def raw(record: dict[str, Any]) -> Ids:
        """A document's beginning."""
        if "prompt" not in record and "messages" in record:
            raise BadLine("missing_field", "there are messages and no prompt; with --chat messages are read")
        return engine.request(text_field(record, "prompt")).ids

    def templated(record: dict[str, Any]) -> Ids:
        """Messages up to the answer."""
        assert template is not None  # checked above
        if record.get("messages") is None:
            return template.prompt(text_field(record, "prompt"), context_tokens=context)
        return template.prompt(messages_of(record["messages"], "messages"), context_tokens=context)

    return templated if chat else raw


def _settings(arguments: argparse.Namespace, place: Path) -> dict[str, Any]:
    """What decides the output."""
    from stategpt import _native

    given = {name: getattr(arguments, name) for name, *_ in _SETTINGS}
    constraint = constraint_of(arguments.schema, arguments.regex)
    return {
        **given,
        "stop": list(arguments.stop),
        "constraint": None if constraint is None else repr(constraint),
        "chat": arguments.chat,
        "tokens": arguments.tokens,
        "skip_bad": arguments.skip_bad,
        "exact": arguments.exact,
        "dtype": arguments.dtype,
        "prompts": _native.hash_file(arguments.prompts)[1],
        "model": model_hash(place),
    }


class _Job:
    """One call of the command: what is there, what is wanted, what is written."""

    def __init__(self, arguments: argparse.Namespace, engine: Engine, file: RecordFile[Ids], request: Any) -> None:
        self.arguments, self.engine, self.file, self.request = arguments, engine, file, request
        self.samples: int = arguments.n

    def run(self, settings: Mapping[str, Any]) -> int:
        """Generates and publishes; an interrupted call says how to continue."""
        from stategpt.cli.resumable_file import ResumableFile

        checked = self.file.check(skip_bad=self.arguments.skip_bad)
        total = len(checked.lines) * self.samples
        with ResumableFile(self.arguments.out, settings, total, self._place_of(checked)) as output:
            shown = visible_line(str(output.out))
            if output.is_complete:
                print(f"{shown} is complete: {total:,} samples of {len(checked.lines):,} prompts")
                return 0
            try:
                self._generate(output, checked, total)
            except KeyboardInterrupt:
                print(
                    f"stategpt: interrupted; {output.done:,} of {total:,} samples are in {output.part.name}, and the "
                    "same command continues",
                    file=sys.stderr,
                )
                return INTERRUPTED
            output.publish(lambda line_of: self._lines(checked, line_of))
        left_out = f", {len(checked.rejected):,} records left out" if checked.rejected else ""
        print(f"{shown}: {total:,} samples of {len(checked.lines):,} prompts{left_out}")
        return 0

    def _place_of(self, checked: Checked) -> Callable[[Mapping[str, Any]], int | None]:
        def place_of(result: Mapping[str, Any]) -> int | None:
            """Prompt times samples, and the sample."""
            line, sample = result.get("line"), result.get("sample")
            if type(line) is not int or type(sample) is not int or not 0 <= sample < self.samples:
                return None
            prompt = bisect_left(checked.lines, line)
            is_there = prompt < len(checked.lines) and checked.lines[prompt] == line
            return prompt * self.samples + sample if is_there else None

        return place_of

    def _generate(self, output: ResumableFile, checked: Checked, total: int) -> None:
        from stategpt.cli.sampling_run import sampled
        from stategpt.progress import progress

        with progress("generate", total, "samples") as advance:
            advance(output.done, "")
            for found in sampled(self.engine, self._wanted(output, checked)):
                for result in self._results(found):
                    output.add(result)
                advance(output.done, "")

    def _wanted(self, output: ResumableFile, checked: Checked) -> Iterator[Wanted]:
        from stategpt.cli.sampling_run import Wanted, missing_runs

        for number, item in enumerate(self.file.items(checked)):
            there = [output.has(number * self.samples + sample) for sample in range(self.samples)]
            for start, count in missing_runs(there):
                # The line, not the number among those that can be used, is the random stream.
                request = replace(self.request, ids=item.value, stream=item.where.line)
                yield Wanted(request, start, count, item)

    def _results(self, found: Sampled) -> Iterator[dict[str, Any]]:
        from stategpt.cli.sampling_run import result_of

        item, error = found.label, found.event.error
        if error is None:
            yield {**_head(item, found.sample), **result_of(found.event, tokens=self.arguments.tokens)}
            return
        if not self.arguments.skip_bad:
            raise StategptError(f"{item.where}: {error}") from error
        told = {"code": type(error).__name__, "message": str(error)}
        for sample in found.unfinished:
            yield {**_head(item, sample), "error": told}

    def _lines(self, checked: Checked, line_of: Callable[[int], bytes]) -> Iterator[bytes]:
        """The output: samples and errors of records in the order of the prompts."""
        from stategpt.artifacts.fingerprint import json_text
        from stategpt.cli.record_file import failure_of

        rejected = iter(checked.rejected)
        following = next(rejected, None)
        for number, line in enumerate([*checked.lines, None]):
            while following is not None and (line is None or following[0].where.line < line):
                yield (json_text(failure_of(*following)) + "\n").encode()
                following = next(rejected, None)
            if line is not None:
                for sample in range(self.samples):
                    yield line_of(number * self.samples + sample)


def _head(item: Any, sample: int) -> dict[str, Any]:
    """What names a sample: an id, the prompt's own id where it has one, its line, the sample's number."""
    name = item.where.line if item.id is None else item.id
    given = {} if item.id is None else {"prompt_id": item.id}
    return {"id": f"{name}-{sample}", **given, "line": item.where.line, "sample": sample}
