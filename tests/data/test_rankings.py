"""Rankings: every record accounted for, pairs, and batches in which a prompt is never divided."""

from __future__ import annotations

import gzip
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.config.control import CONTROL_TOKENS
from stategpt.data.chat import ControlTokens, chat_prompt
from stategpt.data.ranking_batch import RankingBatch, ranking_batches
from stategpt.data.rankings import Rankings
from stategpt.errors import InvalidArgument, RankingError, StorageError
from stategpt.tokenizer.control import Control

Arrangement = Literal["rows", "shared_prefix"]


class ByteTokenizer:
    """One id a byte after the control block."""

    special_tokens = {name: number for number, name in enumerate(CONTROL_TOKENS)}  # noqa: RUF012

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.uint32) + len(CONTROL_TOKENS)

    def encode_segments(self, segments: Iterable[str | Control]) -> npt.NDArray[np.uint32]:
        control = self.special_tokens
        parts = (self.encode(part) if isinstance(part, str) else [control[part.name]] for part in segments)
        return np.concatenate([np.asarray(part, dtype=np.uint32) for part in parts])


TOK = ByteTokenizer()
CONTROL = ControlTokens.of(TOK)


def record(name: str, ranks: Sequence[int], prompt: str = "why?", **extra: object) -> dict[str, Any]:
    completions = [{"text": f"answer {index}", "rank": rank} for index, rank in enumerate(ranks)]
    return {"id": name, "prompt": prompt, "completions": completions, **extra}


def visible(batch: RankingBatch, token: int) -> list[int]:
    """Ids that `token` sees, itself last."""
    layout = batch.layout
    prefix = batch.tokens[layout.segment_start[token] : layout.prefix_end[token]]
    return [*prefix.tolist(), *batch.tokens[layout.branch_start[token] : token + 1].tolist()]


rank_lists = st.lists(st.lists(st.integers(1, 4), min_size=2, max_size=6), min_size=1, max_size=7)


@given(st.lists(st.integers(1, 5), min_size=2, max_size=16))
def test_pairs_are_c_k_2_minus_ties_winner_first(ranks: list[int]) -> None:
    (group,) = Rankings.read([record("a", ranks)]).groups
    assert len(group.pairs) + group.ties == math.comb(len(ranks), 2)
    assert group.ties == sum(math.comb(ranks.count(rank), 2) for rank in set(ranks))
    assert all(ranks[winner] < ranks[loser] for winner, loser in group.pairs)


def test_stated_pairs_override_those_of_the_ranks() -> None:
    rankings = Rankings.read([record("a", [1, 2, 3], pairs=[[0, 2]])])
    assert rankings.groups[0].pairs.tolist() == [[0, 2]]
    assert rankings.summary()["ties"] == 2


def test_a_file_with_faults_gives_each_its_place_and_loses_nothing(tmp_path: Path) -> None:
    good = json.dumps(record("a", [1, 2]))
    lines = [good, "", "{broken", json.dumps(record("b", [1])), good, json.dumps(record("c", [0, 1]))]
    path = tmp_path / "rankings.jsonl"
    path.write_text("\n".join(lines))
    rankings = Rankings.read(path)
    assert [group.id for group in rankings.groups] == ["a"]
    assert [(r.line, r.code) for r in rankings.rejected] == [
        (3, "invalid_json"), (4, "one_completion"), (5, "duplicate_id"), (6, "unknown_rank"),
    ]  # fmt: skip
    assert rankings.rejected[0].byte_offset == len(good) + 2
    assert "line 3 (byte" in str(rankings.rejected[0])
    assert len(rankings) + len(rankings.rejected) + rankings.blank_lines == len(lines)
    assert rankings.summary()["rejected.unknown_rank"] == 1


