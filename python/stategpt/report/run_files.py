"""The files of a run folder, read for the report. A file that is not there is None or empty: the run may be partial."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from stategpt.artifacts import Lineage, Measurements, fingerprint, read_manifest, verify
from stategpt.artifacts.environment import Environment, read_environments
from stategpt.artifacts.lineage import LINEAGE_NAME
from stategpt.artifacts.measurement_kinds import CORPUS_STATISTICS, STATISTICS
from stategpt.artifacts.measurements import EVALUATION, is_published, stage_folders
from stategpt.config import RunConfig
from stategpt.config.stage_names import USUAL_STAGES
from stategpt.config.toml import load
from stategpt.config.toml_text import LIMIT_BYTES, parse_toml
from stategpt.errors import ConfigError, InvalidArgument, MissingFile
from stategpt.evaluate.gates import read_gates
from stategpt.evaluate.records import (
    FORMAT_VERSION,
    ArmResult,
    Arms,
    Evaluations,
    GateResult,
    LossReferences,
    MixtureDrawn,
    PackedRows,
    Sample,
    ValidationLoss,
    WeightedCompletions,
    read_evaluations,
)
from stategpt.evaluate.statistics import Interval
from stategpt.files import read_bytes
from stategpt.json_reader import check_value, read_json, read_record
from stategpt.json_records import read_versioned
from stategpt.report.wording import Names
from stategpt.visible_text import visible, visible_line

Json = Mapping[str, Any]


@dataclass(frozen=True)
class RunFiles:
    """Read access to one run folder. Everything is checked against its manifest and its types, and safe to print.

    Raises:
        CorruptArtifact: a file is not what was published. ForeignArtifact: of an earlier version.
        DataError: a file holds something else than it should. StorageError: it cannot be read.
    """

    root: Path
    """The run folder."""

    @cached_property
    def _measurements(self) -> Measurements:
        return Measurements(self.root)

    @cached_property
    def evaluations(self) -> Evaluations:
        """What was measured of each stage; empty records for those that have no evaluation."""
        found: Evaluations = escaped(read_evaluations(self.root))
        return found

    @cached_property
    def mixture(self) -> MixtureDrawn:
        """The mixture of the sources, planned and drawn; empty when it is not there."""
        read = self._measurements.read("base", EVALUATION, "mixture.json", MixtureDrawn, FORMAT_VERSION)
        found: MixtureDrawn = escaped(read or MixtureDrawn())
        return found

    def rows(self) -> PackedRows:
        """The first packed rows, as they are: not escaped; empty when they are not there."""
        return self._measurements.read("base", EVALUATION, "rows.json", PackedRows, FORMAT_VERSION) or PackedRows()

    def samples(self) -> list[Sample]:
        """Samples of the base model in training."""
        return [escaped(line) for line in self._measurements.read_lines("base", "samples.jsonl", Sample)]

    def validation_losses(self) -> list[ValidationLoss]:
        """Loss on validation documents during pretraining, by step."""
        return self._measurements.read_lines("base", "validation.jsonl", ValidationLoss)

    @cached_property
    def loss_references(self) -> LossReferences:
        """What baselines lose on the same documents; empty when it is not there."""
        read = self._measurements.read("base", EVALUATION, "loss_references.json", LossReferences, FORMAT_VERSION)
        return read or LossReferences()

    def weighted_completions(self) -> list[WeightedCompletions]:
        """One prompt's completions with their weights, of the first and last step of RL; not escaped."""
        return self._measurements.read_lines("rl", "completions.jsonl", WeightedCompletions)

    @cached_property
    def environments(self) -> tuple[Environment, ...]:
        """Machine, versions and command of each call that worked on the run."""
        found: tuple[Environment, ...] = escaped(read_environments(self.root).calls)
        return found

    def metrics(self, stage: str) -> list[dict[str, Any]]:
        """The stage's metrics.jsonl."""
        return [escaped(line) for line in self._measurements.metrics(stage)]

    def statistics(self) -> Json:
        """What was counted of the tokenizer; {} when there is none."""
        folder = self.root / "tokenizer"
        if not is_published(folder):
            return {}
        counted = read_manifest(folder).extra.get("statistics", {})
        found: Json = escaped(check_value(counted, STATISTICS, where=f"{folder / 'manifest.json'}: statistics"))
        return found

    def training_conversations(self) -> int | None:
        """Training conversations of the corpus; None when it is not made yet."""
        folder = self.root / "corpus"
        if not is_published(folder) or not (folder / "statistics.json").exists():
            return None
        counted = read_record(folder / "statistics.json", CORPUS_STATISTICS)["conversations"]
        return None if counted is None else counted["train"]

    @cached_property
    def gates(self) -> list[GateResult]:
        """The checked gates; none when the run has not reached them."""
        return [
            replace(gate, name=visible_line(gate.name), label=visible_line(gate.label), rule=visible_line(gate.rule))
            for gate in read_gates(self.root)
        ]

    @cached_property
    def lineage(self) -> list[Json]:
        """The nodes of lineage.json, each compared with the folder it names; none when it is not there."""
        if not (self.root / LINEAGE_NAME).exists():
            return []
        recorded = Lineage.read(self.root)
        recorded.refuse_changes(self.root)
        return [escaped(asdict(node)) for node in recorded.nodes]

    @cached_property
    def _config(self) -> str | None:
        try:
            return read_bytes(self.root / "run.toml", LIMIT_BYTES).decode("utf-8", "replace")
        except MissingFile:
            return None

    @property
    def config_text(self) -> str | None:
        """run.toml, for the eye; None when there is none."""
        return None if self._config is None else visible(self._config)

    @cached_property
    def config_fingerprint(self) -> str | None:
        """Fingerprint of the values in run.toml; None when there are none."""
        try:
            return None if self._config is None else fingerprint(parse_toml(self._config))
        except InvalidArgument:  # ConfigError is one; dates and NaN have no fingerprint
            return None

    @cached_property
    def run(self) -> RunConfig | None:
        """The run's configuration; None when run.toml is missing or from a version with other settings."""
        try:
            return load(self.root / "run.toml") if self._config is not None else None
        except ConfigError:
            return None

    @cached_property
    def names(self) -> Names:
        """What its models are called."""
        return Names.of(self.run)

    @cached_property
    def stages(self) -> frozenset[str]:
        """Names of the stages that the run has; all of them where its settings cannot be read."""
        return frozenset(self.run.stages if self.run is not None else USUAL_STAGES)

    @cached_property
    def corpus_counts(self) -> Json:
        """What the corpus says was found in its inputs; {} when it is not made yet."""
        folder = self.root / "corpus"
        if not is_published(folder) or not (folder / "statistics.json").exists():
            return {}
        found = read_json(folder / "statistics.json")
        counted: Json = escaped(found) if isinstance(found, Mapping) else {}
        return counted

    @cached_property
    def name(self) -> str:
        """Name of the recipe, else of the folder."""
        try:
            name = parse_toml(self._config or "").get("name")
        except ConfigError:
            name = None
        return visible_line(name if isinstance(name, str) and name else self.root.resolve().name)

    @cached_property
    def stage_folders(self) -> list[str]:
        """Folders of the stages that are there, in the order of the work."""
        return stage_folders(self.root)

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage that says so, in the order of the work."""
        measured = ((stage, self._measurements.seconds(stage)) for stage in self.stage_folders)
        return {stage: seconds for stage, seconds in measured if seconds is not None}

    def classified_arms(self) -> tuple[ArmResult, ...]:
        """What each method gave the test texts, beside the published classifier; none when it is not there."""
        folder = self.root / "classify" / "model"
        if not is_published(folder):
            return ()
        verify(folder, kind="model")
        return read_versioned(folder / "arms.json", Arms, FORMAT_VERSION).arms

    def tokens(self, stage: str) -> int | None:
        """Tokens a stage trained on, from its log."""
        log = self.metrics(stage)
        return int(log[-1]["tokens"]) if log and log[-1].get("tokens") is not None else None


def escaped(value: Any) -> Any:
    """A record or JSON value whose strings, names too, hold no control or direction characters."""
    if isinstance(value, str):
        return visible(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: escaped(getattr(value, each.name)) for each in fields(value)})
    if isinstance(value, Mapping):
        return {visible_line(name): escaped(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(escaped(item) for item in value)
    return value


def number(data: Any, *keys: str) -> float | None:
    """data[key]... where every step is a mapping that has the key, when that is a number; else None."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return float(data) if isinstance(data, int | float) and not isinstance(data, bool) else None


def mean(interval: Interval | None) -> float | None:
    """The measured value of an interval; None where nothing was measured."""
    return None if interval is None else interval.mean
