"""The scorer that is the run's reward model: what RL maximizes, and best-of-n chooses by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stategpt.data.records import Prompt
from stategpt.errors import ConfigError
from stategpt.evaluate.scorers import ScorerContext, Scores

if TYPE_CHECKING:
    from stategpt.evaluate.reward_scorer import RewardScorer
    from stategpt.generate import Completion


class RewardModelScorer:
    """Scores a completion with the scalar that the reward model gives at the reward token."""

    def __init__(self, rewards: RewardScorer) -> None:
        self.rewards = rewards

    def scores(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Rewards of the completions as sampled, end of text included."""
        encoded = {}
        for prompt in prompts:
            if id(prompt) not in encoded:
                encoded[id(prompt)] = self.rewards.chat.prompt(prompt)
        ids = [encoded[id(prompt)] for prompt in prompts]
        return Scores(self.rewards.scores(ids, [completion.ids for completion in completions]))


def build(context: ScorerContext) -> RewardModelScorer:
    """Loads the run's reward model.

    Raises:
        ConfigError: the reward model is not trained yet: it cannot rank the completions that it is to be trained on.
    """
    from stategpt.evaluate.reward_scorer import RewardScorer
    from stategpt.model import RewardModel

    if context.reward_model is None:
        raise ConfigError("the scorer reward_model needs a trained reward model; name another scorer for this stage")
    model = RewardModel.from_pretrained(context.reward_model).to(context.device)
    return RewardModelScorer(RewardScorer(model, context.tok, chat=context.chat))
