"""Stage 4, reinforcement learning: sample, append the reward token, read the reward, reinforce, stay near SFT.

    R(x, y) = r(x, y) - beta * sum_t [log pi(y_t) - log pi_sft(y_t)]          KL as k1, in the reward
    A_i     = R_i - mean_(j != i) R_j                                          leave-one-out (arXiv 2402.14740)
    loss    = - 1/S sum_i A_i sum_t log pi(y_i,t | x, y_i,<t)                  S completions of the step

`--rl.objective reward_weighted` is the talk's own form: R_i instead of A_i, the language-model loss on completion
tokens weighted by the reward. With `--rl.minibatches` above 1 samples are older than the policy, and both are PPO's
clipped surrogate: the ratio of new to old probability instead of log pi. Where the ratio is 1, on the first minibatch,
its gradient is that of the loss above; the bound of the clip holds for any weight, A_i or R_i.

Differs from the textbook: there is no critic, so a completion is one action with one advantage; advantages are divided
by the step's root mean square (one number for all prompts, so no prompt is favored); the denominator is the number of
completions, not of tokens. Without that division the expected gradient would be that of J = E[r] - beta KL. With it, it
is a ratio of two estimates from one batch, as every normalized advantage: its direction is J's only for large batches
(cosine 0.9999 with 24 prompts of 4 completions, 0.99 with 2 of 4, 0.96 with one of 2). `optim.clip_norm` scales by the
batch's norm likewise wherever it acts (`clipped_updates` in metrics.jsonl).

Prompts are training prompts, distinct in an epoch, without those of the groups that a judge learned from. Dropout does
not exist here; policy, reference and sampler use one temperature and one mask. With `rl.top_k` or `rl.top_p` the policy
is the renormalized distribution over the ids that a token was drawn among: they are stored, and every log-probability
of the step is over them, so that the mean ratio is 1 where the policy did not change. Where the KL exceeds `rl.max_kl`
the stage ends with the policy of the step before.

metrics.jsonl, by step, means over its samples unless stated:
    reward_mean, reward_sd              the reward model's, less no_eos_penalty, before the KL
    kl_nats_per_completion              policy to SFT, k1 on the step's samples; entropy_nats_per_token, length_tokens,
                                        ended_share as named
    zero_variance_share                 prompts whose samples all earned the same
    scorer_failed                       samples that the scorer gave no score, where there are any: left out, weight 0
    sampler_gap_nats                    largest difference between the sampler's log-probability and the trainer's; with
                                        `rl.exact` 0, or the step raises `NotExact`
    ratio_mean, ratio_clipped           ratio new / old, and share of tokens that the clip gives no gradient
    kl_old_nats_per_completion          new to old policy, sum of ratio - 1 - log ratio (k3); 0 on the first minibatch
    gradient_norm, clipped_updates      before clipping; share of the step's updates that clip_norm scaled

    stategpt run tiny_cpu --out runs/tiny      # all stages; this one lands in runs/tiny/rl
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stategpt.artifacts import append_line, read_lines
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RLConfig, RunConfig
from stategpt.config.run import JUDGE
from stategpt.config.stage_names import folder_label
from stategpt.data.prompts import prompts_of
from stategpt.errors import CorruptArtifact
from stategpt.evaluate import FrontierProbe
from stategpt.evaluate.records import FrontierPoint, WeightedCompletions
from stategpt.json_records import kind_of, to_json
from stategpt.model import GPT
from stategpt.randomness import bits
from stategpt.stages.context import StageContext
from stategpt.stages.fine_tuning import FineTuning
from stategpt.stages.people import prompts_apart_from_judge
from stategpt.stages.stage import Stage, run_stage
from stategpt.train.loop import fit
from stategpt.train.metrics import early_end

from .update import RLTask
from .weighted import weighted_completions

FRONTIER, COMPLETIONS = "frontier.jsonl", "completions.jsonl"
FRONTIER_POINT, WEIGHTED = kind_of(FrontierPoint), kind_of(WeightedCompletions)
LOGS = {FRONTIER: FRONTIER_POINT, COMPLETIONS: WEIGHTED}


def rl(run: RunConfig, folder: RunFolder) -> None:
    """Trains `rl.seeds` policies at `rl.beta`, which differ by their random numbers alone, and one at each of
    `rl.extra_betas`; a policy that is there already is left as it is.
    """
    for index, stage in enumerate(run.rl.seed_folders):
        train_policy(run, folder, run.rl, stage, policy_seed(run.seed, index))
    for stage, beta in run.rl.beta_folders.items():
        train_policy(run, folder, replace(run.rl, beta=beta, extra_betas=()), stage, run.seed)


def policy_seed(seed: int, index: int) -> int:
    """Seed of policy number `index` of a run with `seed`: the run's own for the first, 52 bits of a hash for others."""
    return int(bits(seed, "rl policy", index) >> np.uint64(12)) if index else seed


