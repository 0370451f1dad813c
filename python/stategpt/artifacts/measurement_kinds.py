"""What each file of measurements holds: the tables by which they are checked when they are read.

Fields that a page or a gate can do without are optional; whatever is there has its type and a size that can be drawn.
"""

from __future__ import annotations

from typing import Any

from stategpt.config.stages import MAX_RL_SEEDS
from stategpt.json_reader import Flag, Integer, Items, MapOf, OneOf, Optional, Real, Record, Text, Tuple

NUMBER = Real(-1e39, 1e39)
"""The range of float32, in which models and losses are computed."""
SHARE = Real(0, 1)
COUNT = Integer(0, 10**15)
WHOLE = Integer(-(10**15), 10**15)
MANY, FEW = 1 << 20, 64

INTERVAL = Record(
    {"mean": Optional(NUMBER), "low": Optional(NUMBER), "high": Optional(NUMBER), "level": Optional(SHARE)}
)


def _named(kind: Any, most: int = FEW) -> Optional:
    """A table of names that become labels; {} where there is none."""
    return Optional(MapOf(kind, max_items=most, max_key_chars=200), {})


def _numbers(*names: str) -> dict[str, Optional]:
    return {name: Optional(NUMBER) for name in names}


_SOURCE = Record(_numbers("bits_per_byte", "kneser_ney_5"))
_BASE = Record(
    {
        "sources": _named(_SOURCE),
        "mixed": Optional(Record(_numbers("bits_per_byte", "kneser_ney_5") | {"difference": Optional(INTERVAL)}), {}),
    }
)
_SFT = Record(
    {
        "samples": Optional(COUNT),
        "ended_share": Optional(INTERVAL),
        **_numbers("chrf_sft", "chrf_base", "chrf_prompted_base", "chrf_shuffled"),
        "difference_to_base": Optional(INTERVAL),
        "difference_to_prompted_base": Optional(INTERVAL),
        "similarity_against_shuffled": Optional(INTERVAL),
        "mentions_name": Optional(Record({"sft": Optional(INTERVAL), **_numbers("reference")})),
    }
)
_COMPLETION = Record(
    {
        "text": Optional(Text(), ""),
        "rank": Optional(COUNT, 0),
        "ended": Optional(Flag(), True),
        "score": Optional(WHOLE),
        "points": _named(WHOLE),
    }
)
_EXAMPLE_RANKING = Record(
    {
        "prompt": Optional(Text(), ""),
        "completions": Optional(Items(_COMPLETION, max_items=26), []),
        "pairs": Optional(Items(Items(Integer(0, 25), min_items=2, max_items=2), max_items=26 * 26), []),
        "meta": Optional(Record({"reference": Optional(Text(), "")}), {"reference": ""}),
    }
)
_RANKINGS = Record(
    {
        **{name: Optional(COUNT) for name in ("groups", "test_groups", "pairs", "ties", "rejected")},
        "without_clear_pair": _named(COUNT),
        "points_mean": _named(NUMBER),
        "score_mean": Optional(NUMBER),
        "example": Optional(_EXAMPLE_RANKING),
    }
)
_REWARD = Record(
    {
        "pair_accuracy": Optional(INTERVAL),
        **{name: Optional(COUNT) for name in ("pairs", "prompts", "prompts_with_pairs")},
        "length_margin": Optional(INTERVAL),
        **_numbers("length_only_accuracy", "calibration_slope", "length_correlation", "reward_offset"),
        "calibration": Optional(Items(Record({"claimed": SHARE, "observed": NUMBER}), max_items=1000), []),
        "scores": _named(Items(NUMBER, max_items=MANY), 8),
    }
)
FRONTIER_POINT = Record({"step": Optional(OneOf((COUNT, NUMBER))), **_numbers("kl", "reward_mean", "win_rate")})
_MEASURES: dict[str, Any] = {
    **{name: Optional(INTERVAL) for name in ("win_rate_vs_sft", "unique_share", "kl")},
    **_numbers("points_mean", "reward_mean", "distinct_2", "length_tokens", "ended_share"),
}
_OF_SEED = Record({"stage": Text(max_chars=200), **_MEASURES})
_SYSTEM = Record({**_MEASURES, **_numbers("kl_bound"), "seeds": Optional(Items(_OF_SEED, max_items=MAX_RL_SEEDS), [])})
_ANSWER = Record({"text": Optional(Text(), ""), "points": Optional(WHOLE)})
_COMPARISON = Record(
    {
        "prompts": Optional(COUNT),
        "names": Optional(COUNT),
        "seeds": Optional(COUNT),
        "against_best_of": _named(
            Record({"wins": Optional(INTERVAL), "reward": Optional(INTERVAL), **_numbers("kl_bound")})
        ),
        "systems": _named(_SYSTEM),
        "elo": _named(INTERVAL),
        "diversity_change": Optional(
            Record({"distinct_2": Optional(INTERVAL), "unique_share": Optional(INTERVAL)}), {}
        ),
        "frontier": Optional(Items(FRONTIER_POINT, max_items=MANY), []),
        "frontier_betas": _named(Items(FRONTIER_POINT, max_items=MANY)),
        "frontier_seeds": _named(Items(FRONTIER_POINT, max_items=MANY)),
        "examples": Optional(Items(MapOf(OneOf((Text(), _ANSWER)), max_items=FEW), max_items=10_000), []),
    }
)
EVALUATIONS = {"base": _BASE, "sft": _SFT, "rankings": _RANKINGS, "reward": _REWARD, "comparison": _COMPARISON}
"""evaluation.json by the folder that it lies in; rl has none, the comparison judges it."""

RANKED = Record(
    {
        "id": Text(),
        "completions": Items(Record({"score": NUMBER}), min_items=1),
        "meta": Record({"group": Text()}),
    }
)
"""What the reward model's evaluation reads of a ranking record of the run's own."""
MIXTURE = Record({"planned": _named(NUMBER), "drawn": _named(Record(_numbers("share", "tokens", "epochs")))})
ROW = Record({"pieces": Optional(Items(Tuple((Text(), COUNT, Flag(), Text())), max_items=MANY), [])})
TIMING = Record({"seconds": Real(0, 1e10)})
SAMPLE = Record({"step": COUNT, "prompt": Text(), "text": Text()})
STATISTICS = Record(
    {"vocab_size": Optional(COUNT), "vocab_size_asked": Optional(COUNT), "bytes_per_token": _named(_named(NUMBER))}
)
CORPUS_STATISTICS = Record({"conversations": Optional(Record({"train": Optional(COUNT)}))})
GATES = Items(
    Record(
        {
            "gate": Text(max_chars=200),
            "value": Optional(NUMBER),
            "interval": Optional(INTERVAL),
            "rule": Text(max_chars=2000),
            "passed": Flag(),
            "severity": Optional(Text(choices=("fail", "warn")), "fail"),
        }
    ),
    max_items=FEW,
)


class MetricsLine:
    """One line of metrics.jsonl: a step, and numbers or null by name."""

    _values = MapOf(Optional(OneOf((WHOLE, NUMBER))), max_items=FEW, max_key_chars=200)
    _counts = Record({"step": COUNT, "tokens": Optional(COUNT)})

    def check(self, value: Any, where: str) -> dict[str, Any]:
        """See `stategpt.json_reader.Kind`."""
        line: dict[str, Any] = self._values.check(value, where)
        self._counts.check(line, where)
        return line


METRICS_LINE = MetricsLine()
