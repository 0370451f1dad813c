"""The text of a first TOML file: sections for what a folder holds, sizes that fit the data and a small machine."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from stategpt.cli.found import Found, Source, label_sizes, source_name
from stategpt.cli.survey import tokens_of
from stategpt.config.toml import format_value

if TYPE_CHECKING:  # numpy
    from stategpt.data.ranked_group import RankedGroup
    from stategpt.data.records import Conversation

_SIZES = (
    # bytes of documents, depth, vocabulary
    (1 << 20, 2, 1024),
    (16 << 20, 3, 4096),
    (256 << 20, 4, 8192),
    (math.inf, 6, 16_384),
)
_MOST_TOKENS = 2_000_000
"""Of pretraining in a first run: minutes on two cores."""
_EPOCHS = 4
"""Up to about four repetitions are nearly as good as new text (arXiv 2305.16264)."""
_SMALLEST_SHARE = 0.01
_LABEL_COUNTS = (10, 100, 1000)
_PROMPT_TOKENS = 400
"""Of a prompt with a few labeled examples."""


@dataclass(frozen=True)
class Sizes:
    """What a first run's size follows from.

    Attributes:
        depth, vocab_size, context_tokens: of the model.
        tokens: of pretraining.
        answer_tokens: longest completion.
        validation_share, test_share: of the split.
        steps, prompts_per_step: of RL.
        few_shot_examples: of the prompt for the base model.
    """

    depth: int
    vocab_size: int
    context_tokens: int
    tokens: int
    answer_tokens: int
    validation_share: float
    test_share: float
    steps: int
    prompts_per_step: int
    few_shot_examples: int


def starter_text(found: Found, folder: Path, beside: Path) -> str:
    """TOML of a run on what was found in `folder`; its paths are relative to `beside`, where the file will lie."""
    sizes = sizes_of(found)
    lines = [
        f"# Run of stategpt on {folder.resolve().name}. Its sections are the stages that run; delete any.",
        "# stategpt plan FILE says what it takes, stategpt data inspect FILE what is read, stategpt run FILE does it.",
        "# Every setting that is not here: stategpt plan FILE --toml",
        "",
        "seed = 0  # another number gives another run of the same kind",
        *_corpus(sizes),
    ]
    if found.sources:
        lines += [*_sources(found, folder, beside), *_model(sizes)]
    else:
        lines += [
            "",
            "[start]  # there are no documents here, so a model is needed that has read some",
            'model = ""  # folder of an open model, or of a stage, as "runs/NAME/base"',
        ]
    lines += _conversations(found, sizes, beside)
    lines += _feedback(found, sizes, beside)
    lines += _classes(found, sizes, beside)
    return "\n".join(lines) + "\n"


def sizes_of(found: Found) -> Sizes:
    """Sizes that fit the data and a small machine."""
    depth, vocab_size = next((depth, vocab) for limit, depth, vocab in _SIZES if found.bytes < limit)
    tokens = max(20_000, min(_MOST_TOKENS, _EPOCHS * tokens_of(found.bytes)))
    lengths = [_tokens(record) for kind in ("conversation", "ranking") for record in found.examples[kind]]
    answers = [_answer_tokens(record) for kind in ("conversation", "ranking") for record in found.examples[kind]]
    longest = max(lengths, default=0)
    if found.records["label"]:
        longest = max(longest, _PROMPT_TOKENS)
    context = next((size for size in (256, 512, 1024) if longest <= 0.9 * size), 1024)
    groups = min([*_groups(found)], default=100)
    validation, test = (max(least, math.ceil(100 / max(groups, 3)) / 100) for least in (0.05, 0.1))
    prompts = max((survey.records for kind, survey in found.surveys.items() if kind != "label"), default=24)
    trained = max(1, int(prompts * (1 - validation - test)))
    short = sum(_is_short(record) for record in found.examples["conversation"])
    return Sizes(
        depth=depth,
        vocab_size=vocab_size,
        context_tokens=context,
        tokens=round(tokens, -3),
        answer_tokens=min(context // 4, max(24, round(median(answers)) if answers else 48)),
        validation_share=min(0.25, validation),
        test_share=min(0.25, test),
        steps=40,
        prompts_per_step=min(16, trained),
        few_shot_examples=1 if short >= len(found.examples["conversation"]) / 2 and short > 1 else 0,
    )


def _groups(found: Found) -> Iterator[int]:
    """Documents or records of each input that is split."""
    yield from (source.survey.records for source in found.sources)
    yield from (survey.records for survey in found.surveys.values())


def _text_of(record: Conversation | RankedGroup) -> list[str]:
    """Texts of a conversation's or a ranking's messages, the answers last."""
    texts = [message.content for message in record.messages]
    completions: tuple[str, ...] = getattr(record, "completions", ())
    return [*texts, max(completions, key=len)] if completions else texts


def _tokens(record: Conversation | RankedGroup) -> int:
    return sum(1 + tokens_of(len(text.encode())) for text in _text_of(record))


def _answer_tokens(record: Conversation | RankedGroup) -> int:
    return tokens_of(len(_text_of(record)[-1].encode()))


def _is_short(record: Conversation) -> bool:
    texts = _text_of(record)
    return len(texts) == 2 and len(texts[1]) <= 60 and len(texts[0]) <= 200


def _corpus(sizes: Sizes) -> list[str]:
    return [
        "",
        "[corpus]",
        f"validation_share = {sizes.validation_share:g}  # held out to choose settings by, in whole groups",
        f"test_share = {sizes.test_share:g}  # held out to measure the result on, in whole groups",
        "max_rejected_share = 0.01  # more records that cannot be read stop the run; they are always counted",
        'on_change = "refuse"  # an input file changed after the run began: refuse, or "rebuild" what was made from it',
    ]


def _sources(found: Found, folder: Path, beside: Path) -> Iterator[str]:
    taken: set[str] = set()
    shares = shares_of([source.survey.bytes for source in found.sources])
    for source, share in zip(found.sources, shares, strict=True):
        yield from ("", f"[sources.{source_name(source, taken)}]  # {source.survey}")
        yield f"paths = {format_value(_patterns(source, folder, beside))}  # files or patterns, relative to this file"
        yield f"share = {share:g}  # of the training tokens; here: of the bytes"
        if source.text:
            yield f"text = {format_value(source.text)}  # field with the document"


def shares_of(sizes: list[int]) -> list[float]:
    """Shares in hundredths that add up to 1, in proportion to the sizes and at least one hundredth."""
    total = max(1, sum(sizes))
    shares = [max(_SMALLEST_SHARE, round(size / total, 2)) for size in sizes]
    largest = shares.index(max(shares))
    shares[largest] = round(1 - math.fsum(shares[:largest] + shares[largest + 1 :]), 2)
    return shares


def _patterns(source: Source, folder: Path, beside: Path) -> list[str]:
    """Patterns of the source's files: one for text files, the names of files of records."""
    if source.text or len(source.files) == 1:
        return [_relative(path, beside) for path in source.files]
    endings = sorted({path.name[path.name.lower().rfind(source.suffix) :] for path in source.files})
    below = folder / source.folder if source.folder else folder
    depth = "**/*" if source.folder else "*"
    return [_relative(below / f"{depth}{ending}", beside) for ending in endings]