def test_a_gzip_file_and_records_in_memory_read_alike(tmp_path: Path) -> None:
    records = [record("a", [1, 2], meta={"from": "tést"}), record("b", [1, 1])]
    path = tmp_path / "rankings.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in records).encode()))
    assert Rankings.read(path).summary() == Rankings.read(records).summary()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RankingError, match="gzip"):
        Rankings.read(path)


def test_a_missing_file_and_a_record_that_is_not_json_are_errors(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="absent"):
        Rankings.read(tmp_path / "absent.jsonl")
    with pytest.raises(InvalidArgument, match="record 2"):
        Rankings.read([record("a", [1, 2]), {"id": object()}])


@pytest.mark.parametrize("source", [{"id": "a"}, b"rankings.jsonl", bytearray(b"x"), 7, None])
def test_one_record_bytes_and_numbers_are_no_source(source: object) -> None:
    with pytest.raises(InvalidArgument, match="Give a path as str or Path, or a list of records"):
        Rankings.read(source)  # type: ignore[arg-type]


def test_a_record_with_half_a_character_is_rejected_and_no_other(tmp_path: Path) -> None:
    records = [record("a", [1, 2], prompt="why \ud83d"), record("b", [1, 2])]
    path = tmp_path / "rankings.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    for rankings in (Rankings.read(records), Rankings.read(path)):
        assert [group.id for group in rankings.groups] == ["b"]
        assert [(r.line, r.code) for r in rankings.rejected] == [(1, "invalid_json")]
        assert "line 1" not in rankings.rejected[0].message


def test_a_fifo_a_device_and_a_folder_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jsonl")
    for path in (tmp_path / "fifo.jsonl", Path("/dev/zero"), tmp_path):
        with pytest.raises(StorageError, match="not a regular file"):
            Rankings.read(path)


def test_damaged_gzip_is_a_ranking_error_whatever_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "rankings.jsonl.gz"
    whole = gzip.compress((json.dumps(record("a", [1, 2])) + "\n").encode())
    refused = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            Rankings.read(path)
        except RankingError:
            refused += 1
    assert refused > len(whole) // 2


def test_a_record_of_chosen_and_rejected_names_its_reader() -> None:
    (rejected,) = Rankings.read([{"chosen": "a", "rejected": "b"}]).rejected
    assert (rejected.code, "read_chosen_rejected" in rejected.message) == ("unknown_field", True)


def test_rankings_are_added_while_their_ids_differ() -> None:
    one = Rankings.read([record("a", [1, 2]), record("b", [1]), record("c", [1, 1])])
    other = Rankings.read([record("d", [2, 1]), record("e", [0, 1])])
    both = one + other
    assert [group.id for group in both.groups] == ["a", "c", "d"]
    assert both.summary()["pairs"] == one.summary()["pairs"] + other.summary()["pairs"]
    assert [r.code for r in both.rejected] == ["one_completion", "unknown_rank"]
    with pytest.raises(InvalidArgument, match="2 ids are in both rankings, first 'a'"):
        one + one
    twice = one.with_id_prefix("1/") + one.with_id_prefix("2/")
    assert [group.id for group in twice.groups] == ["1/a", "1/c", "2/a", "2/c"]
    with pytest.raises(TypeError):
        one + 3  # type: ignore[operator]


class FoldingTokenizer(ByteTokenizer):
    """Does not tell upper from lower case, as tokenizers of some models."""

    def encode(self, text: str) -> npt.NDArray[np.uint32]:
        return super().encode(text.lower())


def test_completions_that_are_the_same_tokens_cannot_be_ranked_apart() -> None:
    same = {"id": "same", "prompt": "p", "completions": [{"text": "Yes", "rank": 1}, {"text": "yes", "rank": 2}]}
    ended = [{"text": "Yes", "rank": 1}, {"text": "yes", "rank": 2, "ended": False}]
    rankings = Rankings.read([same, record("other", [1, 2]), {"id": "cut", "prompt": "p", "completions": ended}])
    batches = ranking_batches(rankings, FoldingTokenizer())
    assert [name for batch in batches for name in batch.ids] == ["other", "cut"]
    assert [(r.line, r.code) for r in batches.rejected] == [(1, "equal_completions_ranked_apart")]
    assert not ranking_batches(rankings, TOK).rejected
    with pytest.raises(RankingError, match="1 equal_completions_ranked_apart"):
        ranking_batches(Rankings.read([same]), FoldingTokenizer())


