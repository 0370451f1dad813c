"""A constraint followed by llguidance's matcher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stategpt.arguments import Ids, whole
from stategpt.errors import ConstraintError, ConstraintLimit, InvalidArgument
from stategpt.generate.constraint import Constraint as Constraint
from stategpt.generate.constraint import Mask, ThoughtsUsed

if TYPE_CHECKING:
    from .json_text import JsonGuard
    from .limits import Limits
    from .thoughts import ThoughtsGuard
    from .vocabulary import Vocabulary


@dataclass(frozen=True)
class Compiled:
    """A compiled grammar: what all constraints of one spec share."""

    vocabulary: Vocabulary
    limits: Limits
    matcher: Any
    """llguidance's matcher in its first state; it is copied, never advanced."""
    allowed: Mask
    """Tokens that it may ever allow but for the ends: plain ones, and control tokens that its format writes."""
    guard: JsonGuard | None
    """Follows the JSON of the output, where that has some."""
    thoughts: ThoughtsGuard | None = None
    """Follows the thoughts before it, where there are any."""

    def start(self) -> MatchedConstraint:
        """Returns a constraint in its first state."""
        guard = None if self.guard is None else self.guard.fork()
        return MatchedConstraint(self, self.matcher.deep_copy(), guard, self._thoughts())

    def _thoughts(self) -> ThoughtsGuard | None:
        return None if self.thoughts is None else self.thoughts.fork()