def _relative(path: Path, beside: Path) -> str:
    return Path(os.path.relpath(path.absolute(), beside)).as_posix()


def _model(sizes: Sizes) -> list[str]:
    return [
        "",
        "[tokenizer]",
        f"vocab_size = {sizes.vocab_size}  # tokens; a small corpus gives no more",
        "",
        "[model]",
        f"depth = {sizes.depth}  # blocks; width, heads, batch and learning rates follow from it",
        f"context_tokens = {sizes.context_tokens}  # longest sequence; a longer conversation is left out, and counted",
        "",
        "[pretrain]",
        f"tokens = {sizes.tokens}  # training tokens; more is better and slower",
        "batch_rows = 8  # rows of data.row_tokens per step",
    ]


def _conversations(found: Found, sizes: Sizes, beside: Path) -> Iterator[str]:
    if not found.records["conversation"]:
        return
    yield from ("", f"[sft]  # {found.surveys['conversation']}")
    yield from _data("data", found, "conversation", beside)
    yield "epochs = 2.0  # passes over the conversations"
    yield 'loss_on = "all"  # answers that are trained on: all of a conversation, or the "last"'
    yield 'too_long = "reject"  # a conversation longer than the context; or "keep_last_turns" of it'


def _data(key: str, found: Found, kind: str, beside: Path) -> Iterator[str]:
    yield f"{key} = ["
    for path in found.records[kind]:
        yield f"    {format_value(_relative(path, beside))},  # {found.formats[path]}"
    yield "]"


