"""Estimates what a run costs: parameters, tokens, FLOPs, memory, time. Pure arithmetic; nothing is measured.

>>> from stategpt.config import RunConfig
>>> plan(RunConfig()).parameters
1967808
"""

from __future__ import annotations

from stategpt.config.families import FAMILIES
from stategpt.config.model import GPTConfig
from stategpt.config.plan_records import Assumptions as Assumptions
from stategpt.config.plan_records import Export as Export
from stategpt.config.plan_records import Plan as Plan
from stategpt.config.plan_records import StagePlan as StagePlan
from stategpt.config.run import RunConfig
from stategpt.config.stage_costs import stage_plans
from stategpt.config.stage_names import STAGES


def plan(run: RunConfig, assumptions: Assumptions | None = None) -> Plan:
    """Plans a run: everything that follows from its settings.

    Exact: parameters, pretraining steps and tokens, RL rounds. Estimated from `assumptions`: tokens of the later
    stages, seconds. FLOPs are 6N + attention where all is trained, see
    `config.cost`. What the corpus decides is not known unless
    `assumptions` say it.
    """
    assumed = assumptions or Assumptions()
    tokens = run.pretrain_steps * run.step_tokens if "pretrain" in run.stages else 0
    stages = tuple(
        planned for stage in STAGES if stage.name in run.stages for planned in stage_plans(stage.name, run, assumed)
    )
    return Plan(
        run=run,
        assumptions=assumed,
        parameters=run.model.parameters,
        embedding_parameters=run.model.embedding_parameters,
        tokens_per_parameter=tokens / run.model.parameters,
        tokens_by_source={name: round(tokens * share) for name, share in run.proportions.items()},
        stages=stages,
        export=exportability(run.model),
    )


def exportability(model: GPTConfig) -> Export:
    """As what a model of this shape is saved with a tokenizer trained here, for `transformers` and what builds on it.

    `model.biased_llama` says why a Qwen2 shape is not saved as one.
    """
    family = model.family
    if family is None:
        return Export("", "no published architecture both norms and biases queries and keys; turn one off")
    limits = (
        "llama.cpp's converter refuses tokenizers trained here; the chat template takes one question and its answer"
    )
    if family.own_tokenizer:
        name = family.name
        reason = f"a {name} with output biases of zero: in a {name} folder this tokenizer would get other ids"
        return Export(FAMILIES["llama"].architecture("ForCausalLM"), reason, limits)
    return Export(family.architecture("ForCausalLM"), f"the shape is {family.name}'s", limits)