class MatchedConstraint:
    """The state of one output. Every mask is cut to the tokens that the grammar may ever allow."""

    def __init__(
        self,
        compiled: Compiled,
        matcher: Any,
        guard: JsonGuard | None,
        thoughts: ThoughtsGuard | None,
        ids: Sequence[int] = (),
        ended: bool = False,
    ) -> None:
        self._compiled, self._matcher, self._guard, self._thoughts = compiled, matcher, guard, thoughts
        self._ids = list(ids)
        """Tokens taken, without the end."""
        self._ended = ended
        self._mask: Mask | None = None

    @property
    def ids(self) -> Ids:
        """The tokens taken, with the end: uint32[n]."""
        return np.array(self._ids, dtype=np.uint32)

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary it was compiled for."""
        return self._compiled.vocabulary

    def mask(self) -> Mask:
        """Returns which tokens may come next; `Constraint.mask`."""
        if self._mask is None:
            self._mask = self._made_mask()
            self._mask.flags.writeable = False
        return self._mask

    def _made_mask(self) -> Mask:
        vocabulary = self._compiled.vocabulary
        if self.finished:
            return vocabulary.ends_mask.copy()
        if self._thoughts is not None and self._thoughts.closing:
            return vocabulary.mask_of(self._thoughts.closing[:1])
        found = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint32)[: vocabulary.words]
        self._check()
        mask = found & self._compiled.allowed
        complete = self.complete
        if self._guard is not None:
            self._guard.cut(mask, may_end=complete)
        if self._thoughts is not None:
            self._thoughts.cut(mask)
        if complete:
            mask |= vocabulary.ends_mask
        if not mask.any():
            raise self._stuck()
        return mask

    def advance(self, token: int) -> None:
        """Takes the next token; `Constraint.advance`."""
        number = whole("a token", token)
        vocabulary = self._compiled.vocabulary
        if self._ended:
            raise ConstraintError(f"token {number} follows the end of the output; rewind, or start another")
        if number in vocabulary.ends:
            if not self.complete:
                raise ConstraintError(f"the end id {number} comes before the output is complete: {self._shown()}")
            self._ended = True
            self._ids.append(number)
        elif number >= vocabulary.model_vocab or not self._takes(number):
            raise ConstraintError(f"token {number} is not allowed after {self._shown()}")
        self._mask = None

    def _takes(self, token: int) -> bool:
        """Advances by a token that is no end, if it is allowed."""
        if not _holds(self._compiled.allowed, token):
            return False
        if self._guard is not None and not self._guard.allows(token) and not _holds(self.mask(), token):
            return False
        if self._thoughts is not None and not self._thoughts.allows(token) and not _holds(self.mask(), token):
            return False
        taken = self._matcher.try_consume_tokens([token])
        self._check()
        if taken != 1:
            return False
        self._ids.append(token)
        if self._guard is not None:
            self._guard.advance(token)
        if self._thoughts is not None:
            self._thoughts.advance(token)
        return True

    def forced(self) -> Ids:
        """Returns the tokens that must come next; `Constraint.forced`."""
        if self.finished:
            return np.zeros(0, dtype=np.uint32)
        if self._thoughts is not None and self._thoughts.closing:
            return np.array(self._thoughts.closing, dtype=np.uint32)
        found = self._matcher.compute_ff_tokens()[: self._compiled.limits.forced_tokens]
        self._check()
        ids = np.array(found, dtype=np.uint32)
        bad = (self._compiled.allowed[ids // 32] >> (ids % 32) & 1) == 0
        return ids[: int(bad.argmax())] if bad.any() else ids

    def fork(self) -> MatchedConstraint:
        """Returns an independent copy."""
        guard = None if self._guard is None else self._guard.fork()
        thoughts = None if self._thoughts is None else self._thoughts.fork()
        made = MatchedConstraint(self._compiled, self._matcher.deep_copy(), guard, thoughts, self._ids, self._ended)
        made._mask = self._mask
        return made

    def rewind(self, tokens: int) -> None:
        """Takes back the last tokens; `Constraint.rewind`."""
        count = whole("tokens", tokens)
        if count > len(self._ids):
            raise InvalidArgument(f"rewind by {count} tokens, and there are {len(self._ids)}; rewind by at most those")
        if count == 0:
            return
        back = count - self._ended
        self._ended = False
        del self._ids[len(self._ids) - count :]
        self._mask = None
        if back and not self._matcher.rollback(back):
            self._matcher = self._compiled.matcher.deep_copy()
            self._matcher.try_consume_tokens(self._ids)
        if self._guard is not None:
            self._guard.rewind(back)
        if self._thoughts is not None:
            self._thoughts.rewind(back)
        self._check()

    @property
    def complete(self) -> bool:
        """Whether the output may end here."""
        return self._ended or bool(self._matcher.is_accepting())

    @property
    def finished(self) -> bool:
        """Whether it must end here."""
        return self._ended or (bool(self._matcher.is_stopped()) and not self._matcher.is_error())

    @property
    def thoughts(self) -> ThoughtsUsed | None:
        """What the thoughts before the output took so far."""
        return None if self._thoughts is None else self._thoughts.used

    @property
    def reserved_tokens(self) -> int:
        """Most tokens that come before the constrained output begins."""
        return 0 if self._thoughts is None else self._thoughts.reserved_tokens

    @property
    def text(self) -> str:
        """What was written, without control tokens and the end."""
        return self._compiled.vocabulary.bytes_of(self._ids).decode(errors="replace")

    def _shown(self) -> str:
        return f"{self.text[-60:]!r}" if self._ids else "the beginning"

    def _check(self) -> None:
        """Raises what llguidance reports, which it answers by ending the output."""
        if not self._matcher.is_error():
            return
        message = str(self._matcher.get_error()).split("\n<state>")[0].splitlines()
        told = message[0] if message else "unknown"
        reason = self._matcher.stop_reason()
        if reason in ("LexerTooComplex", "ParserTooComplex") or "limit" in told or "fuel" in told:
            raise ConstraintLimit(
                f"the grammar takes more work for one token than its limits allow, after {self._shown()}: {told}. "
                "Simplify it, or raise step_fuel or step_items."
            )
        if reason == "NoExtensionBias" or told == "NoExtensionBias":
            raise self._stuck()
        raise ConstraintError(f"the grammar cannot be continued after {self._shown()}: {told}")

    def _stuck(self) -> ConstraintError:
        return ConstraintError(
            f"no token of the vocabulary continues the output after {self._shown()}: its {self.vocabulary.model_vocab} "
            "ids do not spell what may follow. Use a tokenizer that has every byte."
        )


def _holds(mask: Mask, token: int) -> bool:
    return bool(mask[token // 32] >> np.uint32(token % 32) & 1)
