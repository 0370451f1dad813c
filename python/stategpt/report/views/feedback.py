"""Feedback: a ranked prompt with its points, the reward model's numbers, and where reward and wins part."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from stategpt.config.presence import REWARD_MODEL
from stategpt.config.run import JUDGE
from stategpt.evaluate.records import (
    FrontierPoint,
    RankedExample,
    RankingsEvaluation,
    RewardEvaluation,
    WeightedCompletions,
)
from stategpt.report import lessons
from stategpt.report.run_files import RunFiles, mean, number
from stategpt.report.wording import Names, count, fixed, percent, plain, signed, span, visible_token
from stategpt.visible_text import visible


def feedback(files: RunFiles) -> dict[str, Any]:
    """Context of the parts on rankings, reward and RL."""
    evaluations = files.evaluations
    return {
        "scorer": evaluations.rankings.scorer or ("" if _people(files) else evaluations.comparison.scorer),
        "people": _people(files),
        "agreement": _agreement(evaluations.rankings),
        "rewarded_by": _rewarded_by(files),
        "prompts_of": _prompts_of(files),
        "wins_by": _wins_by(files),
        "ranked": _ranked(evaluations.rankings),
        "rankings": _ranking_counts(evaluations.rankings),
        "reward": _reward_numbers(evaluations.reward, files.names),
        "scoring": [] if _people(files) else _scoring(evaluations.reward),
        "cut": _cut(evaluations.reward),
        "reward_rows": _reward_rows(evaluations.reward.example),
        "judging_lesson": lessons.judging(evaluations.reward, evaluations.comparison, files.names),
        "imitation_lesson": lessons.imitation(evaluations.reward, evaluations.comparison, files.names),
        "rl": _rl_numbers(files),
        "weighted": [_weighted(each) for each in files.weighted_completions()],
        "frontiers": _frontier_rows(files),
        "over_optimization_lesson": lessons.over_optimization(evaluations.comparison, files.names),
    }


def _people(files: RunFiles) -> bool:
    """Whether people ranked."""
    return bool(files.run and files.run.rankings.data)


def _rewarded_by(files: RunFiles) -> str:
    """What RL maximizes: "" for the reward model, else the scorer's name."""
    name = files.run.rl.scorer if files.run else REWARD_MODEL
    return "" if name == REWARD_MODEL else visible(name)


def _prompts_of(files: RunFiles) -> str:
    """Where the prompts of RL come from."""
    if files.run is None or not files.run.rl.prompts:
        if files.run is None or "sft" in files.stages:
            return (
                "The prompts are those of SFT, so RL starts where SFT has seen the answers; new prompts are the usual "
                "case."
            )
        return "The prompts are those of the rankings."
    return "The prompts are the training side of rl.prompts."


def _wins_by(files: RunFiles) -> str:
    """How reward and wins relate: by what decides wins."""
    data = files.evaluations.comparison
    if not data.is_independent:
        return "Reward and wins are by the same scorer here, so they cannot part."
    if data.scorer == JUDGE:
        return "The reward model imitates people, and so does the judge, from other prompts."
    if _rewarded_by(files) or _people(files):
        return f"RL maximizes what {files.names.rewarder} gives, and another scorer decides wins."
    return "The reward model only imitates the scorer."


def _agreement(data: RankingsEvaluation) -> list[tuple[str, str]]:
    """How far several annotators agree, where there were several; what was not measured is left out."""
    found = data.agreement
    if found is None or not found.pairs:
        return []
    rows = [
        ("annotators", count(found.annotators) if found.annotators else None),
        ("pairs compared more than once", count(found.pairs)),
        ("of them ordered both ways", count(found.conflicting_pairs)),
        ("Krippendorff's alpha", fixed(found.alpha, 2) if found.alpha is not None else None),
        ("cycles", f"{count(found.cycles)} of {count(found.triples)} triples" if found.triples else None),
    ]
    return [(label, value) for label, value in rows if value is not None]


