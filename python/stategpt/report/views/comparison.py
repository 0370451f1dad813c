"""All systems side by side: answers to the same prompts, and one table of every measure."""

import re
from collections.abc import Mapping
from typing import Any

from stategpt.report.run_files import RunFiles, field, number
from stategpt.report.wording import fixed, percent, signed, span, system_label
from stategpt.visible_text import visible

_BEST_OF = re.compile(r"best_of_[0-9]{1,9}")
SHOWN = ("base", "prompted_base", "sft", "best_of_4", "rlhf")
"""Systems whose answers are shown side by side; best-of-4 stands for best-of-n where it was run."""


def comparison(files: RunFiles) -> dict[str, Any]:
    """Context of the part on the comparison."""
    data = files.evaluation("comparison")
    systems = data.get("systems") or {}
    examples = [_example(example) for example in data.get("examples") or []]
    return {
        "prompts": data.get("prompts"),
        "systems": [_system_row(name, row, field(data, "elo", name)) for name, row in systems.items()],
        "names": data.get("names"),
        "against": _against_rows(data),
        "judged": _judged(data),
        "seeds": _seed_rows(data),
        "left_out": _left_out(data),
        "examples": [example for example in examples if example["answers"]],
        "diversity_change": _change(data),
    }


def _example(example: Mapping[str, Any]) -> dict[str, Any]:
    shown = [name for name in _shown_systems(example) if isinstance(example.get(name), Mapping)]
    return {
        "prompt": visible(str(example.get("prompt", ""))),
        "reference": visible(str(example.get("reference", ""))),
        "answers": [
            {
                "name": name,
                "label": system_label(name),
                "text": visible(str(example[name].get("text", "")).strip()),
                "points": example[name].get("points"),
            }
            for name in shown
        ],
    }


def _shown_systems(example: Mapping[str, Any]) -> list[str]:
    """SHOWN, with the largest best-of-n in the place of best-of-4 where 4 was not run."""
    best = sorted((name for name in example if _BEST_OF.fullmatch(name)), key=lambda name: int(name[8:]))
    stand_in = "best_of_4" if "best_of_4" in best or not best else best[-1]
    return [stand_in if name == "best_of_4" else name for name in SHOWN]


def _system_row(name: str, row: Mapping[str, Any], elo: Any) -> dict[str, str]:
    kl = fixed(number(row, "kl"), 2)
    if number(row, "kl") is None and number(row, "kl_bound") is not None:
        kl = f"≤ {fixed(number(row, 'kl_bound'), 2)}"
    return {
        "name": name,
        "label": system_label(name),
        "wins": percent(number(row, "win_rate_vs_sft"), 1),
        "wins_interval": _percent_span(row.get("win_rate_vs_sft")) if name != "sft" else "",
        "elo": fixed(number(elo), 0),
        "points": fixed(number(row, "points_mean"), 2),
        "reward": fixed(number(row, "reward_mean"), 2),
        "kl": kl if name != "sft" else "0",
        "distinct": fixed(number(row, "distinct_2"), 3),
        "unique": percent(number(row, "unique_share")),
        "length": fixed(number(row, "length_tokens"), 1),
        "ended": percent(number(row, "ended_share")),
    }


def _against_rows(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """RLHF minus best-of-n, by n."""
    return [
        {
            "label": f"best-of-{size}",
            "wins": f"{signed(100 * wins, 1)} %" if (wins := number(row, "wins")) is not None else fixed(None),
            "wins_interval": _percent_span(row.get("wins")),
            "reward": signed(number(row, "reward"), 2),
            "reward_interval": span(row.get("reward"), 2),
            "kl_bound": f"≤ {fixed(number(row, 'kl_bound'), 2)}",
            "kl": fixed(number(data, "systems", "rlhf", "kl"), 2),
        }
        for size, row in (data.get("against_best_of") or {}).items()
    ]


def _judged(data: Mapping[str, Any]) -> list[str]:
    """What the comparison with best-of-n shows, said only where the intervals show it."""
    rows = list((data.get("against_best_of") or {}).items())
    kl = number(data, "systems", "rlhf", "kl")
    said = []
    for size, row in rows:
        bound = number(row, "kl_bound")
        if bound and kl is not None and kl > bound and not _above_zero(row.get("wins")):
            said.append(
                f"RLHF does not win measurably more often than best-of-{size}, at {fixed(kl / bound, 1)} times the KL "
                f"that best-of-{size} can reach ({fixed(bound, 2)} nats, a bound for any reward)."
            )
            break
    exploited = [size for size, row in rows if _above_zero(row.get("reward")) and not _above_zero(row.get("wins"))]
    if exploited:
        said.append(
            f"RLHF earns more reward than best-of-{exploited[-1]} and does not win measurably more often: what it "
            "gained beyond is the reward model's error. That is over-optimisation, at the main beta."
        )
    return said


def _above_zero(interval: Any) -> bool:
    """Whether the whole interval lies above 0."""
    low = field(interval, "low")
    return low is not None and low > 0


def _seed_rows(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """RLHF by seed, where there are several."""
    rows = field(data, "systems", "rlhf", "seeds") or []
    return [_system_row(visible(row["stage"]), row, None) for row in rows] if len(rows) > 1 else []


def _left_out(data: Mapping[str, Any]) -> str:
    """What the intervals of RLHF know of other seeds."""
    seeds = number(data, "seeds")
    if not seeds:
        return ""
    if seeds > 1:
        return (
            f"RLHF is the mean over {seeds:.0f} policies that differ by the seed of their prompts and samples; its "
            "intervals hold the choice of modules and of the seed. Base, SFT and reward model are one each: what "
            "another seed of theirs would change is not in any interval, nor is RLHF's seed in the Elo's."
        )
    return (
        "There is one RLHF policy: its intervals hold the choice of modules and leave the seed out, so another run may "
        "end outside of them (rl.seeds trains more)."
    )


def _percent_span(interval: Any) -> str:
    if not isinstance(interval, Mapping) or interval.get("low") is None or interval.get("high") is None:
        return ""
    return f"{fixed(100 * interval['low'], 1)} to {fixed(100 * interval['high'], 1)}"


def _change(data: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Label, value and a note: what RL did to the variety of the answers."""
    rows = []
    for key, label in (("distinct_2", "distinct-2"), ("unique_share", "unique answers")):
        before, after = (number(data, "systems", name, key) for name in ("sft", "rlhf"))
        change = field(data, "diversity_change", key)
        if before is None or after is None:
            continue
        relative = f"{signed(100 * (after / before - 1), 0)} %" if before else ""
        rows.append((label, f"{fixed(before)} → {fixed(after)}", relative))
        if number(change) is not None:
            rows.append((f"{label}, change", signed(number(change)), span(change)))
    return rows