def train_policy(run: RunConfig, folder: RunFolder, config: RLConfig, stage: str, seed: int) -> None:
    """One policy from the SFT weights under `config`, published in `stage`; returns at once when it is already there.

    `seed` decides the order of its prompts and its samples. SFT model and reward model are those of the run.
    """
    context = StageContext.of(run, folder)

    def measure(_: GPT | None) -> dict[str, Any]:
        """Nothing beyond the frontier, which was measured while it trained."""
        _refuse_lost_frontier(folder.stage(stage), config)
        return {}

    work = Stage(
        stage,
        _parents(context, stage),
        artifact="model",
        make=lambda fingerprint: _train(context, config, stage, fingerprint, seed),
        save=context.save_model,
        measure=measure,
        logs=LOGS,
    )
    run_stage(context, work)


def _parents(context: StageContext, stage: str) -> tuple[Path, ...]:
    """What a policy is made from: the model it begins as, the prompts, and the reward model if there is one."""
    run, folder = context.run, context.folder
    rewarding = (folder.model("reward"),) if "reward" in run.stages else ()
    judging = (folder.model(f"reward/{JUDGE}"),) if run.trains_judge else ()  # wins of the frontier are by it
    return (folder.model(run.policy), *rewarding, *judging, *context.corpus_parts(f"{stage}/model"))


def _train(context: StageContext, config: RLConfig, stage: str, fingerprint: str, seed: int) -> GPT:
    run, folder = context.run, context.folder
    corpus = context.corpus()
    tuning = FineTuning.of(run, "rl", context.load_model(run.policy), seed)
    policy, reference = tuning.model, tuning.reference()
    asked = prompts_apart_from_judge(prompts_of(corpus, "rl", "train"), corpus, run)
    rewarder = context.scorer("rl.scorer", corpus)
    scorer = context.scorer("evaluate.scorer", corpus)
    probe = FrontierProbe.of(run, corpus, context.tok, reference, scorer, rewarder, context.chat)
    task = RLTask(
        config,
        context.engine(policy, exact=config.exact),
        reference,
        lambda numbers, completions: rewarder.scores([asked[i] for i in numbers], completions).values,
        [context.chat.prompt(prompt) for prompt in asked],
        sampling=run.sampling,
        seed=seed,
        name=folder_label(stage),
    )

    def hook(step: int) -> None:
        """Measures a point of the frontier at the steps that have one."""
        if step in _measured_steps(config) or task.ended():
            _append_once(folder.stage(stage) / FRONTIER, step, probe, policy)
        if step in {1, config.steps}:
            _append_completions(folder.stage(stage) / COMPLETIONS, step, task)

    fit(task, policy, context.loop("rl", stage, fingerprint, LOGS), hook=hook)
    tuning.finish(folder.stage(stage), fingerprint)
    return policy


def _append_completions(path: Path, step: int, task: RLTask) -> None:
    """One prompt of the step with its completions and their weights, for the report."""
    if task.weighted is not None and not task.ended() and all(line["step"] != step for line in read_lines(path)):
        rollout, weights_S = task.weighted
        shown = weighted_completions(step, rollout, weights_S, task.config.completions, task.engine.tok)
        append_line(path, to_json(shown))


def _measured_steps(config: RLConfig) -> set[int]:
    return {*range(0, config.steps, config.evaluate_every_steps), config.steps}


def _append_once(path: Path, step: int, probe: FrontierProbe, policy: GPT) -> None:
    """A step that was measured before an interruption is not measured into the file twice."""
    if all(line["step"] != step for line in read_lines(path, FRONTIER_POINT)):
        append_line(path, to_json(probe.measure(step, policy)))


def _refuse_lost_frontier(folder: Path, config: RLConfig) -> None:
    """The frontier was measured during training: what is lost of it cannot be measured on the finished policy."""
    measured = _measured_steps(config)
    end = early_end(folder / "metrics.jsonl")
    if end is not None:
        measured = {*(step for step in measured if step < end["step"]), end["step"]}
    lost = measured - {line["step"] for line in read_lines(folder / FRONTIER, FRONTIER_POINT)}
    if lost:
        raise CorruptArtifact(
            f"{folder / FRONTIER} lacks step {min(lost)}, which only training measures. Restore the folder evaluation "
            f"beside it from a copy, or delete {folder} to train this stage again."
        )
