"""What a row is drawn from, one row and one token at a time in float64: slow, and as the definitions are written."""

from __future__ import annotations

import math

import numpy as np


def distribution(logits, row):
    """Probabilities of the ids of one row (`SampledRow`), float64[V]."""
    scores = edited(logits, row)
    settings = row.sampling
    if scores.max() == -math.inf:
        return np.zeros(len(scores))  # nothing is left
    scores = scores / (settings.temperature or 1.0)
    probabilities = np.exp(scores - scores.max())
    probabilities /= probabilities.sum()
    kept = truncated(
        probabilities,
        settings.top_k,
        settings.top_p,
        settings.min_p,
        settings.typical_p if settings.temperature > 0 else None,
    )
    total = sum(probabilities[token] for token in kept)
    return np.array([probabilities[token] / total if token in kept else 0.0 for token in range(len(scores))])


def edited(logits, row):
    """Logits with bias, penalties and removals."""
    settings = row.sampling
    prompt, generated = [int(token) for token in row.prompt], [int(token) for token in row.generated]
    scores = [float(score) for score in logits]
    for token, bias in settings.logit_bias.items():
        scores[token] += bias
    for token in range(len(scores)):
        if token in prompt + generated:
            penalty = settings.repetition_penalty
            scores[token] = scores[token] * penalty if scores[token] < 0 else scores[token] / penalty
        times = generated.count(token)
        scores[token] -= settings.frequency_penalty * times
        scores[token] -= settings.presence_penalty if times else 0.0
        if is_removed(token, row, prompt + generated):
            scores[token] = -math.inf
    return np.array(scores)


def is_removed(token, row, seen):
    settings = row.sampling
    if settings.allowed is not None and token not in settings.allowed:
        return True
    if token in settings.forbidden:
        return True
    if len(row.generated) < settings.min_tokens and token in row.ends:
        return True
    for word in settings.bad_words:
        begun = list(word[:-1])
        if word[-1] == token and (not begun or seen[-len(begun) :] == begun):
            return True
    if row.mask is not None:
        words = [int(word) for word in row.mask]
        return token // 32 >= len(words) or not words[token // 32] >> (token % 32) & 1
    return False


def truncated(probabilities, top_k, top_p, min_p, typical_p):
    """The ids that are kept: each step on the renormalized rest of the one before."""
    left = [token for token in range(len(probabilities)) if probabilities[token] > 0]
    most_likely_first = sorted(left, key=lambda token: (-probabilities[token], token))
    left = most_likely_first[:top_k]
    if top_p is not None and top_p < 1:
        left = fewest(left, shares(probabilities, left), top_p)
    if min_p is not None:
        least = min_p * max(probabilities[token] for token in left)
        left = [token for token in left if probabilities[token] >= least]
    if typical_p is not None and typical_p < 1:
        share = shares(probabilities, left)
        entropy = -sum(share[token] * math.log(share[token]) for token in left if share[token] > 0)
        distance = {token: abs(-math.log(share[token]) - entropy) for token in left}
        left = fewest(sorted(left, key=lambda token: (distance[token], token)), share, typical_p)
    return set(left)


def shares(probabilities, left):
    total = sum(probabilities[token] for token in left)
    return {token: probabilities[token] / total for token in left}


def fewest(order, share, mass):
    """The first tokens of `order` until they hold `mass`."""
    kept, before = [], 0.0
    for token in order:
        if before >= mass:
            break
        kept.append(token)
        before += share[token]
    return kept


def inverted(probabilities, uniform):
    """The first token whose cumulative probability exceeds the uniform number."""
    before = 0.0
    for token, probability in enumerate(probabilities):
        before += probability
        if before > uniform:
            return token
    return int(np.flatnonzero(probabilities)[-1])


def longest_repeat(ids, least, longest):
    """Where the earlier occurrence of the longest suffix ends; the newest of equally long ones; None without one."""
    for length in range(longest, least - 1, -1):
        for end in range(len(ids) - 1, length - 1, -1):
            if length <= len(ids) and ids[end - length : end] == ids[len(ids) - length :]:
                return end
    return None
