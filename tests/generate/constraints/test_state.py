"""The state of a constraint: forks, rewinds and forced tokens; tokenizers of every kind; compiled grammars are kept."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import foreign_tokenizers
from constrained import PADDING, accepts, plain_tokenizer, random_output, start, token_ids
from stategpt import Tokenizer
from stategpt.errors import ConstraintError, InvalidArgument
from stategpt.generate.constraints import (
    Limits,
    MatchedConstraint,
    Spec,
    choice,
    compiled,
    forget_compiled,
    grammar,
    json_schema,
    regex,
    substring,
    template,
    think_then,
    tool_calls,
)
from stategpt.generate.constraints.json_text import JsonGuard, Marks, Sorted
from stategpt.generate.constraints.specs import JsonStart

pytest.importorskip("llguidance", reason="constraints need the extra of that name")

OPEN = {"type": "object", "additionalProperties": {"type": ["number", "string", "array"]}}
SPECS: tuple[Spec, ...] = (
    json_schema(OPEN),
    json_schema({"type": "array", "items": {"enum": ["ab", "abc", 1, None]}}),
    regex("(ab|a)*c?"),
    choice(["no", "no way", "nowhere"]),
    substring("one two three two one"),
    grammar('start: "(" start ")" start | ""'),
    grammar("root ::= [a-c] root? | [0-9]+"),
    template("a {x:int} b {y:word}"),
    think_then(json_schema(OPEN), end="ab"),
    think_then(json_schema(OPEN), begin="so: ", end="ab!", max_tokens=4),
    think_then(json_schema(OPEN), max_tokens=2),
    tool_calls([{"name": "f", "parameters": OPEN}], most=2, required=False),
)


def same(one: MatchedConstraint, other: MatchedConstraint) -> None:
    assert one.complete == other.complete
    assert one.finished == other.finished
    assert one.text == other.text
    assert one.ids.tolist() == other.ids.tolist()
    assert one.forced().tolist() == other.forced().tolist()
    assert one.mask().tolist() == other.mask().tolist()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    spec=st.sampled_from(SPECS),
    steps=st.lists(
        st.tuples(st.sampled_from(["advance", "forced", "fork", "rewind", "refused"]), st.integers(0, 999)), max_size=25
    ),
)
def test_any_operations_equal_a_fresh_replay(spec: Spec, steps: list[tuple[str, int]]) -> None:
    held = [(start(spec), [])]  # constraints, and the tokens that each was given
    for kind, number in steps:
        place = number % len(held)
        constraint, taken = held[place]
        if kind == "fork":
            held.append((constraint.fork(), list(taken)))
        elif kind == "rewind":
            count = number % (len(taken) + 1)
            constraint.rewind(count)
            del taken[len(taken) - count :]
        elif taken and taken[-1] in constraint.vocabulary.ends:
            continue
        elif kind == "refused":
            refused = [t for t in range(constraint.vocabulary.model_vocab) if t not in token_ids(constraint.mask())]
            with pytest.raises(ConstraintError):
                constraint.advance(refused[number % len(refused)])
        else:
            forced = constraint.forced().tolist() if kind == "forced" else []
            allowed = token_ids(constraint.mask())
            for token in forced or [allowed[number % len(allowed)]]:
                constraint.advance(token)
                taken.append(token)
    for constraint, taken in held:
        fresh = start(spec)
        for token in taken:
            fresh.advance(token)
        same(constraint, fresh)


def test_rewinding_further_than_the_beginning_is_an_error_and_changes_nothing() -> None:
    constraint = start(choice(["abc"]))
    constraint.advance(constraint.forced().tolist()[0])
    with pytest.raises(InvalidArgument, match="rewind by 2 tokens, and there are 1"):
        constraint.rewind(2)
    assert len(constraint.ids) == 1


def test_after_the_end_nothing_comes() -> None:
    constraint = start(choice(["a"]))
    assert random_output(constraint, 0)
    assert constraint.complete
    assert constraint.finished
    with pytest.raises(ConstraintError, match="follows the end"):
        constraint.advance(constraint.vocabulary.ends[0])
    constraint.rewind(1)
    assert constraint.finished
    assert {*token_ids(constraint.mask())} == {*constraint.vocabulary.ends}


def test_forced_tokens_are_what_the_mask_would_allow_alone() -> None:
    constraint = start(template("The answer is {number:int}."))
    forced = constraint.forced().tolist()
    assert constraint.vocabulary.bytes_of(forced).decode().startswith("The answer")
    for token in forced:
        assert token_ids(constraint.mask()) == [token]
        constraint.advance(token)
    assert len(token_ids(constraint.mask())) > 1


def test_forced_tokens_are_bounded() -> None:
    tok = plain_tokenizer()
    ends = [tok.special_tokens["<|im_end|>"]]
    made = choice(["x" * 1000]).compile(tok, tok.vocab_size, ends, Limits(forced_tokens=7))
    assert len(made.forced()) == 7


def test_keys_are_unique_and_numbers_fit_a_double() -> None:
    """Random tokens prefer a key that is there already; no output has it twice, or a number of 1e100."""
    made = start(json_schema({"type": "object", "additionalProperties": True}))
    vocabulary = made.vocabulary
    for part in ('{"', "a", 'b":', "1", "e", "99", ',"'):
        for token in vocabulary.encode(part):
            made.advance(token)
    copy = made.fork()
    for token in vocabulary.encode("ab"):
        made.advance(token)
    closing = [token for token in token_ids(made.mask()) if vocabulary.tokens[token].startswith(b'"')]
    assert closing == []
    assert any(vocabulary.tokens[token] == b"a" for token in token_ids(made.mask()))
    for token in vocabulary.encode('c":1e9'):
        copy.advance(token)
    copy.advance(vocabulary.encode("9")[0])
    digits = [token for token in token_ids(copy.mask()) if vocabulary.tokens[token][:1].isdigit()]
    assert digits == []
    with pytest.raises(ConstraintError):
        copy.advance(vocabulary.encode("9")[0])


def test_a_number_at_the_top_level_ends_rather_than_grow_beyond_a_double() -> None:
    made = start(json_schema({"type": "number"}))
    for token in made.vocabulary.encode("32.0e40"):
        made.advance(token)
    assert {*token_ids(made.mask())} == {*made.vocabulary.ends}


class SpelledVocabulary:
    """What `JsonGuard` reads of a vocabulary, over tokens that are given."""

    def __init__(self, tokens: list[bytes]) -> None:
        self.tokens = tokens
        self.marks, self.beginning_with = Marks(tokens), Sorted(tokens).beginning_with

    def control_id(self, name: str) -> None:
        return None

    def mask_of(self, ids: list[int]) -> np.ndarray:
        mask = np.zeros(-(-len(self.tokens) // 32), dtype=np.uint32)
        for token in ids:
            mask[token // 32] |= np.uint32(1 << token % 32)
        return mask


PARTS = st.sampled_from(['"', "a", "b", "\\", ":", ",", "{", "}", "[", "1", "e", '"a":', '","', '\\"'])


@settings(max_examples=150, deadline=None)
@given(
    tokens=st.lists(st.lists(PARTS, min_size=1, max_size=6).map("".join), min_size=1, max_size=40, unique=True),
    before=st.sampled_from(['{"a":1,', '{"a":1,"', '{"a":1,"b', '["a","', '{"ab":{"a":1}', '{"a":"b","\\', "", "1e9",
                            '{"x":1,"a":[{"', '{"a":{"b":"a', '{"":1,']),
)  # fmt: skip
@example(tokens=['a":1,"xa":'], before='{"x')  # the key that a token finishes, and once more
@example(tokens=['"a":1,"a":', '":1,"":'], before='{"')
def test_the_tokens_that_are_looked_at_are_all_that_must_not_come(tokens: list[str], before: str) -> None:
    vocabulary: Any = SpelledVocabulary([text.encode() for text in [before, *tokens]])
    guard = JsonGuard(vocabulary, JsonStart())
    guard.advance(0)
    full = vocabulary.mask_of(range(len(tokens) + 1))
    guard.cut(full, may_end=True)
    assert token_ids(full) == [token for token in range(len(tokens) + 1) if guard.allows(token)]


def test_keys_that_run_out_may_repeat_rather_than_leave_no_token() -> None:
    made = start(json_schema({"type": "object", "patternProperties": {"^a$": True}, "additionalProperties": False}))
    for token in made.vocabulary.encode('{"a":1,"a":'):
        made.advance(token)
    assert made.text.endswith('"a":')


def test_a_tokenizer_with_a_padded_model_never_allows_padding() -> None:
    made = start(regex("(?s:.*)"))
    tok = plain_tokenizer()
    assert max(token_ids(made.mask())) < tok.vocab_size
    assert len(made.mask()) == (tok.vocab_size + PADDING + 31) // 32


FAMILIES = ["smollm", "llama3", "qwen", "gpt2", "llama2", "gemma"]


def foreign(name: str, folder: Path) -> tuple[Any, Any]:
    made = foreign_tokenizers.foreign(name)
    made.write(folder)
    return made, [
        Tokenizer.load(folder, engine=engine) for engine in ("tokenizers", "native")[: 2 if name in NATIVE else 1]
    ]


NATIVE = {"smollm", "llama3", "qwen", "gpt2"}


@pytest.mark.parametrize("name", FAMILIES)
def test_tokenizers_of_others_spell_control_tokens_as_text(name: str, tmp_path: Path) -> None:
    made, toks = foreign(name, tmp_path)
    for tok in toks:
        special = {*tok.special_tokens.values()}
        end = made.id("eos_token")
        spelled = list(tok.special_tokens)

        def look(
            constraint: MatchedConstraint, allowed: list[int], end: int = end, special: set[int] = special
        ) -> None:
            assert {*allowed} & special == ({end} if constraint.complete else set())
            assert not {*constraint.forced().tolist()} & special

        for text in spelled:
            for spec in (
                json_schema({"const": f"Grüße {text}!"}),
                choice([text]),
                template("a {b}", b=choice([f" {text} 中"])),
            ):
                constraint = start(spec, tok, [end])
                assert random_output(constraint, 1, look=look), (spec, constraint.text)
                assert text in constraint.text
                assert constraint.ids[-1] == end
                assert tok.decode(constraint.ids[:-1]).strip() == constraint.text.strip()


@pytest.mark.parametrize("name", FAMILIES)
def test_json_of_tokenizers_of_others_is_valid(name: str, tmp_path: Path) -> None:
    made, toks = foreign(name, tmp_path)
    schema = {
        "type": "object",
        "properties": {"é": {"type": "string", "maxLength": 6}, "n": {"type": "integer"}},
        "required": ["é"],
    }
    for tok in toks:
        for seed in range(4):
            constraint = start(json_schema({**schema, "additionalProperties": False}), tok, [made.id("eos_token")])
            assert random_output(constraint, seed)
            assert json.loads(constraint.text)["é"] is not None
        for text, wanted in (('{"é":"日本 🙂","n":-12}', True), ('{"é":"日本 🙂!!!!","n":-12}', False)):
            assert accepts(json_schema(schema), text, tok, [made.id("eos_token")]) == wanted


def test_tokens_without_fixed_bytes_are_refused(tmp_path: Path) -> None:
    import tokenizers

    made = tokenizers.Tokenizer(tokenizers.models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]"))
    made.decoder = tokenizers.decoders.WordPiece()
    made.save(str(tmp_path / "tokenizer.json"))
    tok = Tokenizer.load(tmp_path, engine="tokenizers")
    with pytest.raises(ConstraintError, match="WordPiece"):
        start(choice(["a"]), tok, [0])


def test_a_vocabulary_that_cannot_spell_the_output_is_an_error(tmp_path: Path) -> None:
    import tokenizers

    made = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1, "ab": 2, "</s>": 3}, [("a", "b")]))
    made.decoder = tokenizers.decoders.Fuse()
    made.add_special_tokens(["</s>"])
    made.save(str(tmp_path / "tokenizer.json"))
    tok = Tokenizer.load(tmp_path, engine="tokenizers")
    constraint = start(choice(["aba", "abc"]), tok, [3])
    for token in constraint.vocabulary.encode("ab"):
        constraint.advance(token)
    assert token_ids(constraint.mask()) == [0]
    constraint = start(regex("ab[cd]"), tok, [3])
    constraint.advance(2)
    with pytest.raises(ConstraintError, match="no token of the vocabulary continues the output after 'ab'"):
        constraint.mask()
    assert random_output(start(choice(["abab"]), tok, [3]), 0)


def test_ends_are_checked() -> None:
    tok = plain_tokenizer()
    for ends in ([], [tok.vocab_size + 5], [-1]):
        with pytest.raises(InvalidArgument):
            choice(["a"]).compile(tok, tok.vocab_size, ends)
    with pytest.raises(InvalidArgument, match="the tokenizer has"):
        choice(["a"]).compile(tok, tok.vocab_size - 1, [0])


def test_compiled_grammars_are_kept_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_compiled()
    made = 0
    original = compiled._compile

    def counted(*arguments: Any) -> Any:
        nonlocal made
        made += 1
        return original(*arguments)

    monkeypatch.setattr(compiled, "_compile", counted)
    monkeypatch.setattr(compiled, "KEPT", 3)
    specs = [choice([f"text {number}"]) for number in range(4)]
    for spec in [*specs[:3], specs[0], json_schema({"const": 1}), json_schema({"const": 1}), specs[0]]:
        start(spec)
    assert made == 4
    assert len(compiled._made) == 3
    start(specs[1])  # the least recently used went first
    assert made == 5


def test_threads_compile_and_follow_alike() -> None:
    forget_compiled()
    texts: list[str] = []

    def work(seed: int) -> None:
        constraint = start(SPECS[1])
        random_output(constraint, seed % 3)
        texts.append(f"{seed % 3}{constraint.text}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 12
    assert len({*texts}) == 3


def test_a_mask_is_not_to_be_written() -> None:
    mask = start(choice(["a", "b"])).mask()
    assert mask.dtype == np.uint32
    with pytest.raises(ValueError, match="read-only"):
        mask[0] = 0
