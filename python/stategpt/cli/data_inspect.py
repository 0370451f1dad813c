"""Shows what a run's files of records are read as: format, counts, lengths, and examples as tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from stategpt.artifacts.run_folder import RunFolder
from stategpt.config.run import RunConfig
from stategpt.data import ChatTemplate, Segment
from stategpt.data.records import Conversation, LabeledText
from stategpt.data.rejections import Tally
from stategpt.errors import StategptError
from stategpt.stages.chat_format import run_chat, run_tokenizer, start_chat, start_tokenizer
from stategpt.stages.fitting import conversation_fit, trained_on
from stategpt.tokenizer import AnyTokenizer, Tokenizer
from stategpt.visible_text import visible, visible_line

if TYPE_CHECKING:
    from stategpt.data.formats.registry import Kind

_TRAINED, _READ, _CONTROL = "black on #b5dbae", "dim", "bold white on #a33b5b"
_CLASSES_SHOWN = 10
_SAMPLE_BYTES = 4 << 20
"""Of the files that a tokenizer is trained on where the run has none yet."""
_SAMPLE_VOCABULARY = 4096
_KINDS: dict[str, Kind] = {"classify.data": "label"}
"""Settings whose records other kinds of formats may have the keys of."""


@dataclass(frozen=True)
class Inspected:
    """One setting that names files of conversations, rankings, prompts or labeled texts.

    Attributes:
        setting: its name.
        formats: format that was recognized, by file.
        records: what was read.
        tally: what was kept and rejected.
    """

    setting: str
    formats: dict[str, str]
    records: Sequence[Any]
    tally: Tally


def inspect_run(run: RunConfig, out: Path, examples: int, console: Console | None = None) -> None:
    """Prints the inspection of every file of records that the run names."""
    console = console or Console(highlight=False)
    found = list(inspected(run))
    if not found:
        console.print(
            "no files of conversations, rankings, prompts or labels; [sft], [rankings], [rl] and [classify] name them",
            markup=False,
        )
        return
    chat, tok, of = chat_of(run, out, found)
    console.print(f"tokens: {of}", markup=False)
    for each in found:
        console.rule(each.setting, align="left")
        for path, name in each.formats.items():
            console.print(f"{path}: {name}", markup=False)
        for line in (*_counts(each.tally), *_lengths(run, chat, tok, each.records)):
            console.print(line, markup=False)
        for record in each.records[:examples]:
            console.print(example(chat, tok, record, run))


def inspected(run: RunConfig) -> Iterator[Inspected]:
    """Reads the files of each setting."""
    from stategpt.data.formats import read_conversations, read_labeled, read_prompts, read_ranked
    from stategpt.data.user_corpus import input_root

    root = input_root(run, Path.cwd())  # places as in the corpus and in the records of curation
    for setting, reader, patterns, form, columns in (
        ("sft.data", read_conversations, run.sft.data, run.sft.format, run.sft.columns),
        ("rankings.data", read_ranked, run.rankings.data, run.rankings.format, run.rankings.columns),
        ("rankings.prompts", read_prompts, run.rankings.prompts, "", {}),
        ("rl.prompts", read_prompts, run.rl.prompts, "", {}),
        ("evaluate.prompts", read_prompts, run.evaluate.prompts, "", {}),
        ("classify.data", read_labeled, run.classify.data, run.classify.format, run.classify.columns),
    ):
        if patterns:
            files = files_named(setting, patterns)
            records, tally = reader(files, format=form, columns=columns, base=root)
            kind = _KINDS.get(setting)
            yield Inspected(setting, {str(path): form or format_of(path, kind) for path in files}, records, tally)


def files_named(setting: str, patterns: Sequence[str]) -> list[Path]:
    """The files of a setting."""
    from stategpt.data.sources.globs import files_of

    return files_of(patterns, Path.cwd(), (), setting)


def format_of(path: Path, kind: Kind | None = None) -> str:
    """Name of the format, of a kind where one is given, that the first record of a file is recognized as, and how."""
    from stategpt.data.formats import recognize
    from stategpt.data.sources.records import read_records

    for _, record in read_records(path):
        if isinstance(record, dict):
            return f"{recognize(record, kind).name} (by its keys: {', '.join(sorted(record))[:80]})"
    return "no record can be read"


def _counts(tally: Tally) -> Iterator[str]:
    """kept + duplicate + rejected by code, and the first rejected records."""
    codes = "".join(f", {count:,} {code}" for code, count in sorted(tally.rejected.items()))
    codes += f"; {tally.later_turns:,} later turns not asked" if tally.later_turns else ""
    yield f"{tally.total:,} records: {tally.kept:,} kept, {tally.duplicate:,} duplicate{codes}"
    for rejection in tally.first:
        yield f"  {visible(str(rejection))}"


def _lengths(run: RunConfig, chat: ChatTemplate, tok: AnyTokenizer, records: Sequence[Any]) -> Iterator[str]:
    """How many records fit the model, and what becomes of the others."""
    if records and isinstance(records[0], LabeledText):
        yield from _classes(run, tok, records)
        return
    limit = run.sft_row_tokens
    counts: dict[str, int] = {}
    for record in records:
        if isinstance(record, Conversation):
            found = conversation_fit(chat, record, run.sft, limit)
            code = ("whole", "shortened")[bool(found)] if isinstance(found, int) else found
        else:
            code = "too_long" if _tokens_of(chat, tok, record) > run.model.context_tokens else "whole"
        counts[code] = counts.get(code, 0) + 1
    whole = counts.pop("whole", 0)
    rest = ", ".join(f"{count:,} {code.replace('_', ' ')}" for code, count in sorted(counts.items()))
    yield f"{whole:,} fit the {limit:,} tokens of a row" + (f"; {rest}" if rest else "")


def _classes(run: RunConfig, tok: AnyTokenizer, records: Sequence[LabeledText]) -> Iterator[str]:
    """How many texts each class has, and how many are longer than what is read of them."""
    counts = Counter(each.label for each in records)
    named = ", ".join(f"{visible_line(label)} {count:,}" for label, count in sorted(counts.items())[:_CLASSES_SHOWN])
    more = f" and {len(counts) - _CLASSES_SHOWN:,} more" if len(counts) > _CLASSES_SHOWN else ""
    yield f"{len(counts):,} classes: {named}{more}"
    most = run.classify.max_tokens
    cut = sum(tok.count(each.text) > most for each in records)
    yield f"{len(records) - cut:,} have at most {most:,} tokens (classify.max_tokens); {cut:,} are cut to their first"


def _tokens_of(chat: ChatTemplate, tok: AnyTokenizer, record: Any) -> int:
    """Tokens of a prompt, with the longest completion of a ranking."""
    asked = getattr(record, "prompt", record)
    longest = max((len(tok.encode(text)) + 2 for text in getattr(record, "completions", ())), default=1)
    return int(chat.prompt(asked).size) + longest


def example(chat: ChatTemplate, tok: AnyTokenizer, record: Any, run: RunConfig) -> Text:
    """A record as tokens: trained ones on a tint, read ones dim, control tokens by name."""
    if isinstance(record, Conversation):
        try:
            return colored(tok, Segment.of(chat, trained_on(record, run.sft.loss_on)))
        except StategptError as error:
            return Text(f"  {error}")
    shown = Text()
    if isinstance(record, LabeledText):
        _append_ids(shown, tok, tok.encode(record.text)[: run.classify.max_tokens].tolist(), _READ)
        return shown.append("\n  label: ", "bold").append(visible_line(record.label), _TRAINED)
    asked = getattr(record, "prompt", record)
    _append_ids(shown, tok, chat.prompt(asked).tolist(), _READ)
    for rank, completion in zip(getattr(record, "ranks", ()), getattr(record, "completions", ()), strict=False):
        shown.append(f"\n  rank {rank}: ", "bold")
        _append_ids(shown, tok, tok.encode(completion).tolist(), _TRAINED if rank == 1 else _READ)
    return shown


def colored(tok: AnyTokenizer, segment: Segment) -> Text:
    """A segment's tokens; those whose prediction is trained are tinted."""
    shown = Text()
    _append_ids(shown, tok, segment.tokens[:1].tolist(), _READ)
    targets = zip(segment.targets.tolist(), segment.loss_mask.tolist(), strict=True)
    for trained, run in groupby(targets, key=itemgetter(1)):
        _append_ids(shown, tok, [target for target, _ in run], _TRAINED if trained else _READ)
    return shown