def _reward_rows(example: RankedExample | None) -> dict[str, Any] | None:
    """Prompt, completion, reward token and reward: what the reward model reads, the highest reward first."""
    if example is None or all(completion.reward is None for completion in example.completions):
        return None
    rows = [completion for completion in example.completions if completion.reward is not None]
    rows.sort(key=lambda completion: -(completion.reward or 0.0))
    return {
        "prompt": visible(example.prompt),
        "rows": [
            {
                "text": visible(row.text.strip()),
                "ended": row.ended,
                "reward": signed(row.reward, 2),
                "score": None if row.score is None else plain(row.score),
                "rank": row.rank,
            }
            for row in rows
        ],
    }


def _weighted(example: WeightedCompletions) -> dict[str, Any]:
    """Completions as tokens, with the sign and the strength of their weight."""
    largest = max((abs(each.weight or 0.0) for each in example.completions), default=0.0)
    return {
        "step": count(example.step),
        "prompt": visible(example.prompt),
        "rows": [
            {
                "tokens": [
                    visible(text) if text.startswith("<|") and text.endswith("|>") else visible_token(text)
                    for text in each.tokens
                ],
                "weight": signed(each.weight, 2),
                "reward": signed(each.reward, 2),
                "sign": "raised" if (each.weight or 0.0) > 0 else "lowered" if (each.weight or 0.0) < 0 else "even",
                "strength": round(15 + 60 * abs(each.weight or 0.0) / largest) if largest else 0,
            }
            for each in example.completions
        ],
    }


def _ranking_counts(data: RankingsEvaluation) -> list[tuple[str, str]]:
    wanted = (
        ("ranked prompts", data.groups),
        ("test prompts", data.test_groups),
        ("clear pairs", data.pairs),
        ("ties", data.ties),
        ("pairs that are the same tokens", data.equal_pairs or None),
        ("prompts of the judge", data.judge_groups),
        ("completions without a score", data.failed or None),
        ("rejected records", data.rejected),
    )
    return [(label, count(value)) for label, value in wanted if value is not None]


def _ranked(data: RankingsEvaluation) -> dict[str, Any] | None:
    """The example record, best completion first."""
    record = data.example
    if record is None or not record.completions:
        return None
    completions = record.completions
    names = list(dict.fromkeys(name for completion in completions for name in completion.parts))
    order = sorted(range(len(completions)), key=lambda i: (completions[i].rank, i))
    letters = {index: chr(ord("A") + place) for place, index in enumerate(order)}
    means = data.parts_mean
    return {
        "prompt": visible(record.prompt),
        "reference": visible(record.reference),
        "names": [name.replace("_", " ") for name in names],
        "completions": [
            {
                "letter": letters[i],
                "rank": completions[i].rank,
                "text": visible(completions[i].text),
                "ended": completions[i].ended,
                "score": plain(completions[i].score),
                "points": [plain(completions[i].parts.get(name)) for name in names],
            }
            for i in order
        ],
        "means": [fixed(means.get(name), 2) for name in names] if means else [],
        "score_mean": fixed(data.score_mean, 2),
        "pairs": _pairs(record.pairs, letters),
    }


def _pairs(pairs: Sequence[tuple[int, int]], letters: Mapping[int, str]) -> str:
    """A over B, A over C."""
    named = sorted((letters[won], letters[lost]) for won, lost in pairs if {won, lost} <= letters.keys())
    return ", ".join(f"{winner} over {loser}" for winner, loser in named)


def _reward_numbers(data: RewardEvaluation, names: Names) -> list[tuple[str, str, str]]:
    """Label, value and a note; only what was measured."""
    prompts, with_pairs = data.prompts, data.prompts_with_pairs
    of_prompts = f", of {count(with_pairs)} of {count(prompts)} prompts" if prompts and with_pairs else ""
    wanted: tuple[tuple[str, float | None, Callable[[float | None], str], str], ...] = (
        ("pairs", data.pairs, count, f"with a clear preference{of_prompts}"),
        ("pair accuracy", mean(data.pair_accuracy), fixed, span(data.pair_accuracy)),
        ("length-only baseline", data.length_only_accuracy, fixed, ""),
        ("model minus length", mean(data.length_margin), signed, span(data.length_margin)),
        ("calibration slope", data.calibration_slope, partial(fixed, digits=2), "1 calibrated, less over-confident"),
        ("correlation with length", data.length_correlation, partial(signed, digits=2), "within prompts"),
        ("offset", data.reward_offset, partial(signed, digits=2), f"added so that {names.demonstrations} average 0"),
    )
    return [(label, shown(value).replace("-", "−"), note) for label, value, shown, note in wanted if value is not None]


