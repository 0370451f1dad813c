"""What was reached, with intervals: measures of each stage, side-by-side comparison, gates."""

from .answers import evaluate_answers, held_out_pairs
from .base_model import evaluate_base
from .comparison import FrontierProbe, Judge, compare_systems
from .gates import Gate, check_gates, failed, print_gates, read_evaluations, read_gates, write_gates
from .labeler import DocstringStyleLabeler, Points
from .reward_model import evaluate_reward
from .reward_scorer import RewardScorer
from .statistics import Interval

__all__ = [
    "DocstringStyleLabeler",
    "FrontierProbe",
    "Gate",
    "Interval",
    "Judge",
    "Points",
    "RewardScorer",
    "check_gates",
    "compare_systems",
    "evaluate_answers",
    "evaluate_base",
    "evaluate_reward",
    "failed",
    "held_out_pairs",
    "print_gates",
    "read_evaluations",
    "read_gates",
    "write_gates",
]