def _append_ids(shown: Text, tok: AnyTokenizer, ids: Sequence[int], style: str) -> None:
    names = {number: name for name, number in tok.special_tokens.items()}
    # Plain tokens are decoded together: a token may hold a part of a character.
    for name, run in groupby(ids, key=names.get):
        if name is None:
            shown.append(visible(tok.decode(list(run))), style)
        else:
            shown.append("".join(name for _ in run), f"{_CONTROL}" if style == _READ else f"{style} bold")


def chat_of(run: RunConfig, out: Path, found: Sequence[Inspected]) -> tuple[ChatTemplate, AnyTokenizer, str]:
    """The run's chat format and tokenizer, those of its start model, or this package's format with a tokenizer trained
    on a sample of its files; and which tokenizer it is.
    """
    from stategpt.config.control import CONTROL_TOKENS
    from stategpt.config.start import model_place

    made = out / "tokenizer" / "tokenizer.json"
    if made.is_file():
        tok: AnyTokenizer = run_tokenizer(RunFolder(out))
        return run_chat(RunFolder(out), tok), tok, f"the run's tokenizer, {made}"
    if run.start.model:
        place = model_place(run.start.model)
        tok = start_tokenizer(run.start, place)
        return start_chat(run.start.chat, place, tok), tok, "the start model's tokenizer"
    texts = list(_sample(run, found))
    size = min(run.tokenizer.vocab_size, _SAMPLE_VOCABULARY)
    tok = Tokenizer.train(texts, size, pattern=run.tokenizer.pattern, special_tokens=list(CONTROL_TOKENS))
    return (
        ChatTemplate.own(tok),
        tok,
        f"a tokenizer of {tok.vocab_size:,} tokens trained on a sample; the run's own may differ by some tokens",
    )


def _sample(run: RunConfig, found: Sequence[Inspected]) -> Iterator[str]:
    """Texts of the documents, else of the conversations, up to `_SAMPLE_BYTES`."""
    from stategpt.data.sources.files import read_source

    left = _SAMPLE_BYTES
    for name, source in run.sources.items():
        for document in read_source(name, source, Path.cwd(), Tally()):
            yield document.text
            left -= len(document.text.encode())
            if left <= 0:
                return
    for each in found if left == _SAMPLE_BYTES else ():
        for record in each.records:
            for message in getattr(record, "messages", ()):
                yield message.content
            if isinstance(record, LabeledText):
                yield record.text
