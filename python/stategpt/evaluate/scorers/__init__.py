"""Scorers: what gives a completion a number, to rank it, to reward it in RL, or to compare systems by.

A setting (`rankings.scorer`, `rl.scorer`, `evaluate.scorer`) names one of two kinds:

    reward_model        a module of this folder that has `build(context: ScorerContext) -> Scorer`
    my_rules:score      module:function, called as score(prompts, completions, **options); it returns a number for each
                        completion, or `Scores` with named parts. The module is imported as Python finds it, or from
                        the folder that `stategpt` is run in. Its source file is part of the fingerprint of what it
                        scored, so an edited scorer does not continue an old run.

    def score(prompts, completions):
        return [float(prompt.reference in completion.text) for prompt, completion in zip(prompts, completions)]

Options are text, by name (`rl.scorer_options`). A completion that a scorer raises for, or gives no finite number, has
failed: it is counted and left out of ranking, update or comparison, never scored 0. Where more than
`evaluate.max_failed_share` of all completions have failed so far, the stage stops with the count and the first one.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stategpt.arguments import nearest_hint
from stategpt.data.chats.template import ChatTemplate
from stategpt.data.corpus import Corpus
from stategpt.data.records import Prompt
from stategpt.errors import ConfigError, ScorerError
from stategpt.shown_fields import documented, short_repr
from stategpt.tokenizer import AnyTokenizer
from stategpt.user_functions import load_function
from stategpt.visible_text import visible_line

if TYPE_CHECKING:
    from stategpt.generate import Completion

Function = Callable[[Sequence[Prompt], "Sequence[Completion]"], Any]
_SHOWN_CHARS = 80


@documented
@dataclass(frozen=True)
class Scores:
    """What a scorer gives S completions."""

    values: NDArray[np.float32]
    """float32[S], higher is better; NaN where the scorer failed."""
    parts: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """float32[S] by name: what the values are the sums of, for a reader."""

    __repr__ = short_repr


class Scorer(Protocol):
    """Gives every completion of a prompt a number."""

    def scores(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Scores of S completions; `prompts[s]` is the prompt of `completions[s]`."""
        ...


@documented
@dataclass(frozen=True)
class ScorerContext:
    """What a built-in scorer may be built from."""

    corpus: Corpus
    """The run's corpus; a scorer learns from its training side only."""
    tok: AnyTokenizer
    """The run's tokenizer."""
    reward_model: Path | None = None
    """Folder of the run's reward model, where it is trained already."""
    device: str = "cpu"
    """Where models run."""
    options: Mapping[str, str] = field(default_factory=dict)
    """The setting's `scorer_options`."""
    chat: ChatTemplate | None = None
    """The tokenizer's chat format; None: this package's."""

    __repr__ = short_repr


