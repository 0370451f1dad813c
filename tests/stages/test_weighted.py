"""The completions of an RL step as the report shows them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.generate import Completion  # noqa: E402
from stategpt.stages.rl.rollout import Rollout  # noqa: E402
from stategpt.stages.rl.weighted import weighted_completions  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402


def test_the_prompt_of_median_spread_is_shown_with_tokens_and_weights(tok: Tokenizer) -> None:
    texts = ["one", "two", "three"]
    prompts = [tok.encode(text) for text in texts for _ in range(2)]
    end = tok.special_tokens["<|endoftext|>"]
    ids = [np.array([*tok.encode(f" answer {number}"), end], np.uint32) for number in range(6)]
    completions = [
        Completion(i // 2, i % 2, ids[i], np.zeros(len(ids[i]), np.float32), True, "end", "") for i in range(6)
    ]
    rewards_S = torch.arange(6.0)
    weights_S = torch.tensor([-2.0, 2.0, -0.1, 0.1, -1.0, 1.0])
    shown = weighted_completions(7, Rollout(prompts, completions, rewards_S), weights_S, 2, tok)
    assert (shown.step, shown.prompt) == (7, "three"), "spreads 4, 0.2 and 2"
    assert [(c.reward, c.weight) for c in shown.completions] == [(4.0, -1.0), (5.0, 1.0)]
    assert "".join(shown.completions[1].tokens) == " answer 5<|endoftext|>"
