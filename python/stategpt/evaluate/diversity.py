"""How varied a set of answers is: the cost of RLHF that win rates do not show (mode collapse).

Words are runs of letters, digits and underscores, lower-cased, and single other visible characters. All measures are
of the whole set ("corpus level"): one system answers every prompt once, and a model that says "Return a list." to
everything scores low even though each answer is fine.

Distinct-n falls as a set grows, so compare sets over the same prompts and on equally many n-grams (`budget`). A
bootstrap would repeat answers and so lower distinct-n by itself: intervals here come from the jackknife, leaving out
one cluster at a time.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from stategpt.errors import InvalidArgument

from .statistics import Floats, Interval, Labels, interval_over_seeds

_WORD = re.compile(r"\w+|[^\w\s]")
Items = list[list[tuple[str, ...]]]


def words(text: str) -> list[str]:
    """Lower-cased words and punctuation marks: words("Return x.y") == ["return", "x", ".", "y"]."""
    return _WORD.findall(text.lower())


def ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """The n-grams of the text's words, in order; none when it has fewer than n words."""
    if n < 1:
        raise InvalidArgument(f"n-grams need n >= 1; got {n}")
    tokens = words(text)
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def distinct_n(texts: Sequence[str], n: int = 2, budget: int | None = None) -> float:
    """Distinct n-grams over all n-grams of the set (Li et al. 2016, arXiv 1510.03055); 0 when there are none.

    Args:
        budget: n-grams that are looked at, in the order of the texts; None for all.
    """
    return _share_of_distinct(_within([ngrams(text, n) for text in texts], budget))


def ngram_budget(sets: Iterable[Sequence[str]], n: int = 2) -> int:
    """The number of n-grams of the set that has fewest, sets without any left out; 0 when all are without."""
    counts = (sum(len(ngrams(text, n)) for text in texts) for texts in sets)
    return min((count for count in counts if count), default=0)


def most_repeated(texts: Iterable[str], most: int = 10) -> list[tuple[str, int]]:
    """The texts that occur most often, with their counts; those that occur once are left out."""
    return [(text, count) for text, count in Counter(texts).most_common(most) if count > 1]


def unique_share_interval(sets: Sequence[Sequence[str]], clusters: Labels, level: float = 0.95) -> Interval:
    """Share of unique answers, mean over `sets` (one set of N answers a training seed), within [0, 1].

    Jackknifed by `clusters` [N]; several sets add what the seed changes (`interval_over_seeds`), one leaves it out.
    """
    found = _jackknife([_whole(texts) for texts in sets], None, clusters, level)
    return Interval(found.mean, max(0.0, found.low), min(1.0, found.high), level)


def distinct_change(
    before: Sequence[str],
    after: Sequence[Sequence[str]],
    clusters: Labels,
    n: int = 2,
    level: float = 0.95,
    budget: int | None = None,
) -> Interval:
    """Distinct-n after minus distinct-n before, over answers to the same prompts, mean over the sets in `after`.

    One set for each training seed, and the interval, as in `unique_share_interval`; `budget` as in `distinct_n`.
    """
    first, *sets = (_within([ngrams(text, n) for text in texts], budget) for texts in (before, *after))
    return _jackknife(sets, first, clusters, level)


def unique_change(
    before: Sequence[str], after: Sequence[Sequence[str]], clusters: Labels, level: float = 0.95
) -> Interval:
    """Share of unique answers after minus before; see `distinct_change`."""
    return _jackknife([_whole(texts) for texts in after], _whole(before), clusters, level)


def _within(items: Items, budget: int | None) -> Items:
    """The first `budget` items, in the order of the texts."""
    if budget is None:
        return items
    kept: Items = []
    left = budget
    for of_text in items:
        kept.append(of_text[:left])
        left -= len(kept[-1])
    return kept


def _whole(texts: Sequence[str]) -> Items:
    """Each text as its only item."""
    return [[(text,)] for text in texts]


def _jackknife(sets: Sequence[Items], before: Items | None, clusters: Labels, level: float) -> Interval:
    """Share of distinct items, mean over `sets`, less that of `before` if given."""
    names, cluster_N = np.unique(np.asarray(clusters), return_inverse=True)
    lengths = [len(items) for items in (*sets, *([] if before is None else [before]))]
    if not sets or set(lengths) != {len(cluster_N)}:
        raise InvalidArgument(
            f"sets of {lengths} answers, {len(cluster_N)} clusters: give an answer and a cluster for every prompt"
        )
    groups = len(names)
    base = 0.0 if before is None else _share_of_distinct(before)
    by_seed = [_share_of_distinct(items) - base for items in sets]
    if groups < 2:
        return Interval(float(np.mean(by_seed)), -math.inf, math.inf, level)
    without_G = np.mean([_shares_without_each(items, cluster_N, groups) for items in sets], axis=0)
    if before is not None:
        without_G = without_G - _shares_without_each(before, cluster_N, groups)
    variance = (groups - 1) / groups * float(((without_G - without_G.mean()) ** 2).sum())
    return interval_over_seeds(by_seed, variance, groups, level)


def _share_of_distinct(items: Items) -> float:
    total = sum(len(of_text) for of_text in items)
    return len({item for of_text in items for item in of_text}) / total if total else 0.0


def _shares_without_each(items: Items, cluster_N: npt.NDArray[np.int64], groups: int) -> Floats:
    """Share of distinct items with each cluster left out [G], in one pass: a cluster takes with it what only it has."""
    only_cluster: dict[tuple[str, ...], int] = {}
    totals_G = np.zeros(groups)
    for of_text, cluster in zip(items, cluster_N.tolist(), strict=True):
        totals_G[cluster] += len(of_text)
        for item in of_text:
            only_cluster[item] = cluster if only_cluster.get(item, cluster) == cluster else -1
    owned = np.array([cluster for cluster in only_cluster.values() if cluster >= 0], dtype=np.int64)
    kept_G = len(only_cluster) - np.bincount(owned, minlength=groups)
    remaining_G = totals_G.sum() - totals_G
    shares_G: Floats = np.divide(kept_G, remaining_G, out=np.zeros(groups), where=remaining_G > 0)
    return shares_G
