"""All systems side by side: answers to the same prompts, and one table of every measure."""

import re
from collections.abc import Mapping
from typing import Any

from stategpt.config.presence import REWARD_MODEL
from stategpt.config.run import JUDGE
from stategpt.evaluate.records import (
    ComparedPrompt,
    ComparisonEvaluation,
    RewardEvaluation,
    SeedMeasures,
    SystemAnswer,
    SystemMeasures,
)
from stategpt.evaluate.statistics import Interval
from stategpt.report import lessons
from stategpt.report.run_files import RunFiles, mean
from stategpt.report.wording import Names, count, fixed, percent, plain, signed, span
from stategpt.visible_text import visible

_BEST_OF = re.compile(r"best_of_[0-9]{1,9}")
SHOWN = ("base", "prompted_base", "sft", "best_of_4", "rlhf")
"""Systems whose answers are shown side by side, before policies of other betas and the reference answer; best-of-4
represents best-of-n where it was run.
"""


def comparison(files: RunFiles) -> dict[str, Any]:
    """Context of the part on the comparison."""
    data = files.evaluations.comparison
    names = files.names
    examples = [_example(example, names) for example in data.examples]
    return {
        "prompts": data.prompts,
        "systems": [_system_row(name, row, data.elo.get(name), names) for name, row in data.systems.items()],
        "names": data.subjects,
        "against": _against_rows(data),
        "judged": _judged(data, names),
        "seeds": _seed_rows(data, names),
        "against_rlhf": _beta_rows(data, names),
        "repeated": _repeated(data, names),
        "variety_lesson": lessons.variety(data, names),
        "scorer": visible(data.scorer),
        "judge": _judge(data, files.evaluations.judge, files.evaluations.rankings.judge_groups, names),
        "failed": count(data.failed_prompts) if data.failed_prompts else "",
        "left_out": _left_out(data),
        "examples": [example for example in examples if example["answers"]],
        "diversity_change": _change(data),
        "is_prompted": "prompted_base" in data.systems,
    }


def _judge(data: ComparisonEvaluation, judge: RewardEvaluation, groups: int | None, names: Names) -> str:
    """Who decides wins, and what that is worth."""
    if not data.scorer or not data.optimized:
        return ""
    optimized = "the reward model" if data.optimized == REWARD_MODEL else visible(data.optimized)
    if not data.is_independent:
        return (
            f"Wins and rewards are both by {optimized}, which is what RL maximized: they show that it was maximized, "
            "and no claim rests on them. Set evaluate.scorer to something else for a claim."
        )
    if data.scorer != JUDGE:
        return f"Wins are decided by {visible(data.scorer)}. The column reward is {optimized}'s: what RL maximized."
    accuracy = judge.pair_accuracy
    known = f", trained on {count(groups)} prompts" if groups else ""
    right = ""
    if accuracy is not None:
        share = percent(accuracy.mean, 1)
        right = f" It orders {share} of people's held-out pairs correctly ({_percent_span(accuracy)} %)."
    return (
        "People ranked, and no other scorer is set: wins are decided by the judge, a second reward model from other "
        f"groups of prompts and another seed{known}, which RL never read.{right} The "
        f"column reward is {optimized}'s: what RL maximized, and no measure of success by itself. The judge began as "
        f"the same {names.policy} model, so errors that both inherit from it are not excluded."
    )


def _example(example: ComparedPrompt, names: Names) -> dict[str, Any]:
    answers = example.answers
    return {
        "prompt": visible(example.prompt),
        "answers": [
            {
                "name": name,
                "label": names.system(name),
                "text": visible(answers[name].text.strip()),
                "score": None if answers[name].score is None else plain(answers[name].score),
                "reward": None if answers[name].reward is None else signed(answers[name].reward, 2),
            }
            for name in _shown_systems(answers)
            if name in answers
        ],
    }


def _shown_systems(answers: Mapping[str, SystemAnswer]) -> list[str]:
    """SHOWN, with the largest best-of-n in the place of best-of-4 where 4 was not run."""
    best = sorted((name for name in answers if _BEST_OF.fullmatch(name)), key=lambda name: int(name[8:]))
    largest = "best_of_4" if "best_of_4" in best or not best else best[-1]
    betas = [name for name in answers if name.startswith("rlhf_beta_")]
    return [*(largest if name == "best_of_4" else name for name in SHOWN), *betas, "reference"]


def _rlhf(data: ComparisonEvaluation) -> SystemMeasures:
    return data.systems.get("rlhf", SystemMeasures())


def _system_row(name: str, row: SeedMeasures, elo: Interval | None, names: Names) -> dict[str, str]:
    kl, bound = fixed(mean(row.kl), 2), row.kl_bound if isinstance(row, SystemMeasures) else None
    if row.kl is None and bound is not None:
        kl = f"≤ {fixed(bound, 2)}"
    return {
        "name": name,
        "label": names.system(name),
        "wins": percent(mean(row.win_rate_vs_sft), 1),
        "wins_interval": _percent_span(row.win_rate_vs_sft) if name != "sft" else "",
        "elo": fixed(mean(elo), 0),
        "score": fixed(row.score_mean, 2),
        "reward": fixed(row.reward_mean, 2),
        "kl": kl if name != "sft" else "0",
        "distinct": fixed(row.distinct_2, 3),
        "unique": percent(mean(row.unique_share)),
        "length": fixed(row.length_tokens, 1),
        "ended": percent(row.ended_share),
    }