def test_a_group_of_ties_is_kept_and_counted_but_not_trained_on() -> None:
    rankings = Rankings.read([record("tied", [1, 1]), record("clear", [1, 2])])
    assert rankings.summary()["groups_without_pairs"] == 1
    assert [batch.ids for batch in ranking_batches(rankings, TOK)] == [("clear",)]


def test_rankings_without_any_preference_cannot_be_batched() -> None:
    with pytest.raises(RankingError, match="first rejected: line 2"):
        ranking_batches(Rankings.read([record("tied", [1, 1]), record("b", [1])]), TOK)


@given(rank_lists, st.integers(1, 4), st.sampled_from(["rows", "shared_prefix"]), st.none() | st.integers(0, 99))
def test_a_prompt_is_one_batch_element_with_all_its_completions(
    ranks: list[list[int]], prompts_per_batch: int, arrange: Arrangement, seed: int | None
) -> None:
    rankings = Rankings.read([record(str(i), r, prompt=f"question {i}") for i, r in enumerate(ranks)])
    scored = {group.id: group for group in rankings.groups if len(group.pairs)}
    if not scored:
        return
    batches = ranking_batches(rankings, TOK, prompts_per_batch, arrange, seed=seed)
    seen: list[str] = []
    for batch in batches:
        batch.layout.validate()
        seen += batch.ids
        assert len(batch.ids) <= prompts_per_batch
        for g, name in enumerate(batch.ids):
            group = scored[name]
            first, last = batch.completion_offsets[g : g + 2]
            for index, text in zip(batch.reward_index[first:last], group.completions, strict=True):
                whole = [*chat_prompt(TOK, group.prompt), *TOK.encode(text), CONTROL.end_of_text, CONTROL.reward]
                assert visible(batch, int(index)) == whole
                assert batch.layout.position[index] == len(whole) - 1
            own = (batch.pairs >= first).all(axis=1) & (batch.pairs < last).all(axis=1)
            assert (batch.pairs[own] - first).tolist() == group.pairs.tolist()
            assert batch.pair_weights[own].sum() == pytest.approx(1.0)
        assert len(batch.pairs) == len(batch.pair_weights) == sum(len(scored[name].pairs) for name in batch.ids)
        assert (batch.tokens == CONTROL.reward).sum() == batch.reward_index.size
        assert (batch.tokens != CONTROL.pad).sum() == batch.token_count
    assert sorted(seen) == sorted(scored)


def test_batches_of_an_epoch_differ_by_one_prompt_at_most() -> None:
    rankings = Rankings.read([record(str(i), [1, 2]) for i in range(35)])
    sizes = [len(batch.ids) for batch in ranking_batches(rankings, TOK, 16, seed=0)]
    assert sorted(sizes) == [11, 12, 12]


@pytest.mark.parametrize("arrange", ["rows", "shared_prefix"])
def test_parts_of_a_batch_are_its_whole_prompts(arrange: Arrangement) -> None:
    records = [record(str(i), [1, 2, 3], prompt="p" * (1 + 7 * (i % 3))) for i in range(10)]
    batches = ranking_batches(Rankings.read(records), TOK, 5, seed=0)
    for index, whole in enumerate(batches):
        parts = batches.parts(index, 2, arrange)
        assert [len(part.ids) for part in parts] == [2, 2, 1]
        assert sorted(name for part in parts for name in part.ids) == sorted(whole.ids)
        assert sum(part.pair_weights.sum() for part in parts) == pytest.approx(whole.pair_weights.sum())
        assert sum(part.token_count for part in parts) < whole.token_count or arrange == "rows"
    (one,) = batches.parts(0, 5)
    assert one.ids == batches[0].ids
    assert (one.tokens == batches[0].tokens).all()


