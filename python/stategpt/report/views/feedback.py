"""Feedback: a ranked prompt with its points, the reward model's numbers, and where reward and wins part."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from stategpt.report.run_files import RunFiles, field, number
from stategpt.report.wording import count, fixed, percent, signed, span
from stategpt.visible_text import visible


def feedback(files: RunFiles) -> dict[str, Any]:
    """Context of the parts on rankings, reward and RL."""
    return {
        "ranked": _ranked(files.evaluation("rankings")),
        "rankings": _ranking_counts(files.evaluation("rankings")),
        "reward": _reward_numbers(files.evaluation("reward")),
        "labeler": _labeler(files.evaluation("reward")),
        "rl": _rl_numbers(files),
        "frontiers": _frontier_rows(files),
    }


def _ranking_counts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    wanted = (
        ("ranked prompts", "groups"),
        ("test prompts", "test_groups"),
        ("clear pairs", "pairs"),
        ("ties", "ties"),
        ("rejected records", "rejected"),
    )
    return [(label, count(number(data, key))) for label, key in wanted if number(data, key) is not None]


def _ranked(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The example record, best completion first."""
    record = data.get("example")
    completions = field(record, "completions") or []
    if not completions:
        return None
    points = [completion.get("points") or {} for completion in completions]
    names = list(dict.fromkeys(name for of_completion in points for name in of_completion))
    order = sorted(range(len(completions)), key=lambda i: (completions[i].get("rank", 0), i))
    letters = {index: chr(ord("A") + place) for place, index in enumerate(order)}
    means = data.get("points_mean") or {}
    return {
        "prompt": visible(str(field(record, "prompt") or "")),
        "reference": visible(str(field(record, "meta", "reference") or "")),
        "names": [name.replace("_", " ") for name in names],
        "completions": [
            {
                "letter": letters[i],
                "rank": completions[i].get("rank"),
                "text": visible(completions[i].get("text", "")),
                "ended": completions[i].get("ended", True),
                "score": completions[i].get("score"),
                "points": [points[i].get(name, "") for name in names],
            }
            for i in order
        ],
        "means": [fixed(number(means, name), 2) for name in names] if means else [],
        "score_mean": fixed(number(data, "score_mean"), 2),
        "pairs": _pairs(field(record, "pairs"), letters),
    }


def _pairs(pairs: Sequence[Sequence[int]] | None, letters: Mapping[int, str]) -> str:
    """A over B, A over C."""
    named = sorted((letters[won], letters[lost]) for won, lost in pairs or [] if {won, lost} <= letters.keys())
    return ", ".join(f"{winner} over {loser}" for winner, loser in named)


def _reward_numbers(data: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Label, value and a note; only what was measured."""
    prompts, with_pairs = (number(data, key) for key in ("prompts", "prompts_with_pairs"))
    of_prompts = f", of {count(with_pairs)} of {count(prompts)} prompts" if prompts and with_pairs else ""
    wanted: tuple[tuple[str, tuple[str, ...], Callable[[float | None], str], str], ...] = (
        ("pairs", ("pairs",), count, f"with a clear preference{of_prompts}"),
        ("pair accuracy", ("pair_accuracy",), fixed, span(field(data, "pair_accuracy"))),
        ("length-only baseline", ("length_only_accuracy",), fixed, ""),
        ("model minus length", ("length_margin",), signed, span(field(data, "length_margin"))),
        ("calibration slope", ("calibration_slope",), partial(fixed, digits=2), "1 calibrated, less over-confident"),
        ("correlation with length", ("length_correlation",), partial(signed, digits=2), "within prompts"),
        ("shift", ("reward_offset",), partial(signed, digits=2), "so that demonstrations average 0"),
    )
    measured = ((label, number(data, *keys), shown, note) for label, keys, shown, note in wanted)
    return [
        (label, shown(value).replace("-", "−"), note) for label, value, shown, note in measured if value is not None
    ]


def _labeler(data: Mapping[str, Any]) -> list[str]:
    """What the one rule behind rankings and wins means for both, in sentences."""
    prompts, with_pairs = (number(data, key) for key in ("prompts", "prompts_with_pairs"))
    said = [
        "One rule, not people, makes the ranking data and judges the policies: wins say how well RL learned this rule "
        "through the reward model, and nothing of what readers would prefer.",
        "The rule's point for a word of the reference (near) needs the reference, which neither the reward model nor "
        "the policy sees: pairs that it decides are an error that no reward model can avoid.",
    ]
    if prompts and with_pairs:
        said.append(
            f"Accuracy is measured where the rule is clear: {count(with_pairs)} of {count(prompts)} test prompts have "
            "a pair whose points differ enough (rankings.tie_below); the others, the harder part, count nowhere."
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
            ("beta", f"{rl.beta:g}", "weight of the KL to SFT in the reward"),
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
            ("largest gap", f"{max(gaps):.1e}".replace("-", "−"), "nats, sampler against training forward pass")
        )
    return rows


def _mean(log: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [line[key] for line in log if number(line, key) is not None]
    return sum(values) / len(values) if values else None


def _frontier_rows(files: RunFiles) -> list[dict[str, str]]:
    """First and last point of each policy, and the best moment by wins: does the end stay the best?"""
    data, run = files.evaluation("comparison"), files.run
    frontiers = {f"beta {run.rl.beta:g}" if run else "default beta": data.get("frontier")} | {
        folder.removeprefix("rl/").replace("_", " "): points
        for folder, points in data.get("frontier_betas", {}).items()
    }
    rows = []
    for label, found in frontiers.items():
        points = [p for p in found or [] if number(p, "kl") is not None and number(p, "win_rate") is not None]
        if points:
            last, best = points[-1], max(points, key=lambda point: point["win_rate"])
            rows.append(
                {
                    "label": label,
                    "kl": fixed(number(last, "kl"), 1),
                    "reward": f"{fixed(number(points[0], 'reward_mean'), 2)} → {fixed(number(last, 'reward_mean'), 2)}",
                    "wins": percent(number(last, "win_rate"), 1),
                    "best": f"{percent(best['win_rate'], 1)} at {fixed(best['kl'], 1)} nats",
                }
            )
    return rows
