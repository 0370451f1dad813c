"""Lengths of people's rankings, by the first megabytes of their files: time and memory of training follow from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stategpt.config.run import RunConfig

if TYPE_CHECKING:
    from stategpt.data.ranked_group import RankedGroup


@dataclass(frozen=True)
class RankedLengths:
    """Tokens of prompts with their ranked completions.

    Attributes:
        prompt: mean of the prompts.
        answer: mean of the completions.
        longest_group: most of a prompt with all its completions, the prompt once.
    """

    prompt: int
    answer: int
    longest_group: int


def ranked_lengths(run: RunConfig, read_bytes: int, bytes_per_token: float) -> RankedLengths | None:
    """Measures the files of `rankings.data`, at most `read_bytes` of each; None where no group can be read there.

    A prompt loses its middle where it and a completion exceed the context, as in training.
    """
    prompts: list[int] = []
    answers: list[int] = []
    longest = 0
    context = run.model.context_tokens
    for group in _groups(run, read_bytes):
        found = [_tokens(text, bytes_per_token, context // 2) for text in group.completions]
        whole = _tokens("".join(message.content for message in group.messages), bytes_per_token, context)
        prompt = min(whole, context - max(found))
        prompts.append(prompt)
        answers += found
        longest = max(longest, prompt + sum(found))
    if not longest:
        return None
    return RankedLengths(_mean(prompts), _mean(answers), longest)


def _groups(run: RunConfig, read_bytes: int) -> Iterator[RankedGroup]:
    from stategpt.data.formats.reading import first_ranked
    from stategpt.data.sources.globs import files_of

    given = run.rankings
    if not given.data:
        return
    for path in files_of(given.data, Path.cwd(), ()):
        yield from first_ranked(path, read_bytes, format=given.format, columns=given.columns)


def _tokens(text: str, bytes_per_token: float, most: int) -> int:
    return min(most, max(1, round(len(text.encode("utf-8", "replace")) / bytes_per_token)))


def _mean(numbers: list[int]) -> int:
    return round(sum(numbers) / len(numbers))