def test_sharing_the_prefix_costs_the_prompt_once() -> None:
    rankings = Rankings.read([record("a", [1, 2, 3, 4], prompt="p" * 100)])
    rows, shared = (ranking_batches(rankings, TOK, arrange=arrange)[0] for arrange in ("rows", "shared_prefix"))
    assert rows.token_count == 4 * (103 + 10)
    assert shared.token_count == 103 + 4 * 10


def test_epochs_shuffle_differently_and_the_same_seed_alike() -> None:
    rankings = Rankings.read([record(str(i), [1, 2]) for i in range(40)])

    def order(seed: int, epoch: int) -> list[str]:
        return [name for batch in ranking_batches(rankings, TOK, 3, seed=seed, epoch=epoch) for name in batch.ids]

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(1, 0)), tuple(order(1, 1)), tuple(order(2, 0))}) == 3
    assert sorted(order(1, 0)) == sorted(order(1, 1))


@pytest.mark.parametrize("arrange", ["rows", "shared_prefix"])
def test_a_long_prompt_loses_its_middle_alike_for_all_its_completions(arrange: Arrangement) -> None:
    texts = ["short", "a longer answer", "cut off by its limit"]
    completions = [{"text": t, "rank": i + 1, "ended": i < 2} for i, t in enumerate(texts)]
    rankings = Rankings.read([{"id": "a", "prompt": "abcdefghij" * 9, "completions": completions}])
    batches = ranking_batches(rankings, TOK, arrange=arrange, context_tokens=40)
    assert batches.truncated_prompts == 1
    (batch,) = batches
    prompts = set()
    for index, text, ended in zip(batch.reward_index, texts, (True, True, False), strict=True):
        seen = visible(batch, int(index))
        tail = [*TOK.encode(text), *([CONTROL.end_of_text] if ended else []), CONTROL.reward]
        assert seen[-len(tail) :] == tail
        assert len(seen) <= 40
        prompts.add(tuple(seen[: -len(tail)]))
    assert len(prompts) == 1
    assert len(prompts.pop()) == 40 - len(texts[2]) - 1


def test_a_completion_that_does_not_fit_rejects_its_group_with_the_reason() -> None:
    long = {"id": "long", "prompt": "p", "completions": [{"text": "x" * 50, "rank": 1}, {"text": "y", "rank": 2}]}
    rankings = Rankings.read([record("a", [1, 2]), long])
    batches = ranking_batches(rankings, TOK, context_tokens=30)
    assert [batch.ids for batch in batches] == [("a",)]
    assert [(r.line, r.code) for r in batches.rejected] == [(2, "completion_too_long")]
    with pytest.raises(RankingError, match=r"no group fits a batch \(1 completion_too_long") as raised:
        ranking_batches(Rankings.read([long]), TOK, context_tokens=30)
    assert str(raised.value).lower().count("raise the context") <= 1


def test_wrong_settings_are_refused() -> None:
    rankings = Rankings.read([record("a", [1, 2])])
    with pytest.raises(InvalidArgument, match="prompts_per_batch is 0"):
        ranking_batches(rankings, TOK, 0)
    with pytest.raises(InvalidArgument, match="shared_prefix"):
        ranking_batches(rankings, TOK, arrange="pairs")  # type: ignore[arg-type]
    with pytest.raises(IndexError, match="batch 1 of 1"):
        ranking_batches(rankings, TOK)[1]
    for seed in (-1, 2**64, 10**5_000, 1.5, "7"):
        with pytest.raises(InvalidArgument, match="seed is"):
            ranking_batches(rankings, TOK, seed=seed)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="epoch is -1"):
        ranking_batches(rankings, TOK, seed=1, epoch=-1)
