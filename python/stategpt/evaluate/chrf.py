"""chrF: character n-gram F-score of a hypothesis against a reference (Popovic 2015, https://aclanthology.org/W15-3049).

    chrF = (1 + beta^2) P R / (beta^2 P + R),      beta = 1: precision and recall weigh the same

beta = 1 is the paper's plain chrF. Translation often uses beta = 2 or 3, for which a candidate that rambles on wins by
recall; between an assistant and a base model that never stops, that is the very thing to be told apart.

P and R are arithmetic means over n = 1..6 of the n-gram precisions and recalls, whitespace removed, counts clipped.
An order for which one side has no n-gram at all (a text shorter than n) is left out of the means. That is the paper's
averaging, and sacrebleu's sentence chrF (its default: effective orders, no epsilon smoothing); the other common way
(mean of six F-scores, chrF++.py and Moses) differs in the third digit. Here the score is in [0, 1], there 0..100.

A mean over sentences is a mean of these scores, not the corpus score of pooled counts.
"""

from collections import Counter

from stategpt.errors import InvalidArgument


def chrf(hypothesis: str, reference: str, *, order: int = 6, beta: float = 1.0) -> float:
    """Similarity in [0, 1]; 1 only for equal texts (up to whitespace), 0 when no character is shared.

    Two texts without any character score 0, as in sacrebleu: an empty answer is never right.
    Raises `InvalidArgument` for an order or a beta that is not positive.

    >>> round(chrf("the cat", "the cats"), 4)
    0.8469
    """
    if order < 1 or beta <= 0:
        raise InvalidArgument(f"chrF needs order >= 1 and beta > 0; got order={order}, beta={beta}")
    ours, theirs = "".join(hypothesis.split()), "".join(reference.split())
    orders = range(1, min(order, len(ours), len(theirs)) + 1)
    if not orders:
        return 0.0
    precision = recall = 0.0
    for n in orders:
        ours_n, theirs_n = _grams(ours, n), _grams(theirs, n)
        matches = sum((ours_n & theirs_n).values())
        precision += matches / (len(ours) - n + 1)
        recall += matches / (len(theirs) - n + 1)
    if precision == 0:
        return 0.0
    precision, recall, weight = precision / len(orders), recall / len(orders), beta * beta
    return (1 + weight) * precision * recall / (weight * precision + recall)


def _grams(text: str, n: int) -> Counter[str]:
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))
