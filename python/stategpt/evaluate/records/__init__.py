"""What a run measured, one frozen dataclass per file: written, checked and read through `stategpt.json_records`.

    base/evaluation/        evaluation.json PretrainEvaluation, mixture.json MixtureDrawn, rows.json PackedRows,
                            samples.jsonl Sample, validation.jsonl ValidationLoss, loss_references.json LossReferences
    sft/evaluation/         evaluation.json SFTEvaluation
    rankings/evaluation/    evaluation.json RankingsEvaluation
    reward/evaluation/      evaluation.json RewardEvaluation
    classify/evaluation/    evaluation.json ClassifyEvaluation
    rl.../evaluation/       frontier.jsonl FrontierPoint, completions.jsonl WeightedCompletions
    comparison/evaluation/  evaluation.json ComparisonEvaluation
    gates/gates.json        GateResults

A page or a gate reads a run that may be unfinished, so every measure may be absent: None or empty. A value that is
there has its type and a size that can be drawn. `score` is what the scorer gives a completion, the sum of its named
`parts`; `reward` is what the reward model gives it. Systems: "base", "prompted_base", "sft", "best_of_<n>", "rlhf" (the
mean over the policies of all seeds), "rlhf_beta_<beta>" (a policy of `rl.extra_betas`), "reference" (the answers that
the data has, written by people).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stategpt.artifacts.measurements import EVALUATION, Measurements
from stategpt.json_records import versioned
from stategpt.shown_fields import documented, short_repr

from .classification import ArmResult, Arms, ClassifierMeasures, ClassifyEvaluation, MethodGain
from .comparison import (
    ComparedPrompt,
    ComparisonEvaluation,
    DiversityChange,
    FrontierPoint,
    GateResult,
    GateResults,
    PairedGain,
    RepeatedAnswer,
    SeedMeasures,
    Severity,
    SystemAnswer,
    SystemMeasures,
)
from .feedback import (
    AnnotatorAgreement,
    CalibrationBucket,
    MarginAccuracy,
    RankedExample,
    RankedFit,
    RankingsEvaluation,
    RewardEvaluation,
    ScoredCompletion,
    WeightedCompletion,
    WeightedCompletions,
)
from .language_model import (
    AnsweredPrompt,
    DrawnSource,
    LossReferences,
    MaskedToken,
    MentionsSubject,
    MixtureDrawn,
    PackedRows,
    PretrainEvaluation,
    RowToken,
    Sample,
    SFTEvaluation,
    SourceBits,
    ValidationLoss,
)

__all__ = [
    "FORMAT_VERSION",
    "RECORD_OF",
    "AnnotatorAgreement",
    "AnsweredPrompt",
    "ArmResult",
    "Arms",
    "CalibrationBucket",
    "ClassifierMeasures",
    "ClassifyEvaluation",
    "ComparedPrompt",
    "ComparisonEvaluation",
    "DiversityChange",
    "DrawnSource",
    "Evaluations",
    "FrontierPoint",
    "GateResult",
    "GateResults",
    "LossReferences",
    "MarginAccuracy",
    "MaskedToken",
    "MentionsSubject",
    "MethodGain",
    "MixtureDrawn",
    "PackedRows",
    "PairedGain",
    "PretrainEvaluation",
    "RankedExample",
    "RankedFit",
    "RankingsEvaluation",
    "RepeatedAnswer",
    "RewardEvaluation",
    "RowToken",
    "SFTEvaluation",
    "Sample",
    "ScoredCompletion",
    "SeedMeasures",
    "Severity",
    "SourceBits",
    "SystemAnswer",
    "SystemMeasures",
    "ValidationLoss",
    "WeightedCompletion",
    "WeightedCompletions",
    "evaluation_json",
    "read_evaluations",
]

FORMAT_VERSION = 2
"""Of the JSON files named above; 1 was written without a version."""


@documented
@dataclass(frozen=True)
class Evaluations:
    """The evaluations of a run; those it has not made are empty."""

    base: PretrainEvaluation = field(default_factory=PretrainEvaluation)
    """Of the base model."""
    sft: SFTEvaluation = field(default_factory=SFTEvaluation)
    """Of the SFT model."""
    rankings: RankingsEvaluation = field(default_factory=RankingsEvaluation)
    """Of the ranked completions."""
    reward: RewardEvaluation = field(default_factory=RewardEvaluation)
    """Of the reward model."""
    judge: RewardEvaluation = field(default_factory=RewardEvaluation)
    """Of the second reward model, which decides wins where people ranked and no scorer is set."""
    classify: ClassifyEvaluation = field(default_factory=ClassifyEvaluation)
    """Of classifiers and few-shot prompts, where texts are labeled."""
    comparison: ComparisonEvaluation = field(default_factory=ComparisonEvaluation)
    """Of all systems."""

    __repr__ = short_repr


RECORD_OF: Mapping[str, type[Any]] = {
    "base": PretrainEvaluation,
    "sft": SFTEvaluation,
    "rankings": RankingsEvaluation,
    "reward": RewardEvaluation,
    "reward/judge": RewardEvaluation,
    "classify": ClassifyEvaluation,
    "comparison": ComparisonEvaluation,
}
"""Record of evaluation.json by the folder of the stage."""


def read_evaluations(run_folder: str | Path) -> Evaluations:
    """The evaluation of every stage that has one, checked against its manifest.

    Raises:
        CorruptArtifact: not what was published, or measured on another model than the stage's.
        ForeignArtifact: of another format version or of an earlier version's layout. DataError: of another type.
    """
    measurements = Measurements(Path(run_folder))
    found: dict[str, Any] = {
        stage: measurements.read(stage, EVALUATION, "evaluation.json", record, FORMAT_VERSION)
        for stage, record in RECORD_OF.items()
    }
    return Evaluations(**{stage.rpartition("/")[2]: record for stage, record in found.items() if record is not None})


def evaluation_json(record: Any) -> dict[str, Any]:
    """The content of a JSON file of measurements, with the format version."""
    return versioned(record, FORMAT_VERSION)
