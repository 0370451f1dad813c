"""What every stage works with: the run, its folder and tokenizer, models of earlier stages, loop settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from stategpt.artifacts import Manifest, publish_folder, read_manifest
from stategpt.artifacts.measurements import is_published
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import LoopConfig, RunConfig
from stategpt.config.dial import resolved_optim
from stategpt.config.parts import parts_of
from stategpt.config.presence import REWARD_MODEL
from stategpt.config.run import JUDGE
from stategpt.data import ChatTemplate, ControlIds
from stategpt.data.corpus import Corpus
from stategpt.errors import DataError
from stategpt.evaluate import RewardScorer
from stategpt.evaluate.scorers import Scorer, ScorerContext, build_scorer
from stategpt.generate import Engine
from stategpt.json_reader import Kind
from stategpt.model import GPT, RewardModel
from stategpt.shown_fields import documented
from stategpt.stages.chat_format import run_chat, run_tokenizer
from stategpt.stages.fitting import fitting_corpus
from stategpt.stages.model_files import save_with_tokenizer
from stategpt.tokenizer import AnyTokenizer
from stategpt.train import LoopSettings


def pick_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@documented
@dataclass(frozen=True)
class StageContext:
    """What a stage works with."""

    run: RunConfig
    """The settings."""
    folder: RunFolder
    """The run folder."""
    tok: AnyTokenizer
    """The run's tokenizer."""
    chat: ChatTemplate
    """Its chat format: this package's, or that of the start model."""
    device: torch.device
    """Where models are."""

    @classmethod
    def of(cls, run: RunConfig, folder: RunFolder) -> StageContext:
        """Loads the run's tokenizer."""
        if not folder.tokenizer_json.exists():
            raise DataError(f"{folder.tokenizer_json} does not exist; run the stages in order, or `stategpt run`")
        tok = run_tokenizer(folder)
        return cls(run, folder, tok, run_chat(folder, tok), pick_device())

    @property
    def control(self) -> ControlIds:
        """The control ids of tokenizer and chat format."""
        return self.chat.control

    def parent(self, folder: Path) -> Manifest:
        """Manifest of an artifact this stage builds on; a clear error where it is missing."""
        if not is_published(folder):
            raise DataError(f"{folder} has not been made yet; run the earlier stages first, or `stategpt run`")
        return read_manifest(folder)

    def corpus_parts(self, part: str) -> tuple[Path, ...]:
        """The parts of the corpus that a part of the run (`config.parts`) reads: what it is made from, by content."""
        named = (self.folder.root / name for name in parts_of(self.run)[part].made_from if name.startswith("corpus/"))
        return tuple(path for path in named if is_published(path))

    def load_model(self, stage: str) -> GPT:
        """The published model of `stage` on this run's device, in training mode off."""
        self.parent(self.folder.model(stage))
        return GPT.from_pretrained(self.folder.model(stage), torch.float32).to(self.device).eval()

    def engine(self, model: GPT, *, exact: bool = False) -> Engine:
        """A sampler over `model` with this run's tokenizer; with `exact` in float32, whatever the evaluation has."""
        precision = "float32" if exact else self.run.evaluate.precision
        return Engine(model, self.tok, self.chat, precision=precision, exact=exact)

    def reward_scorer(self, model: RewardModel) -> RewardScorer:
        """What reads the rewards of `model` with this run's tokenizer."""
        return RewardScorer(model, self.tok, chat=self.chat)

    def scorer(self, setting: str, corpus: Corpus) -> Scorer:
        """The scorer that `setting` names: "rankings.scorer", "rl.scorer", or "evaluate.scorer"; where that is empty,
        what `RunConfig.decides_wins` names, which may be the judge.

        Raises:
            ConfigError: as `build_scorer`.
        """
        if setting == "evaluate.scorer":
            setting = self.run.decides_wins
        most_failed = self.run.evaluate.max_failed_share
        if setting == JUDGE:
            model = self.folder.model(f"reward/{JUDGE}")
            self.parent(model)
            judge = ScorerContext(corpus, self.tok, model, str(self.device), chat=self.chat)
            return build_scorer(REWARD_MODEL, judge, "evaluate.scorer", most_failed)
        section = getattr(self.run, setting.partition(".")[0])
        trained = setting != "rankings.scorer" and is_published(self.folder.model("reward"))
        reward_model = self.folder.model("reward") if trained else None
        given = ScorerContext(corpus, self.tok, reward_model, str(self.device), section.scorer_options, self.chat)
        return build_scorer(section.scorer, given, setting, most_failed)

    def corpus(self) -> Corpus:
        """The run's corpus; of a user's conversations and prompts, those that fit the model (`stages.fitting`).

        The first call reads it and checks every file's hash, later ones return the same.
        """
        return self._corpus

    @cached_property
    def _corpus(self) -> Corpus:
        return fitting_corpus(self.run, self.folder)

    def loop(self, stage: str, folder: str, fingerprint: str, logs: Mapping[str, Kind] | None = None) -> LoopSettings:
        """Settings of the training loop from the section of `stage`, which trains in `folder`."""
        config: LoopConfig = getattr(self.run, stage)
        return LoopSettings(
            optim=resolved_optim(self.run, stage),
            folder=self.folder.stage(folder),
            fingerprint=fingerprint,
            precision=config.precision,
            weights=config.weights,
            gradient_checkpointing=config.gradient_checkpointing,
            checkpoint_every_steps=config.checkpoint_every_steps,
            log_every_steps=config.log_every_steps,
            logs=logs or {},
        )

    def publish(
        self, folder: str, artifact: str, save: Callable[[Path], None], fingerprint: str, parents: Sequence[str]
    ) -> Manifest:
        """Publishes the artifact of a stage's folder; `fingerprint` is that of its configuration."""
        return publish_folder(
            self.folder.root / folder / artifact,
            save,
            kind=artifact,
            fingerprints={"config": fingerprint, "tokenizer": self.tok.fingerprint},
            parents=tuple(parents),
        )

    def save_model(self, model: GPT | RewardModel, target: Path) -> None:
        """Writes a model folder: weights, tokenizer, the files `transformers` reads, lineage."""
        save_with_tokenizer(model, target, self.tok, self.chat, self.folder.tokenizer)
