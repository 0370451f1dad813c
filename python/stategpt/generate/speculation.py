"""Guesses of one running sample: how many ids are proposed, by how many of the last ones were drawn."""

from __future__ import annotations

from stategpt.arguments import Ids

from .branch import Branch
from .ngram_draft import NgramDraft
from .request import NO_IDS


class Guesses:
    """Proposes what followed a sample's newest ids before; the index is made when it is first needed.

    After a step whose proposals were all drawn twice as many may be proposed, otherwise one more than were drawn:
    where a text does not repeat itself the model reads one token too many, not all that the limit allows.
    """

    def __init__(self) -> None:
        self._draft = NgramDraft()
        self._trusted = 2

    def propose(self, branch: Branch, most: int) -> Ids:
        """At most `most` ids that may follow those of the branch."""
        known = len(self._draft)
        self._draft.extend(branch.tokens(known, len(branch)))
        return self._draft.proposals(min(most, self._trusted)) if most > 0 else NO_IDS

    def learn(self, proposed: int, accepted: int) -> None:
        """Takes the outcome of a step."""
        if proposed:
            self._trusted = 2 * proposed if accepted == proposed else accepted + 1
