"""Scorers: what gives a completion a number, to rank it, to reward it in RL, or to compare systems by.

A setting (`rankings.scorer`, `rl.scorer`, `evaluate.scorer`) names one of two kinds:

    reward_model        a module of this folder that has `build(context: ScorerContext) -> Scorer`
    my_rules:score      module:function, called as score(prompts, completions); it returns a number for each completion,
                        or `Scores` with named parts. The module is imported as Python finds it, or from the folder
                        that `stategpt` is run in.

    def score(prompts, completions):
        return [float(prompt.reference in completion.text) for prompt, completion in zip(prompts, completions)]

A scorer that fails, or leaves a completion without a finite number, is an error with the count: never a score of 0.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stategpt.data.corpus import Corpus
from stategpt.data.records import Prompt
from stategpt.errors import ConfigError, ScorerError
from stategpt.shown_fields import documented, short_repr
from stategpt.tokenizer import AnyTokenizer
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
    """float32[S], higher is better."""
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

    __repr__ = short_repr


def scorer_names() -> list[str]:
    """Names of the built-in scorers, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def build_scorer(name: str, context: ScorerContext, setting: str) -> Scorer:
    """The scorer that `setting` names, with its results checked.

    Raises:
        ConfigError: `name` is empty, unknown, or a module or function that cannot be imported; names the nearest. Or
            the scorer cannot be built from the run.
    """
    if ":" in name:
        return Checked(name, FromFunction(_function(name, setting)))
    require_scorer(name, setting)
    return Checked(name, _built_in(name).build(context))


def require_scorer(name: str, setting: str) -> None:
    """Refuses a name that `build_scorer` would refuse, without building anything. Raises as `build_scorer`."""
    if ":" in name:
        _function(name, setting)
        return
    names = scorer_names()
    if not name:
        raise ConfigError(f"{setting} is not set; set it to one of {', '.join(names)}, or to module:function")
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it is one of {', '.join(names)}, or module:function"
        raise ConfigError(f"{setting} = {name!r} is not a scorer; {hint}")


def _built_in(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def _function(name: str, setting: str) -> Function:
    module_name, _, function_name = name.partition(":")
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the module is the user's: importing it may raise anything
        raise ConfigError(
            f"{setting} = {name!r}: importing {module_name!r} raised {type(error).__name__}: {error}. Install the "
            f"module, or run where it is; this is {here}"
        ) from error
    finally:
        sys.path.remove(here)
    found = getattr(module, function_name, None)
    if not callable(found):
        names = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
        near = get_close_matches(function_name, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{setting} = {name!r}: {module_name} has no function {function_name!r}{hint}")
    return found  # type: ignore[no-any-return]


class FromFunction:
    """A scorer from a function of prompts and completions."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def scores(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """What the function returned, as `Scores`."""
        found = self.function(prompts, completions)
        return found if isinstance(found, Scores) else Scores(np.asarray(found, dtype=np.float32))


class Checked:
    """A scorer whose results are checked: a finite number for every completion, or a `ScorerError`."""

    def __init__(self, name: str, scorer: Scorer) -> None:
        self.name, self.scorer = name, scorer

    def scores(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """The scorer's scores.

        Raises:
            ScorerError: it raised, or gave other than one finite number for each completion; the message has how many
                completions have none, and the first prompt.
        """
        try:
            found = self.scorer.scores(prompts, completions)
        except ScorerError:
            raise
        except Exception as error:  # the scorer may be the user's: it may raise anything
            raise self._error(f"raised {type(error).__name__}: {error}", prompts, np.arange(len(prompts))) from error
        if not isinstance(found, Scores):
            raise self._error(f"returned a {type(found).__name__}, not Scores", prompts, np.arange(len(prompts)))
        for what, array in (("a score", found.values), *((f"the part {name!r}", a) for name, a in found.parts.items())):
            if np.shape(array) != (len(completions),):
                says = f"returned {what} of shape {list(np.shape(array))}, not one number for each completion"
                raise self._error(says, prompts, np.arange(len(prompts)))
            bad = np.flatnonzero(~np.isfinite(np.asarray(array, dtype=np.float64)))
            if len(bad):
                raise self._error(f"gave {array[bad[0]]} as {what}", prompts, bad)
        parts = {name: np.asarray(array, dtype=np.float32) for name, array in found.parts.items()}
        return Scores(np.asarray(found.values, dtype=np.float32), parts)

    def _error(self, what: str, prompts: Sequence[Prompt], without: NDArray[np.int64]) -> ScorerError:
        text = visible_line(prompts[without[0]].text) if len(without) else ""
        first = f"; the first is of the prompt {text[:_SHOWN_CHARS]!r}" if text else ""
        return ScorerError(
            f"the scorer {self.name} {what}: {len(without)} of {len(prompts)} completions have no score{first}. "
            "Nothing is counted as 0: correct the scorer and run again."
        )
