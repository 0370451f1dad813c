"""Files of chats, prompts and preferences: recognized, mapped, merged, and every record accounted for."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stategpt as sg
from stategpt.data import Rankings
from stategpt.data.formats import FORMATS, read_conversations, read_labeled, read_prompts, read_ranked, recognize
from stategpt.data.groups import group_of
from stategpt.data.ranked_group import Vote
from stategpt.data.ranking_rows import ranking_row, read_rankings
from stategpt.data.records import Place, Prompt
from stategpt.errors import CorpusError, InvalidArgument

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KEYS = sorted({key for form in FORMATS.values() for keys in form.keys for key in keys})
READERS: dict[str, Any] = {
    "conversation": read_conversations,
    "prompt": read_prompts,
    "ranking": read_ranked,
    "label": read_labeled,
}


def written(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_formats_are_a_public_module() -> None:
    assert sg.formats.FORMATS is FORMATS
    assert sg.data.read_ranked is read_ranked
    assert "conversation: alpaca, messages" in repr(FORMATS)


def test_an_unknown_shape_names_its_keys_the_nearest_format_and_what_it_misses() -> None:
    with pytest.raises(
        CorpusError, match=r"has the keys instruction, answr, which no format of conversations has"
    ) as info:
        recognize({"instruction": "a", "answr": "b"}, "conversation")
    assert "nearest is 'alpaca' (instruction, output): the record misses output" in str(info.value)
    with pytest.raises(CorpusError, match=r"format 'hh' of rankings; .*read_ranked reads it"):
        recognize({"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}, "prompt")
    with pytest.raises(CorpusError, match="with values of other types"):
        recognize({"chosen": 1, "rejected": 2}, "ranking")
    with pytest.raises(CorpusError, match=r"\(none\)"):
        recognize({})


def test_without_a_kind_messages_that_wait_for_an_answer_are_a_prompt() -> None:
    question = {"role": "user", "content": "Why?"}
    assert recognize({"messages": [question]}).name == "prompts"
    assert recognize({"messages": [question, {"role": "assistant", "content": "So."}]}).name == "messages"
    assert recognize({"prompt": "Why?"}).name == "prompts"
    assert recognize({"prompt": "Why?", "response": "So.", "helpfulness": 3}).name == "helpsteer"


def test_a_format_reads_one_record_and_names_its_place_and_code() -> None:
    where = Place("chats.jsonl", 3, 70)
    conversation = FORMATS["alpaca"].read({"instruction": "a", "output": "b"}, where)
    assert conversation.where == where  # type: ignore[union-attr]
    with pytest.raises(
        CorpusError, match=r"chats\.jsonl:3 \(byte 70\): missing_field: output is missing; alpaca needs it"
    ):
        FORMATS["alpaca"].read({"instruction": "a"}, where)


def test_format_and_columns_override(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", {"q": "Why?", "a": "So.", "extra": 1}, {"q": "Who?"}, {"q": "How?", "a": "x"})
    (first, _), tally = read_conversations(path, columns={"prompt": "q", "response": "a"}, base=tmp_path)
    assert [message.content for message in first.messages] == ["Why?", "So."]
    assert (tally.kept, tally.rejected, str(tally.first[0].where)) == (2, {"missing_field": 1}, "a.jsonl:2 (byte 38)")
    assert tally.to_json()["formats"] == {"a.jsonl": "prompt_response"}
    with pytest.raises(CorpusError, match="no record has the fields 'question' that columns names"):
        read_conversations(path, columns={"prompt": "question"})
    with pytest.raises(InvalidArgument, match="did you mean 'alpaca'"):
        read_conversations(path, format="alpacca")
    with pytest.raises(InvalidArgument, match="a format of rankings, which read_ranked reads"):
        read_conversations(path, format="hh")
    _, tally = read_conversations(path, format="alpaca")
    assert tally.rejected == {"missing_field": 3}


def test_the_first_records_decide_the_format_and_bad_lines_before_them_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    lines = ["{", '{"x": 1}', '{"prompt": "a", "response": "b"}', '{"prompt": "a", "prompt": "c", "response": "b"}']
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    conversations, tally = read_conversations([path])
    assert (len(conversations), tally.kept, tally.total) == (1, 1, 4)
    assert tally.rejected == {"invalid_json": 1, "missing_field": 1, "duplicate_key": 1}
    with pytest.raises(CorpusError, match="holds no records"):
        read_conversations(written(tmp_path / "empty.jsonl"))
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{\n{\n")
    assert read_prompts(bad)[1].rejected == {"invalid_json": 2}


def test_half_a_character_in_a_message_is_rejected_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "Why?", "response": "So."}\n{"prompt": "Who\\ud83d?", "response": "Me."}\n')
    found, tally = read_conversations(path)
    assert (len(found), tally.rejected) == (1, {"invalid_json": 1})
    assert tally.first[0].where.line == 2
    assert "prompt has the lone surrogate U+D83D at character 3" in tally.first[0].message


def test_copies_are_dropped_and_counted(tmp_path: Path) -> None:
    one, other = {"prompt": "a", "response": "b"}, {"prompt": "a", "response": "c"}
    files = [written(tmp_path / "1.jsonl", one, other, one), written(tmp_path / "2.jsonl", one)]
    conversations, tally = read_conversations(files)
    assert (len(conversations), tally.kept, tally.duplicate) == (2, 2, 2)


def test_one_question_has_one_group_in_all_kinds_of_records(tmp_path: Path) -> None:
    chats, _ = read_conversations(written(tmp_path / "a.jsonl", {"system": "S", "prompt": "Why  so?", "response": "b"}))
    prompts, _ = read_prompts(written(tmp_path / "b.jsonl", {"prompt": " Why so?"}, {"prompt": "x", "group": "page"}))
    dialogue = "\n\nHuman: Why so?\n\nAssistant: b\n\nHuman: c\n\nAssistant: "
    ranked, _ = read_ranked(written(tmp_path / "c.jsonl", {"chosen": dialogue + "d", "rejected": dialogue + "e"}))
    assert chats[0].group == prompts[0].group == ranked[0].group == group_of(Prompt.of("Why so?"))
    assert prompts[1].group == "page"


def test_votes_of_annotators_are_kept_and_a_cycle_stays_a_cycle(tmp_path: Path) -> None:
    orders = {"ann": "abc", "bob": "bca", "cy": "cab"}
    records = [
        {
            "prompt": "?",
            "annotator": who,
            "completions": [{"text": text, "rank": rank} for rank, text in enumerate(order, 1)],
        }
        for who, order in orders.items()
    ]
    (group,), tally = read_ranked(written(tmp_path / "a.jsonl", *records, records[0]))
    assert group.votes == (Vote("ann", (1, 2, 3)), Vote("bob", (3, 1, 2)), Vote("cy", (2, 3, 1)))
    assert (group.pairs.tolist(), group.ranks) == ([[0, 1], [1, 2], [2, 0]], (1, 1, 1))
    assert (tally.kept, tally.duplicate) == (3, 1)


def test_equal_votes_without_names_are_votes_but_equal_dialogues_are_copies(tmp_path: Path) -> None:
    vote = {"prompt": "?", "response_a": "x", "response_b": "y", "winner": "a"}
    turned = {"prompt": "?", "response_a": "y", "response_b": "x", "winner": "a"}
    (group,), tally = read_ranked(written(tmp_path / "a.jsonl", vote, vote, turned))
    assert (len(group.votes), group.pairs.tolist(), tally.kept) == (3, [[0, 1]], 3)
    pair = {"prompt": "?", "chosen": "x", "rejected": "y"}
    against = {"prompt": "?", "chosen": "y", "rejected": "x"}
    (group,), tally = read_ranked(written(tmp_path / "b.jsonl", pair, pair, against))
    assert (len(group.votes), group.pairs.tolist(), tally.kept, tally.duplicate) == (2, [], 2, 1)


def test_ids_that_two_files_share_stay_apart(tmp_path: Path) -> None:
    record = {"id": "1", "prompt": "a", "completions": [{"text": "x", "rank": 1}, {"text": "y", "rank": 2}]}
    files = [written(tmp_path / "1.jsonl", record), written(tmp_path / "2.jsonl", record | {"prompt": "b"})]
    groups, _ = read_ranked(files, base=tmp_path)
    assert [group.id for group in groups] == ["1", "2.jsonl:1"]


@pytest.mark.parametrize("name", sorted(name for name, form in FORMATS.items() if form.kind == "ranking"))
def test_groups_survive_being_written_and_read(name: str, tmp_path: Path) -> None:
    golden = json.loads((Path(__file__).parents[2] / "golden" / "formats" / f"{name}.json").read_text())
    groups, _ = read_ranked(written(tmp_path / "in.jsonl", *golden["records"]))
    again = read_rankings(written(tmp_path / "out.jsonl", *map(ranking_row, groups)))
    for one, other in zip(groups, again, strict=True):
        for field in ("id", "prompt", "completions", "ranks", "ended", "votes", "group"):
            assert getattr(one, field) == getattr(other, field)
        assert one.pairs.tolist() == other.pairs.tolist()


def test_rankings_reads_dialogues_and_names_the_reader_of_other_formats(tmp_path: Path) -> None:
    completions = [{"text": "x", "rank": 1}, {"text": "y", "rank": 2}]
    plain = {"id": "1", "prompt": "a", "completions": completions}
    dialogue = {
        "id": "2",
        "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "b"}],
        "completions": completions,
    }
    votes = {
        "id": "3",
        "prompt": "c",
        "group": "g",
        "completions": [{"text": "x"}, {"text": "y"}],
        "votes": [{"ranks": [2, 1]}],
    }
    score = {"instruction": "a", "completions": []}
    path = written(tmp_path / "a.jsonl", plain, dialogue, {**dialogue, "id": "1"}, votes, score)
    rankings = Rankings.read(path)
    assert [group.line for group in rankings.groups] == [1, 2, 4]
    assert [message.role for message in rankings.groups[1].prompt] == ["system", "user"]  # type: ignore[union-attr]
    assert (rankings.groups[2].pairs.tolist(), rankings.groups[2].group) == ([[1, 0]], "g")
    assert [(each.line, each.code) for each in rankings.rejected] == [(3, "duplicate_id"), (5, "unknown_field")]
    assert "'ultrafeedback', which stategpt.data.formats.read_ranked reads" in rankings.rejected[1].message
    in_memory = Rankings.read([plain, dialogue, votes])
    assert [group.pairs.tolist() for group in in_memory.groups] == [[[0, 1]], [[0, 1]], [[1, 0]]]
    assert len((rankings + in_memory.with_id_prefix("m/")).groups) == 6


@settings(max_examples=150, deadline=None)
@given(
    records=st.lists(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4) | JSON, min_size=1, max_size=4),
    data=st.data(),
)
def test_any_records_add_up_or_are_a_typed_error(
    records: list[Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    written(path, *records)
    name = data.draw(st.sampled_from(sorted(FORMATS)))
    found, tally = READERS[FORMATS[name].kind](path, format=name)
    assert tally.total == len(records)
    assert len(found) <= tally.kept
    with contextlib.suppress(CorpusError):  # no format has the keys
        assert READERS[FORMATS[name].kind](path)[1].total == len(records)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.permutations([1, 2, 3, 4]), min_size=1, max_size=5), st.permutations(range(4)))
def test_the_order_of_completions_changes_nothing(orders: list[list[int]], order: list[int]) -> None:
    from stategpt.data.ranking_dialogues import majority

    votes = [Vote("", tuple(ranks)) for ranks in orders]
    turned = [Vote("", tuple(ranks[place] for place in order)) for ranks in orders]
    ranks, pairs = majority(votes, 4)
    other_ranks, other_pairs = majority(turned, 4)
    assert other_ranks == [ranks[place] for place in order]
    assert sorted([order[won], order[lost]] for won, lost in other_pairs) == sorted(pairs)
    assert all(ranks[winner] <= ranks[loser] for winner, loser in pairs)
    wins = {(a, b): sum(vote[a] < vote[b] for vote in orders) for a, b in itertools.permutations(range(4), 2)}
    assert sorted(pairs) == sorted([a, b] for a, b in wins if wins[a, b] > wins[b, a])
