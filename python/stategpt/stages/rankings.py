"""Between stages 2 and 3: K completions of the SFT model for each prompt, ranked.

People rank completions for the talk's labs. Here a stated rule does (`rankings.labeler`), and its points are published
per completion so that a reader can disagree. The file is the one people's rankings come in: `rankings.jsonl`, read back
by the same validating reader. A difference of fewer than `tie_below` points is a tie, as with people who only state
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

from stategpt.artifacts import read_lines
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.data import Rankings, chat_prompt
from stategpt.data.corpus import Corpus, Side, read_corpus
from stategpt.data.records import Prompt
from stategpt.errors import RankingError
from stategpt.evaluate.records import RankedExample, RankingsEvaluation, ScoredCompletion
from stategpt.evaluate.scorers.docstring_style import DocstringStyleLabeler
from stategpt.generate import Completion
from stategpt.progress import progress
from stategpt.randomness import bits, permutation
from stategpt.stages.context import StageContext
from stategpt.stages.stage import Stage, run_stage

Records = dict[Side, list[dict[str, Any]]]
"""Ranking records by side of the split."""


def rankings(run: RunConfig, folder: RunFolder) -> None:
    """Samples, scores and writes the rankings of training and test prompts; returns at once when they are there."""
    context = StageContext.of(run, folder)
    stage = Stage(
        "rankings",
        (folder.model("sft"), folder.corpus),
        artifact="records",
        make=lambda _: _make(context),
        save=_write_all,
        measure=lambda _: {"evaluation.json": _describe(folder.stage("rankings") / "records")},
    )
    run_stage(context, stage)


def _make(context: StageContext) -> Records:
    run, corpus = context.run, read_corpus(context.folder.corpus)
    labeler = DocstringStyleLabeler.fit(corpus)
    engine = context.engine(context.load_model("sft"))
    chosen = _chosen_prompts(run, corpus)
    records = {side: _rank(context, engine, labeler, side, prompts) for side, prompts in chosen.items()}
    _require_clear_pairs(records)
    return records


def _require_clear_pairs(records: Records) -> None:
    """Before they are published: then the settings that decide them may still change."""
    for split, rows in records.items():
        if not any(row["pairs"] for row in rows):
            more = "rankings.prompts" if split == "train" else "rankings.test_prompts"
            raise RankingError(
                f"no clear pair in the {len(rows)} {split} rankings: points are fewer than rankings.tie_below apart. "
                f"Lower rankings.tie_below, raise sampling.temperature or {more}, and run again: none was kept."
            )


def _chosen_prompts(run: RunConfig, corpus: Corpus) -> dict[Side, list[Prompt]]:
    """The prompts to be ranked: training prompts, and those of test groups to judge the reward model by."""
    counts: dict[Side, int] = {"train": run.rankings.prompts, "test": run.rankings.test_prompts}
    chosen = {}
    for side, count in counts.items():
        conversations = corpus.conversations[side]
        order = permutation(len(conversations), run.seed, "rankings", side)[:count]
        chosen[side] = [conversations[i].prompt() for i in order]
    return chosen


def _rank(
    context: StageContext, engine: Any, labeler: DocstringStyleLabeler, split: str, asked: Sequence[Prompt]
) -> list[dict[str, Any]]:
    config, sampling = context.run.rankings, context.run.sampling
    prompts = [chat_prompt(context.tok, prompt) for prompt in asked]
    with progress(f"rankings {split}", len(prompts) * config.completions, "completions") as advance:
        completions = engine.generate(
            prompts,
            n=config.completions,
            temperature=sampling.temperature,
            max_tokens=sampling.max_tokens,
            seed=sampling_seed(context.run.seed, split),
            progress=lambda done, total: advance(done, ""),
        )
    groups = [completions[i : i + config.completions] for i in range(0, len(completions), config.completions)]
    return [
        record_of(f"{split}-{number:05d}", prompt, group, labeler, config.tie_below, context.tok.fingerprint)
        for number, (prompt, group) in enumerate(zip(asked, groups, strict=True))
    ]


def sampling_seed(seed: int, split: str) -> int:
    """Of a split's completions: training and held-out prompts share no random stream."""
    return int(bits(seed, "rankings samples", split) >> np.uint64(2))


def record_of(
    record_id: str,
    prompt: Prompt,
    completions: Sequence[Completion],
    labeler: DocstringStyleLabeler,
    tie_below: int,
    tokenizer: str,
) -> dict[str, Any]:
    """One ranking record: completions with points, ranks by points (1 = best), and the pairs that are clear.

    `tokenizer`: fingerprint of that of the completions' ids.
    """
    points = [labeler.points(prompt, completion.text, completion.ended) for completion in completions]
    totals = [point.total for point in points]
    better = sorted(set(totals), reverse=True)
    return {
        "id": record_id,
        "prompt": prompt.text,
        "completions": [
            {
                "text": completion.text,
                "rank": better.index(point.total) + 1,
                "ended": completion.ended,
                "ids": completion.ids.tolist(),
                "score": point.total,
                "points": point.named(),
            }
            for completion, point in zip(completions, points, strict=True)
        ],
        "pairs": clear_pairs(totals, tie_below),
        "tokenizer": tokenizer,
        "meta": {**prompt.meta, "group": prompt.group, "reference": prompt.reference},
    }


def clear_pairs(totals: Sequence[int], tie_below: int) -> list[list[int]]:
    """Index pairs [winner, loser] whose points differ by at least `tie_below` (and at all)."""
    least = max(1, tie_below)
    return [[a, b] for a, b in permutations(range(len(totals)), 2) if totals[a] - totals[b] >= least]


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


def _describe(published: Path) -> RankingsEvaluation:
    """Counts and mean scores for the report, with the record whose scores differ most as the example."""
    read = {split: Rankings.read(published / f"{split}.jsonl") for split in ("train", "test")}
    _refuse_rejected(read["train"])
    rows = read_lines(published / "train.jsonl")
    completions = [completion for row in rows for completion in row["completions"]]
    names = completions[0]["points"].keys()
    possible = sum(len(row["completions"]) * (len(row["completions"]) - 1) // 2 for row in rows)
    spread = [max(c["score"] for c in row["completions"]) - min(c["score"] for c in row["completions"]) for row in rows]
    pairs = sum(len(row["pairs"]) for row in rows)
    return RankingsEvaluation(
        groups=len(read["train"].groups),
        test_groups=len(read["test"].groups),
        pairs=pairs,
        ties=possible - pairs,
        without_clear_pair={split: sum(len(group.pairs) == 0 for group in each.groups) for split, each in read.items()},
        rejected=len(read["train"].rejected) + len(read["test"].rejected),
        score_mean=float(np.mean([c["score"] for c in completions])),
        parts_mean={name: float(np.mean([c["points"][name] for c in completions])) for name in names},
        example=_example(rows[int(np.argmax(spread))]),
    )


def _example(row: Mapping[str, Any]) -> RankedExample:
    completions = tuple(
        ScoredCompletion(c["text"], c["rank"], c["ended"], c["score"], c["points"]) for c in row["completions"]
    )
    return RankedExample(row["prompt"], row["meta"]["reference"], completions, tuple(map(tuple, row["pairs"])))
