"""Between stages 2 and 3: K completions of the SFT model for each prompt, ranked.

People rank completions for the talk's labs. Here a scorer does (`rankings.scorer`), and its scores are published with
every completion so that a reader can disagree. The file has the format of people's rankings (JSONL) and is read back by
the same validating reader. A difference of scores below `rankings.tie_below` is a tie, as with people who only state
clear preferences; since "less than 2 apart" is not transitive, the clear pairs are written out.

    stategpt run tiny_cpu --out runs/tiny      # all stages; this one lands in runs/tiny/rankings
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stategpt.artifacts import read_lines
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.data import Rankings
from stategpt.data.corpus import Corpus, Side
from stategpt.data.prompts import prompts_of
from stategpt.data.records import Prompt
from stategpt.errors import RankingError
from stategpt.evaluate.records import RankedExample, RankingsEvaluation, ScoredCompletion
from stategpt.evaluate.scorers import Scorer, Scores
from stategpt.generate import Completion
from stategpt.progress import progress
from stategpt.randomness import bits, permutation
from stategpt.stages.context import StageContext
from stategpt.stages.people import describe_people, people_records
from stategpt.stages.stage import Stage, run_stage

Records = dict[str, list[dict[str, Any]]]
"""Ranking records by side of the split; "judge" for those of people that train the judge alone."""


def rankings(run: RunConfig, folder: RunFolder) -> None:
    """Samples, scores and writes the rankings of training and test prompts; returns at once when they are there."""
    context = StageContext.of(run, folder)
    if run.rankings.data:
        run_stage(context, _of_people(context))
        return
    stage = Stage(
        "rankings",
        (folder.model(run.policy), *context.corpus_parts("rankings/records")),
        artifact="records",
        make=lambda _: _make(context),
        save=_write_all,
        measure=lambda _: {
            "evaluation.json": _describe(folder.stage("rankings") / "records", run.rankings.scorer, _sampled(context))
        },
    )
    run_stage(context, stage)


def _of_people(context: StageContext) -> Stage[Records]:
    """The stage where people have ranked already: nothing is sampled."""
    return Stage(
        "rankings",
        context.corpus_parts("rankings/records"),
        artifact="records",
        make=lambda _: people_records(context.corpus(), context.run),
        save=_write_all,
        measure=lambda _: {"evaluation.json": describe_people(context.corpus(), context.run, context.chat)},
        measured_from=(context.folder.tokenizer,),
    )


def _make(context: StageContext) -> Records:
    run, corpus = context.run, context.corpus()
    scorer = context.scorer("rankings.scorer", corpus)
    engine = context.engine(context.load_model(run.policy))
    chosen = _chosen_prompts(run, corpus)
    records: Records = {side: _rank(context, engine, scorer, side, prompts) for side, prompts in chosen.items()}
    _require_clear_pairs(records)
    return records


def _require_clear_pairs(records: Records) -> None:
    """Before they are published: then the settings that decide them may still change."""
    for split, rows in records.items():
        if not any(row["pairs"] for row in rows):
            more = "rankings.train_prompts" if split == "train" else "rankings.test_prompts"
            raise RankingError(
                f"no clear pair in the {len(rows)} {split} rankings: scores are less than rankings.tie_below apart. "
                f"Lower rankings.tie_below, raise sampling.temperature or {more}, and run again: none was kept."
            )


def _chosen_prompts(run: RunConfig, corpus: Corpus) -> dict[Side, list[Prompt]]:
    """The prompts to be ranked: training prompts, and those of test groups to judge the reward model by."""
    counts: dict[Side, int] = {"train": run.rankings.train_prompts, "test": run.rankings.test_prompts}
    chosen = {}
    for side, count in counts.items():
        prompts = prompts_of(corpus, "rankings", side)
        order = permutation(len(prompts), run.seed, "rankings", side)[:count]
        chosen[side] = [prompts[i] for i in order]
    return chosen


def _rank(
    context: StageContext, engine: Any, scorer: Scorer, split: str, chosen: Sequence[Prompt]
) -> list[dict[str, Any]]:
    config, sampling = context.run.rankings, context.run.sampling
    prompts = [context.chat.prompt(prompt) for prompt in chosen]
    with progress(f"rankings {split}", len(prompts) * config.completions, "completions") as advance:
        completions = engine.generate(
            prompts,
            n=config.completions,
            temperature=sampling.temperature,
            max_tokens=sampling.max_tokens,
            seed=sampling_seed(context.run.seed, split),
            progress=lambda done, total: advance(done, ""),
        )
    each = config.completions
    columns = _columns(scorer.scores([prompt for prompt in chosen for _ in range(each)], completions))
    records = []
    for number, prompt in enumerate(chosen):
        # One that the scorer failed on has no place in an order; a prompt with less than two has none to learn.
        kept = [s for s in range(number * each, (number + 1) * each) if np.isfinite(columns[""][s])]
        if len(kept) >= 2:
            scores = {name: values[kept].tolist() for name, values in columns.items()}
            ranked = [completions[s] for s in kept]
            record_id = f"{split}-{number:05d}"
            records.append(record_of(record_id, prompt, ranked, scores, config.tie_below, context.tok.fingerprint))
    return records


def _sampled(context: StageContext) -> int:
    """Completions sampled, those that the scorer failed on included."""
    chosen = _chosen_prompts(context.run, context.corpus())
    return context.run.rankings.completions * sum(len(prompts) for prompts in chosen.values())


def _columns(scores: Scores) -> dict[str, NDArray[np.float32]]:
    """The score of every completion as "", and each of its parts by name."""
    return {"": scores.values, **scores.parts}


def sampling_seed(seed: int, split: str) -> int:
    """Of a split's completions: training and held-out prompts share no random stream."""
    return int(bits(seed, "rankings samples", split) >> np.uint64(2))