def scorer_names() -> list[str]:
    """Names of the built-in scorers, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def build_scorer(name: str, context: ScorerContext, setting: str, max_failed_share: float = 0.0) -> Scorer:
    """The scorer that `setting` names, with its results checked.

    A built-in one names the options that it takes in `OPTIONS`; a function is called with them as keywords.

    Raises:
        ConfigError: `name` is empty, unknown, or a module or function that cannot be imported; names the nearest. Or
            the scorer cannot be built from the run, or does not take one of the options.
    """
    if ":" in name:
        function = load_function(name, setting)
        given = partial(function, **context.options) if context.options else function
        return Checked(name, FromFunction(given), max_failed_share)
    require_scorer(name, setting, context.options)
    return Checked(name, _built_in(name).build(context), max_failed_share)


def require_scorer(name: str, setting: str, options: Mapping[str, str] | None = None) -> None:
    """Refuses a name or an option that `build_scorer` would refuse, without building anything; raises as it."""
    if ":" in name:
        load_function(name, setting)
        return
    names = scorer_names()
    if not name:
        raise ConfigError(f"{setting} is not set; set it to one of {', '.join(names)}, or to module:function")
    if name not in names:
        hint = nearest_hint(name, names, f"it is one of {', '.join(names)}, or module:function")
        raise ConfigError(f"{setting} = {name!r} is not a scorer; {hint}")
    known: tuple[str, ...] = getattr(_built_in(name), "OPTIONS", ()) if options else ()
    for option in options or {}:
        if option not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise ConfigError(f"{setting}_options.{option}: the scorer {name} has no such option; {takes}")


def _built_in(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


class FromFunction:
    """A scorer from a function of prompts and completions."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def scores(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """What the function returned, as `Scores`."""
        found = self.function(prompts, completions)
        return found if isinstance(found, Scores) else Scores(np.asarray(found, dtype=np.float32))


class Checked:
    """A scorer whose results are checked: a finite number for every completion, or NaN for the few that it fails on.

    Failed completions are counted over all calls; more than `max_failed_share` of them are a `ScorerError`.
    """

    def __init__(self, name: str, scorer: Scorer, max_failed_share: float = 0.0) -> None:
        self.name, self.scorer, self.max_failed_share = name, scorer, max_failed_share
        self.scored, self.failed = 0, 0
        """Completions given to the scorer so far, and those of them that it failed on."""

    def scores(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """The scorer's scores; NaN, also in each part, where it raised or gave no finite number.

        Raises:
            ScorerError: too many failed, with how many and the first prompt; or it returned other than one number for
                each completion, or it says itself that it cannot score (a prompt lacks what it needs).
        """
        self.scored += len(completions)
        try:
            found = self.scorer.scores(prompts, completions)
        except ScorerError:
            raise
        except Exception as error:  # the scorer may be the user's: it may raise anything
            if self.max_failed_share == 0 or len(completions) == 1:
                self._fail(f"raised {type(error).__name__}: {error}", prompts, np.arange(len(prompts)))
                return Scores(np.full(len(completions), np.nan, dtype=np.float32))
            self.scored -= len(completions)  # which of them it fails on, only calls with one each can say
            return _joined([self.scores([p], [c]) for p, c in zip(prompts, completions, strict=True)])
        return self._checked(found, prompts, completions)

    def _checked(self, found: Scores, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        if not isinstance(found, Scores):
            raise self._error(f"returned a {type(found).__name__}, not Scores", prompts, np.arange(len(prompts)))
        bad_S = np.zeros(len(completions), dtype=bool)
        said = ""
        for what, array in (("a score", found.values), *((f"the part {name!r}", a) for name, a in found.parts.items())):
            if np.shape(array) != (len(completions),):
                says = f"returned {what} of shape {list(np.shape(array))}, not one number for each completion"
                raise self._error(says, prompts, np.arange(len(prompts)))
            odd_S = ~np.isfinite(np.asarray(array, dtype=np.float64))
            if odd_S.any():
                said = said or f"gave {array[np.flatnonzero(odd_S)[0]]} as {what}"
                bad_S |= odd_S
        if said:
            self._fail(said, prompts, np.flatnonzero(bad_S))
        arrays = {name: np.asarray(a, dtype=np.float32) for name, a in {"": found.values, **found.parts}.items()}
        if said:
            arrays = {name: np.where(bad_S, np.float32(np.nan), array) for name, array in arrays.items()}
        return Scores(arrays.pop(""), arrays)

    def _fail(self, what: str, prompts: Sequence[Prompt], failed: NDArray[np.int64]) -> None:
        self.failed += len(failed)
        if self.failed > self.max_failed_share * self.scored:
            raise self._error(what, prompts, failed)

    def _error(self, what: str, prompts: Sequence[Prompt], without: NDArray[np.int64]) -> ScorerError:
        text = visible_line(prompts[without[0]].text) if len(without) else ""
        first = f"; the first is of the prompt {text[:_SHOWN_CHARS]!r}" if text else ""
        share = self.max_failed_share
        counted = f" Altogether {self.failed} of {self.scored}, above evaluate.max_failed_share = {share:g}."
        limit = counted if share else ""
        return ScorerError(
            f"the scorer {self.name} {what}: {len(without)} of {len(prompts)} completions have no score{first}.{limit} "
            "Nothing is counted as 0: correct the scorer and run again."
        )


def _joined(found: Sequence[Scores]) -> Scores:
    """Scores of one completion each as one record; those that failed have NaN in every part that others have."""
    names = list(dict.fromkeys(name for each in found for name in each.parts))
    nothing = np.array([np.nan], dtype=np.float32)
    parts = {name: np.concatenate([each.parts.get(name, nothing) for each in found]) for name in names}
    return Scores(np.concatenate([each.values for each in found]), parts)
