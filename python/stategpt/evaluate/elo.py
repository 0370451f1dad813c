"""Bradley-Terry strengths of several systems that answered the same prompts, on the Elo scale, with intervals.

Model: P(i beats j) = s_i / (s_i + s_j) (Bradley and Terry 1952). The likelihood is climbed by the
minorization-maximization steps of Hunter (2004, Annals of Statistics 32, eq. 3): s_i <- W_i / sum_j n_ij / (s_i + s_j),
which never overshoot and need no step size. Elo = 1000 + 400 log10(s_i / s_anchor), so 400 points are odds of 10 : 1.

A tie is half a win for each side. Interval: prompts (or clusters of prompts) are resampled and every resample is
fitted; all resamples climb at once as one array.
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from stategpt.errors import InvalidArgument

from .statistics import Floats, Interval, Labels, percentile_interval, resample_counts, win_points

ELO_PER_NAT = 400 / math.log(10)
ANCHOR_ELO = 1000.0
_MAX_ROUNDS = 20_000


def pairwise_wins(points: Mapping[str, npt.ArrayLike]) -> Floats:
    """wins[p, i, j] = 1, 1/2 or 0: how system i (in the order of `points`) did against j on prompt p; 0 on i = j."""
    systems = list(points)
    columns = [np.asarray(points[name], dtype=np.float64) for name in systems]
    if len(systems) < 2 or len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
        shapes = {name: column.shape for name, column in zip(systems, columns, strict=True)}
        raise InvalidArgument(f"Elo needs two systems or more with points on the same prompts; got shapes {shapes}")
    wins_PSS = np.stack([np.stack([win_points(a, b) for b in columns], axis=-1) for a in columns], axis=-2)
    wins_PSS[:, np.arange(len(systems)), np.arange(len(systems))] = 0
    return wins_PSS


def bradley_terry(wins: npt.ArrayLike, prior_draws: float = 1.0, tolerance: float = 1e-9) -> Floats:
    """Log strengths [..., S], centered at 0, of win counts [..., S, S] (leading axes are independent problems).

    `prior_draws` adds that many imaginary ties to each pair that met. A system that lost every game would otherwise
    have strength 0, Elo minus infinity; one draw among hundreds of games moves the rest by less than a point.

    Raises `InvalidArgument` for counts that are not square or negative, or when the climb does not settle, which means
    that with `prior_draws=0` some group of systems never lost to the others.
    """
    wins_BSS = np.asarray(wins, dtype=np.float64)
    if wins_BSS.ndim < 2 or wins_BSS.shape[-1] != wins_BSS.shape[-2] or (wins_BSS < 0).any():
        raise InvalidArgument(f"wins are counts of shape [..., systems, systems]; got shape {wins_BSS.shape}")
    games_BSS = wins_BSS + wins_BSS.swapaxes(-1, -2)
    draws_BSS = np.where(games_BSS > 0, prior_draws, 0.0)
    draws_BSS[..., np.arange(wins_BSS.shape[-1]), np.arange(wins_BSS.shape[-1])] = 0
    games_BSS = games_BSS + draws_BSS
    wins_BS = (wins_BSS + draws_BSS / 2).sum(axis=-1)
    if (wins_BS == 0).any():
        raise InvalidArgument("a system without a single win has no strength; keep prior_draws > 0")

    log_BS: Floats = np.zeros_like(wins_BS)
    for _ in range(_MAX_ROUNDS):
        strength_BS = np.exp(log_BS)
        expected_BS = (games_BSS / (strength_BS[..., :, None] + strength_BS[..., None, :])).sum(axis=-1)
        next_BS: Floats = np.log(wins_BS / expected_BS)
        next_BS -= next_BS.mean(axis=-1, keepdims=True)
        if np.abs(next_BS - log_BS).max() < tolerance:
            return next_BS
        log_BS = next_BS
    raise InvalidArgument(f"Bradley-Terry did not settle in {_MAX_ROUNDS} rounds; keep prior_draws > 0")


def elo(
    points: Mapping[str, npt.ArrayLike],
    anchor: str,
    seed: int,
    clusters: Labels | None = None,
    resamples: int = 2000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Elo of each system from its points [P] on the same prompts; `anchor` is fixed at 1000.

    `clusters` [P] names what is resampled together (a group); without it each prompt is its own cluster.
    """
    if anchor not in points:
        raise InvalidArgument(f"anchor {anchor!r} is not among the systems {list(points)!r}")
    wins_PSS = pairwise_wins(points)
    labels = np.arange(len(wins_PSS)) if clusters is None else np.asarray(clusters)
    if labels.shape != (len(wins_PSS),):
        raise InvalidArgument(f"one cluster a prompt: {len(wins_PSS)} prompts, clusters of shape {labels.shape}")
    names, cluster_P = np.unique(labels, return_inverse=True)
    wins_GSS = np.zeros((len(names), *wins_PSS.shape[1:]))
    np.add.at(wins_GSS, cluster_P, wins_PSS)

    anchor_index = list(points).index(anchor)
    estimate_S = _elo_scale(bradley_terry(wins_GSS.sum(axis=0)), anchor_index)
    replicates_RS = np.concatenate(
        [
            _elo_scale(bradley_terry(np.tensordot(counts_RG.astype(np.float64), wins_GSS, axes=1)), anchor_index)
            for counts_RG in resample_counts(len(names), seed, resamples)
        ]
    )
    return {
        name: percentile_interval(float(estimate_S[i]), replicates_RS[:, i], len(names), level)
        for i, name in enumerate(points)
    }


def _elo_scale(log_BS: Floats, anchor_index: int) -> Floats:
    centered_BS: Floats = log_BS - log_BS[..., anchor_index : anchor_index + 1]
    return ANCHOR_ELO + ELO_PER_NAT * centered_BS
