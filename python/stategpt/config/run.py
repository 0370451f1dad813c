"""The settings of a run, from corpus to gates. The same settings, machine and build give the same bytes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from stategpt.config.checks import require, require_all_storable
from stategpt.config.classify import ClassifyConfig
from stategpt.config.corpus import CorpusConfig, DataConfig, TokenizerConfig
from stategpt.config.curate import CurateConfig
from stategpt.config.evaluation import EvaluateConfig, GatesConfig
from stategpt.config.lora import LoRAConfig, last_layers, require_targets
from stategpt.config.model import GPTConfig
from stategpt.config.serve import ServeConfig
from stategpt.config.sources import SourceConfig
from stategpt.config.stage_names import STAGES, USUAL_STAGES
from stategpt.config.stages import (
    FineTuneConfig,
    PretrainConfig,
    RankingsConfig,
    RewardConfig,
    RLConfig,
    SamplingConfig,
    SFTConfig,
)
from stategpt.config.start import StartConfig
from stategpt.shown_fields import documented, short_repr

_NAME_CHARS = 100
JUDGE = "judge"
"""What decides wins where `RunConfig.trains_judge`: the second reward model, in the folder reward/judge."""
TOKENS_PER_PARAMETER = 20
"""Compute-optimal training tokens per parameter (Hoffmann et al. 2022, arXiv 2203.15556)."""
_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{_NAME_CHARS}}}", re.ASCII)


@documented
@dataclass(frozen=True)
class RunConfig:
    """All sections of a run. Recipes set them; the defaults suit any size.

    Raises:
        ConfigError: two sections contradict each other; the message names both.
    """

    name: str = "run"
    """Name shown in the report; the run's folder when none is given."""
    seed: int = 0
    """Seed of everything random, together with stage, step and sample."""
    stages: tuple[str, ...] = USUAL_STAGES
    """Stages that run, in order; a file without it runs those whose sections it has."""
    start: StartConfig = field(default_factory=StartConfig)
    """A model instead of random weights."""
    sources: Mapping[str, SourceConfig] = field(default_factory=dict)
    """Documents of stage 1, a table for each source."""
    curate: CurateConfig = field(default_factory=CurateConfig)
    """What is changed in documents and removed before they are split."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    """Documents and their split."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """Vocabulary."""
    data: DataConfig = field(default_factory=DataConfig)
    """Rows and mixture."""
    model: GPTConfig = field(default_factory=GPTConfig)
    """Shape of the model."""
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    """Stage 1."""
    classify: ClassifyConfig = field(default_factory=ClassifyConfig)
    """Classification of labeled texts."""
    sft: SFTConfig = field(default_factory=SFTConfig)
    """Stage 2."""
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    """Low-rank adapters of SFT, reward model and policy, instead of training the weights."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Completions of rankings, RL and evaluation."""
    rankings: RankingsConfig = field(default_factory=RankingsConfig)
    """Ranked completions."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """Stage 3."""
    rl: RLConfig = field(default_factory=RLConfig)
    """Stage 4."""
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    """Measurements."""
    gates: GatesConfig = field(default_factory=GatesConfig)
    """Thresholds."""
    serve: ServeConfig = field(default_factory=ServeConfig)
    """The server of its models."""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        require_all_storable(self)
        plain = isinstance(self.name, str) and _NAME.fullmatch(self.name) and self.name not in (".", "..")
        rule = f"must be 1 to {_NAME_CHARS} letters, digits, '.', '-' or '_', since a folder is named after it"
        require(bool(plain), "name", self.name, rule)
        require(self.seed >= 0, "seed", self.seed, "must be 0 or more")
        ordered = tuple(stage.name for stage in STAGES if stage.name in (*self.stages, "prepare"))
        rule = f"must be stages in their order, prepare first: {', '.join(stage.name for stage in STAGES)}"
        require(self.stages == ordered, "stages", self.stages, rule)
        self._require_shares()
        rule = "applies to [sources], and there are none"
        require(bool(self.sources) or not self.curate.is_active, "curate", "...", rule)
        rule = f"must equal tokenizer.vocab_size = {self.tokenizer.vocab_size}"
        require(self.model.vocab_size == self.tokenizer.vocab_size, "model.vocab_size", self.model.vocab_size, rule)
        rule = "with model.qk_norm no published architecture has both, so the model could not be saved; turn one off"
        require(self.model.family is not None, "model.attention_bias", self.model.attention_bias, rule)
        rule = f"must not exceed model.context_tokens = {self.model.context_tokens}"
        require(self.data.row_tokens <= self.model.context_tokens, "data.row_tokens", self.data.row_tokens, rule)
        require(self.sft.row_tokens <= self.model.context_tokens, "sft.row_tokens", self.sft.row_tokens, rule)
        rule = f"leaves no room for a prompt in model.context_tokens = {self.model.context_tokens}"
        longest = self.sampling.max_tokens
        require(longest < self.model.context_tokens, "sampling.max_tokens", longest, rule)
        self._require_trained_parts()

    def _require_trained_parts(self) -> None:
        """Adapters and parts of the weights are not trained at once, and the model has the layers that are named."""
        require_targets(self.model, self.lora)
        for stage in self.fine_tuning_stages:
            train = getattr(self, stage).train
            rule = f"does not apply with lora.rank = {self.lora.rank}, which trains adapters; leave one of them out"
            require(train == "all" or not self.lora.rank, f"{stage}.train", train, rule)
            rule = f"names more layers than model.depth = {self.model.depth}"
            require((last_layers(train) or 0) <= self.model.depth, f"{stage}.train", train, rule)

    def _require_shares(self) -> None:
        """The sources' shares add up to 1, and nothing else gives proportions."""
        if not self.sources:
            return
        rule = "does not apply with [sources]; each source has its share there"
        require(not self.data.proportions, "data.proportions", dict(self.data.proportions), rule)
        shares = {f"sources.{name}.share": source.share for name, source in self.sources.items()}
        total = math.fsum(shares.values())
        rule = f"the shares of all sources must add up to 1, not {total:g}"
        require(abs(total - 1) < 1e-6, "sources", shares, rule)

    @property
    def fine_tuning_stages(self) -> tuple[str, ...]:
        """Stages that continue a model and may train adapters or parts of it, whether or not they run."""
        named = (stage.name for stage in STAGES)
        return tuple(name for name in named if isinstance(getattr(self, name, None), FineTuneConfig))

    @property
    def proportions(self) -> Mapping[str, float]:
        """Share of the training tokens of each source: those of `sources`, or `data.proportions` without them."""
        if self.sources:
            return {name: source.share for name, source in self.sources.items()}
        return self.data.proportions

    @property
    def own_data(self) -> tuple[str, ...]:
        """Settings that give files of the user's, apart from the prompts of a single stage."""
        given = {"sources": self.sources, "sft.data": self.sft.data, "rankings.data": self.rankings.data}
        given["classify.data"] = self.classify.data
        return tuple(key for key, value in given.items() if value)

    @property
    def policy(self) -> str:
        """Stage whose model is ranked, rewarded and improved by RL: "sft", or "base" where SFT does not run."""
        return "sft" if "sft" in self.stages else "base"

    @property
    def trains_judge(self) -> bool:
        """Whether wins are decided by a second reward model, on other prompt groups than that which RL maximizes: where
        people ranked, no `evaluate.scorer` is set, and RL runs.
        """
        return bool(self.rankings.data) and not self.evaluate.scorer and {"reward", "rl"} <= set(self.stages)

    @property
    def decides_wins(self) -> str:
        """Setting whose scorer decides wins: "evaluate.scorer", where it is empty "rankings.scorer", or without that
        "rl.scorer", which no claim rests on; `JUDGE` where `trains_judge`.
        """
        if self.trains_judge:
            return JUDGE
        if self.evaluate.scorer:
            return "evaluate.scorer"
        sampled = "rankings" in self.stages and not self.rankings.data
        return "rankings.scorer" if sampled else "rl.scorer"

    @property
    def step_tokens(self) -> int:
        """Tokens per optimizer step of pretraining."""
        return self.pretrain.batch_rows * self.data.row_tokens

    @property
    def sft_row_tokens(self) -> int:
        """Tokens per row of SFT: `sft.row_tokens`, or the model's context where that is 0."""
        return self.sft.row_tokens or self.model.context_tokens

    @property
    def pretrain_tokens(self) -> int:
        """Training tokens of pretraining: `pretrain.tokens`, or 20 per parameter where that is 0."""
        return self.pretrain.tokens or TOKENS_PER_PARAMETER * self.model.parameters

    @property
    def pretrain_steps(self) -> int:
        """Optimizer steps of pretraining: its tokens rounded up to whole steps."""
        return -(-self.pretrain_tokens // self.step_tokens)
