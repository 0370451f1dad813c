"""Evaluation: measures of each stage with intervals, scorers, comparison of systems, gates.

What measures text alone (n-grams, chrF, statistics, records, gates) needs numpy only and is imported here. What runs a
model needs torch and is imported when it is first used, so that a report can be read where torch is not installed.
A function with the name of its file (`chrf.chrf`, `elo.elo`, `reward_quality.reward_quality`) is imported from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stategpt.lazy_names import lazy_names

from .diversity import distinct_change, distinct_n, unique_change
from .gates import check_gates, failed, read_gates, write_gates
from .ngram import KneserNey
from .records import Evaluations, GateResult, read_evaluations
from .reward_quality import LengthBaseline, ScoredPairs
from .statistics import Interval, cluster_bootstrap, paired_difference, win_rate

if TYPE_CHECKING:
    from .answers import evaluate_answers as evaluate_answers
    from .answers import held_out_prompts as held_out_prompts
    from .base_model import evaluate_base as evaluate_base
    from .bits import DocumentNats as DocumentNats
    from .bits import document_nats as document_nats
    from .comparison import compare_systems as compare_systems
    from .held_out import FrontierProbe as FrontierProbe
    from .held_out import HeldOutComparison as HeldOutComparison
    from .reward_model import RankedPairs as RankedPairs
    from .reward_model import evaluate_reward as evaluate_reward
    from .reward_scorer import RewardScorer as RewardScorer

__all__ = [
    "DocumentNats",
    "Evaluations",
    "FrontierProbe",
    "GateResult",
    "HeldOutComparison",
    "Interval",
    "KneserNey",
    "LengthBaseline",
    "RankedPairs",
    "RewardScorer",
    "ScoredPairs",
    "check_gates",
    "cluster_bootstrap",
    "compare_systems",
    "distinct_change",
    "distinct_n",
    "document_nats",
    "evaluate_answers",
    "evaluate_base",
    "evaluate_reward",
    "failed",
    "held_out_prompts",
    "paired_difference",
    "read_evaluations",
    "read_gates",
    "unique_change",
    "win_rate",
    "write_gates",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "answers": ("evaluate_answers", "held_out_prompts"),
        "base_model": ("evaluate_base",),
        "bits": ("DocumentNats", "document_nats"),
        "comparison": ("compare_systems",),
        "held_out": ("FrontierProbe", "HeldOutComparison"),
        "reward_model": ("RankedPairs", "evaluate_reward"),
        "reward_scorer": ("RewardScorer",),
    },
    torch=True,
)