def _feedback(found: Found, sizes: Sizes, beside: Path) -> Iterator[str]:
    """Sampling, rankings, reward model, RL and evaluation, where there are people's rankings."""
    ranked, asked = found.records["ranking"], found.records["prompt"]
    if found.records["conversation"] or ranked:
        yield from ("", "[sampling]", f"max_tokens = {sizes.answer_tokens}  # longest completion that is sampled")
    if ranked:
        yield from ("", f"[rankings]  # {found.surveys['ranking']}")
        yield from _data("data", found, "ranking", beside)
        yield from ("", "[reward]  # a model that puts people's better answer above the worse one")
        yield "epochs = 1.0  # passes over the rankings"
        yield from ("", "[rl]  # the assistant learns to earn that model's reward, near what it was")
        if asked:
            yield from _data("prompts", found, "prompt", beside)
        yield f"steps = {sizes.steps}  # rounds of sampling"
        yield f"prompts_per_step = {sizes.prompts_per_step}  # prompts in each of them"
        yield "completions = 4  # samples per prompt"
        yield "beta = 0.1  # weight of staying near the assistant before RL; more is nearer"
    if found.records["conversation"] or ranked:
        yield from ("", "[evaluate]")
        yield f"few_shot_examples = {sizes.few_shot_examples}  # short examples that prompt the base model"
        yield "best_of = [2, 4]  # sizes of best-of-n, the baseline that RL is compared with"


def _classes(found: Found, sizes: Sizes, beside: Path) -> Iterator[str]:
    """Classification, where there are labeled texts."""
    if not found.records["label"]:
        return
    counts = label_counts(label_sizes(found.records["label"]), 1 - sizes.validation_share - sizes.test_share)
    yield from ("", f"[classify]  # {found.surveys['label']}: how few of these labels are enough?")
    yield from _data("data", found, "label", beside)
    yield f"label_counts = {format_value(counts)}  # training texts of each set, balanced over the classes"
    yield "seeds = 3  # draws of these sets; more give narrower intervals"
    yield 'methods = ["full", "lora", "few_shot", "random"]  # fine-tuned, with adapters, prompted, without pretraining'
    yield "max_tokens = 128  # of a longer text the first tokens are read"
    yield 'template = "Text: {text}\\nLabel: {label}"  # an example of the prompt'


def label_counts(sizes: Mapping[str, int], trained_share: float) -> list[int]:
    """Sizes of label sets, balanced over the classes, that the training side will have texts for.

    Chance decides which texts are held out: a class keeps its share of its texts, less two standard deviations.
    """
    kept = trained_share * min(sizes.values(), default=0)
    most = len(sizes) * int(kept - 2 * math.sqrt(kept * (1 - trained_share))) if len(sizes) > 1 else 0
    return [count for count in _LABEL_COUNTS if count <= most] or [max(most, len(sizes), 2)]