def record_of(
    record_id: str,
    prompt: Prompt,
    completions: Sequence[Completion],
    scores: Mapping[str, Sequence[float]],
    tie_below: float,
    tokenizer: str,
) -> dict[str, Any]:
    """One ranking record: completions with scores, ranks by score (1 = best), and the pairs that are clear.

    Args:
        scores: score of each completion as "", and each named part of it.
        tokenizer: fingerprint of that of the completions' ids.
    """
    totals = scores[""]
    better = sorted(set(totals), reverse=True)
    return {
        "id": record_id,
        "prompt": prompt.text,
        "completions": [
            {
                "text": completion.text,
                "rank": better.index(total) + 1,
                "ended": completion.ended,
                "ids": completion.ids.tolist(),
                "score": total,
                "parts": {name: values[number] for name, values in scores.items() if name},
            }
            for number, (completion, total) in enumerate(zip(completions, totals, strict=True))
        ],
        "pairs": clear_pairs(totals, tie_below),
        "tokenizer": tokenizer,
        "meta": {**prompt.meta, "group": prompt.group, "reference": prompt.reference},
    }


def clear_pairs(totals: Sequence[float], tie_below: float) -> list[list[int]]:
    """Index pairs [winner, loser] whose scores differ by at least `tie_below` (and at all)."""
    differences = ((a, b, totals[a] - totals[b]) for a, b in permutations(range(len(totals)), 2))
    return [[a, b] for a, b, difference in differences if difference > 0 and difference >= tie_below]


def _write_all(records: Records, folder: Path) -> None:
    for split, rows in records.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


def _refuse_rejected(read: Rankings) -> None:
    if read.rejected:
        first = read.rejected[0]
        raise RankingError(
            f"{len(read.rejected)} of our own records were rejected, first line {first.line}: {first.message}"
        )


def _describe(published: Path, scorer: str, sampled: int | None = None) -> RankingsEvaluation:
    """Counts, mean scores, and one typical record as the example. `sampled`: completions before scoring."""
    read = {split: Rankings.read(published / f"{split}.jsonl") for split in ("train", "test")}
    _refuse_rejected(read["train"])
    rows = read_lines(published / "train.jsonl")
    completions = [completion for row in rows for completion in row["completions"]]
    possible = sum(len(row["completions"]) * (len(row["completions"]) - 1) // 2 for row in rows)
    pairs = sum(len(row["pairs"]) for row in rows)
    kept = sum(len(group.completions) for each in read.values() for group in each.groups)
    return RankingsEvaluation(
        scorer=scorer,
        groups=len(read["train"].groups),
        test_groups=len(read["test"].groups),
        pairs=pairs,
        ties=possible - pairs,
        without_clear_pair={split: sum(len(group.pairs) == 0 for group in each.groups) for split, each in read.items()},
        rejected=len(read["train"].rejected) + len(read["test"].rejected),
        failed=None if sampled is None else sampled - kept,
        score_mean=float(np.mean([c["score"] for c in completions])),
        parts_mean={name: float(np.mean([c["parts"][name] for c in completions])) for name in completions[0]["parts"]},
        example=_example(_typical(rows)),
    )


def _typical(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Of the records with most clear pairs, the one whose best and worst score are apart as they are in the median."""

    def spread(row: Mapping[str, Any]) -> float:
        scores = [float(completion["score"]) for completion in row["completions"]]
        return max(scores) - min(scores)

    most = max(len(row["pairs"]) for row in rows)
    clear = sorted((row for row in rows if len(row["pairs"]) == most), key=spread)
    return clear[len(clear) // 2]


def _example(row: Mapping[str, Any]) -> RankedExample:
    completions = tuple(
        ScoredCompletion(c["text"], c["rank"], c["ended"], c["score"], c["parts"]) for c in row["completions"]
    )
    pairs = tuple((winner, loser) for winner, loser in row["pairs"])
    return RankedExample(row["prompt"], row["meta"]["reference"] or "", completions, pairs)