def _against_rows(data: ComparisonEvaluation) -> list[dict[str, str]]:
    """RLHF minus best-of-n, by n."""
    return [
        {
            "label": f"best-of-{size}",
            "wins": f"{signed(100 * row.wins.mean, 1)} %" if row.wins is not None else fixed(None),
            "wins_interval": _percent_span(row.wins),
            "reward": signed(mean(row.reward), 2),
            "reward_interval": span(row.reward, 2),
            "kl_bound": f"≤ {fixed(row.kl_bound, 2)}",
            "kl": fixed(mean(_rlhf(data).kl), 2),
        }
        for size, row in data.against_best_of.items()
    ]


def _judged(data: ComparisonEvaluation, names: Names) -> list[str]:
    """What the comparison with best-of-n shows, said only where the intervals show it."""
    kl = mean(_rlhf(data).kl)
    said = []
    for size, row in data.against_best_of.items():
        bound = row.kl_bound
        if bound and kl is not None and kl > bound and not _above_zero(row.wins):
            said.append(
                f"RLHF does not win measurably more often than best-of-{size}, at {fixed(kl / bound, 1)} times the KL "
                f"that best-of-{size} can reach ({fixed(bound, 2)} nats, a bound for any reward)."
            )
            break
    for size, row in data.against_best_of.items():
        if _above_zero(row.reward) and lessons.sign_of(row.wins) < 0:
            said.append(
                f"RLHF earns more reward than best-of-{size} and wins less often: the reward it gained beyond is error "
                f"of {names.rewarder}. That is over-optimization, at the main beta."
            )
            break
    return said


def _beta_rows(data: ComparisonEvaluation, names: Names) -> list[dict[str, str]]:
    """Policies of other betas minus RLHF."""
    return [
        {
            "label": names.system(name),
            "wins": f"{signed(100 * row.wins.mean, 1)} %" if row.wins is not None else fixed(None),
            "wins_interval": _percent_span(row.wins),
            "reward": signed(mean(row.reward), 2),
            "reward_interval": span(row.reward, 2),
        }
        for name, row in data.against_rlhf.items()
    ]


def _repeated(data: ComparisonEvaluation, names: Names) -> list[dict[str, Any]]:
    """The answers that each system repeats most, as shares of its answers."""
    found = []
    for name, row in data.systems.items():
        if not row.repeated and not (name in ("sft", "reference") or name.startswith("rlhf")):
            continue
        if not row.answers:
            continue
        found.append(
            {
                "name": name,
                "label": names.system(name),
                "answers": f"{row.answers:,}",
                "unique": percent(mean(row.unique_share), 1),
                "rows": [
                    {
                        "text": visible(each.text.strip()),
                        "count": f"{each.count:,}",
                        "share": percent(each.count / row.answers, 1),
                        "width": round(min(100.0, 100 * each.count / row.answers), 2),
                    }
                    for each in row.repeated
                ],
            }
        )
    return found


def _above_zero(interval: Interval | None) -> bool:
    """Whether the whole interval is above 0."""
    return interval is not None and interval.low > 0


def _seed_rows(data: ComparisonEvaluation, names: Names) -> list[dict[str, str]]:
    """RLHF by seed, where there are several."""
    rows = _rlhf(data).seeds
    return [_system_row(visible(row.stage), row, None, names) for row in rows] if len(rows) > 1 else []


def _left_out(data: ComparisonEvaluation) -> str:
    """What the intervals of RLHF know of other seeds."""
    seeds = data.seeds
    if not seeds:
        return ""
    if seeds > 1:
        return (
            f"RLHF is the mean over {seeds} policies that differ by the seed of their prompts and samples; its "
            "intervals hold the choice of prompts and of the seed. The models before RL are one each: what "
            "another seed of theirs would change is not in any interval, nor is RLHF's seed in the Elo's."
        )
    return (
        "There is one RLHF policy: its intervals hold the choice of prompts and leave the seed out, so another run may "
        "end outside of them (rl.seeds trains more)."
    )


def _percent_span(interval: Interval | None) -> str:
    return "" if interval is None else span(Interval(100 * interval.mean, 100 * interval.low, 100 * interval.high), 1)


def _change(data: ComparisonEvaluation) -> list[tuple[str, str, str]]:
    """Label, value and a note: what RL did to the variety of the answers."""
    sft, rlhf, changes = data.systems.get("sft", SystemMeasures()), _rlhf(data), data.diversity_change
    rows = []
    for label, before, after, change in (
        ("distinct-2", sft.distinct_2, rlhf.distinct_2, changes.distinct_2),
        ("unique answers", mean(sft.unique_share), mean(rlhf.unique_share), changes.unique_share),
    ):
        if before is None or after is None:
            continue
        relative = f"{signed(100 * (after / before - 1), 0)} %" if before else ""
        rows.append((label, f"{fixed(before)} → {fixed(after)}", relative))
        if change is not None:
            rows.append((f"{label}, change", signed(change.mean), span(change)))
    return rows