def _cut(data: RewardEvaluation) -> list[tuple[str, str, str]]:
    """Label, value and a note: what of the ranked prompts was cut or left out; nothing where all of them fit."""
    rows = []
    for side, fit in data.fit.items():
        counts = {"prompts that lost their middle": fit.truncated_prompts}
        counts |= {
            f"prompts left out, {visible(code).replace('_', ' ')}": number for code, number in fit.left_out.items()
        }
        counts["pairs left out, the same tokens"] = fit.equal_pairs
        rows += [(label, count(number), visible(side)) for label, number in counts.items() if number]
    return rows


def _scoring(data: RewardEvaluation) -> list[str]:
    """What the one scorer behind rankings and wins means for both, in sentences."""
    prompts, with_pairs = data.prompts, data.prompts_with_pairs
    said = [
        "One scorer ranks the completions and judges the policies: wins say how well RL learned its taste through the "
        "reward model, and nothing about what readers would prefer.",
        "Where the scorer reads the reference answer, which neither the reward model nor the policy sees, pairs that "
        "this decides are an error that no reward model can avoid.",
    ]
    if prompts and with_pairs:
        said.append(
            f"Accuracy is measured where the scorer is clear: {count(with_pairs)} of {count(prompts)} test prompts "
            "have a pair whose scores differ enough (rankings.tie_below); the others, the harder part, count nowhere."
        )
    return said


def _rl_numbers(files: RunFiles) -> list[tuple[str, str, str]]:
    """What RL was told to do, and whether it did it soundly."""
    log, rl = files.metrics("rl"), files.run.rl if files.run else None
    rows = []
    if rl is not None:
        sampled = rl.prompts_per_step * rl.completions
        rows = [
            ("objective", rl.objective.replace("_", " "), ""),
            ("samples", f"{rl.steps} × {sampled}", f"steps of {rl.prompts_per_step} prompts, {rl.completions} each"),
            ("beta", f"{rl.beta:g}", f"weight of the KL to {files.names.policy} in the reward"),
            ("seeds", f"{rl.seeds}", "policies alike but for it; those of other betas have the first"),
        ]
    measured = (
        ("ended by themselves", _mean(log, "ended_share"), 1, "of all samples"),
        ("prompts without signal", _mean(log, "zero_variance_share"), 1, "all samples earned the same"),
    )
    rows += [(label, percent(value, digits), note) for label, value, digits, note in measured if value is not None]
    gaps = [line["sampler_gap_nats"] for line in log if number(line, "sampler_gap_nats") is not None]
    if gaps:
        rows.append(
            ("sampler and trainer differ by", f"{max(gaps):.1e}".replace("-", "−"), "nats of log-probability at most")
        )
    return rows


def _mean(log: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [line[key] for line in log if number(line, key) is not None]
    return sum(values) / len(values) if values else None


def _frontier_rows(files: RunFiles) -> list[dict[str, str]]:
    """First and last point of each policy, and the best moment by wins: does the end stay the best?"""
    frontiers, run = files.evaluations.comparison.frontiers, files.run
    labeled = {f"beta {run.rl.beta:g}" if run else "default beta": frontiers.get("rl", ())} | {
        folder.removeprefix("rl/").replace("_", " "): points
        for folder, points in frontiers.items()
        if folder.startswith("rl/beta_")
    }
    return [row for label, points in labeled.items() if (row := _frontier_row(label, points)) is not None]


def _frontier_row(label: str, points: Sequence[FrontierPoint]) -> dict[str, str] | None:
    whole = [(point.kl.mean, point.win_rate) for point in points if point.kl and point.win_rate]
    if not whole:
        return None
    (kl, wins), best = whole[-1], max(whole, key=lambda point: point[1].mean)
    return {
        "label": label,
        "prompts": count(points[-1].prompts),
        "kl": fixed(kl, 1),
        "reward": f"{fixed(mean(points[0].reward), 2)} → {fixed(mean(points[-1].reward), 2)}",
        "wins": percent(wins.mean, 1),
        "interval": f"{fixed(100 * wins.low, 1)} to {fixed(100 * wins.high, 1)}",
        "best": f"{percent(best[1].mean, 1)} at {fixed(best[0], 1)} nats",
    }
