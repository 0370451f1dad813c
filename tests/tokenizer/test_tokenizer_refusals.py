"""What is no tokenizer.json, and what one may ask for that we do not cover: an error with its JSON path, in memory in
proportion to the file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt import _native
from stategpt.errors import InvalidArgument, TokenizerFormatError, TokenizerUnsupported
from stategpt.tokenizer.tokenizer import Tokenizer
from tokenizer.tokenizer_oracles import VOCABULARIES, library_texts

TOK = Tokenizer.train(library_texts(200_000), 700, special_tokens=["<|endoftext|>", "<|user|>"])
GOOD: dict[str, Any] = json.loads(TOK._to_json())

Change = Callable[[dict[str, Any]], object]


def set_at(*path: str | int, value: object) -> Change:
    def change(file: dict[str, Any]) -> None:
        held: Any = file
        for key in path[:-1]:
            held = held[key]
        held[path[-1]] = value

    return change


def new_merge(value: object) -> Change:
    return lambda file: file["model"]["merges"].append(value)


LEVEL = ("pre_tokenizer", "pretokenizers", 1)
NO_CUT = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
SPLIT = ("pre_tokenizer", "pretokenizers", 0)

UNSUPPORTED: list[tuple[Change, str]] = [
    (set_at("model", "type", value="WordPiece"), "$.model.type: WordPiece"),
    (set_at("model", "dropout", value=0.1), "$.model.dropout"),
    (set_at("model", "continuing_subword_prefix", value="##"), "$.model.continuing_subword_prefix"),
    (set_at("model", "end_of_word_suffix", value="</w>"), "$.model.end_of_word_suffix"),
    (set_at("normalizer", value={"type": "NFKC"}), "$.normalizer: normalizer NFKC"),
    (set_at("truncation", value={"max_length": 5}), "$.truncation"),
    (set_at("padding", value={"pad_id": 0}), "$.padding"),
    (set_at("decoder", value=None), "$.decoder"),
    (set_at("decoder", value={"type": "Metaspace"}), "$.decoder: decoder Metaspace"),
    (set_at("pre_tokenizer", value=None), "$.pre_tokenizer"),
    (set_at(*LEVEL, "add_prefix_space", value=True), "$.pre_tokenizer.pretokenizers[1].add_prefix_space"),
    (set_at("pre_tokenizer", value=NO_CUT), "$.pre_tokenizer.use_regex"),
    (set_at(*SPLIT, "pattern", "Regex", value=r"^\w+"), "$.pre_tokenizer.pretokenizers[0].pattern: the regex"),
    (set_at(*SPLIT, "pattern", value={"String": ""}), "$.pre_tokenizer.pretokenizers[0].pattern"),
    (set_at(*SPLIT, "type", value="Punctuation"), "$.pre_tokenizer.pretokenizers[0]: Punctuation"),
    (set_at(*SPLIT, "behavior", value="MergedWithNext"), "$.pre_tokenizer.pretokenizers[0]"),
    (set_at(*SPLIT, "invert", value=True), "$.pre_tokenizer.pretokenizers[0]"),
    (set_at("added_tokens", 1, "content", value="<|other|>"), "$.added_tokens[1].id: id 1 of"),
    (set_at("added_tokens", 1, "id", value=2**31), "$.added_tokens[1].id"),
    (set_at("added_tokens", 1, "id", value=0), "$.added_tokens[1].id"),
    (set_at("model", "vocab", "zz", value=5), '$.model.vocab: id 5 of "zz" belongs to another token, too'),
    (set_at("model", "vocab", "zz", value=2**30), '$.model.vocab: id 1073741824 of "zz" is beyond'),
]

MALFORMED: list[tuple[Change, str]] = [
    (set_at("added_tokens", 1, "id", value="1"), "$.added_tokens[1].id"),
    (set_at("model", "vocab", "zz", value=-1), "$.model.vocab.zz"),
    (set_at("model", "vocab", value=[]), "$.model.vocab"),
    (lambda file: file["model"]["vocab"].pop("in"), '"in" is not in the vocabulary'),
    (lambda file: file["model"].pop("vocab"), "vocab"),
    (lambda file: file.pop("model"), "model"),
    (new_merge("zz zz"), '$.model.merges[442]: "zz" is not in the vocabulary'),
    (new_merge("a"), "$.model.merges[442]"),
    (new_merge("a b c"), "$.model.merges[442]"),
    (new_merge(["a"]), "$.model.merges[442]"),
    (new_merge(["a", "b", "c"]), "$.model.merges[442]"),
    (new_merge(7), "$.model.merges[442]"),
    (set_at("model", "merges", value=None), "$.model.merges"),
    (set_at("model", "merges", value={}), "$.model.merges"),
    (set_at("added_tokens", value=7), "$.added_tokens"),
    (set_at("model", value=[]), "$.model"),
]


def refusal(change: Change, folder: Path) -> TokenizerFormatError:
    """The error of the good file once it is changed."""
    file = json.loads(json.dumps(GOOD))
    change(file)
    path = folder / "changed.json"
    path.write_text(json.dumps(file))
    with pytest.raises(TokenizerFormatError) as caught:
        _native.Tokenizer._load(path)
    assert str(caught.value).startswith(f"{path}: at $")
    return caught.value


@pytest.mark.parametrize(("change", "message"), UNSUPPORTED, ids=[message for _, message in UNSUPPORTED])
def test_what_is_not_supported_is_refused_with_its_json_path(change: Change, message: str, tmp_path: Path) -> None:
    error = refusal(change, tmp_path)
    assert message in str(error)
    assert isinstance(error, TokenizerUnsupported)


@pytest.mark.parametrize(("change", "message"), MALFORMED, ids=[message for _, message in MALFORMED])
def test_what_is_malformed_is_refused_with_its_json_path(change: Change, message: str, tmp_path: Path) -> None:
    error = refusal(change, tmp_path)
    assert message in str(error)
    assert not isinstance(error, TokenizerUnsupported)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"model": {"vocab": {"a": 0, "a": 1}, "merges": []}}', 'the token "a" occurs twice'),
        ('{"model": {"vocab": {"a": 0, "b": 0}, "merges": []}}', 'id 0 of "b" belongs to another token, too'),
        ('{"model": {"vocab": {}, "vocab": {}, "merges": []}}', '"vocab" occurs twice'),
        ('{"model": {"vocab": {}, "merges": []}, "model": {}}', "duplicate field `model`"),
        ('{"model": {"merges": ["a b"], "vocab": {"a": 0}}}', '"b" is not in the vocabulary'),
        ('{"model": {"vocab": {"a": [[]]}, "merges": []}}', "$.model.vocab.a"),
        ("[" * 1_000_000, "$"),
        ('{"post_processor": ' + "[" * 1_000_000, "$"),
        ('{"unknown": ' + "[" * 1_000_000, "$"),
        ('{"model": {"vocab": ' + '{"a":' * 1_000_000, "$.model.vocab"),
        ('{"padding": [' + "0," * 200_000 + '0], "model": {"vocab": {}, "merges": []}}', "$.padding: it has 4000"),
    ],
    ids=range(11),
)  # fmt: skip
def test_no_nesting_and_no_repetition_gets_further(text: str, message: str) -> None:
    with pytest.raises(TokenizerFormatError) as caught:
        _native.Tokenizer._from_json(text.encode())
    assert message in str(caught.value)


def test_merges_may_stand_before_the_vocabulary_and_name_later_tokens(tmp_path: Path) -> None:
    file = json.loads(json.dumps(GOOD))
    model = file["model"]
    file["model"] = {"merges": model["merges"], **{key: value for key, value in model.items() if key != "merges"}}
    assert _native.Tokenizer._from_json(json.dumps(file).encode()).fingerprint == TOK.fingerprint
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")
    file["model"]["merges"] = model["merges"][::-1]
    text = json.dumps(file)
    made, theirs = _native.Tokenizer._from_json(text.encode()), tokenizers.Tokenizer.from_str(text)
    for document in library_texts(20_000):
        assert made.encode(document, special="allow").tolist() == theirs.encode(document, add_special_tokens=False).ids


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_file_is_a_format_error_or_still_a_tokenizer(data: st.DataObject) -> None:
    good = json.dumps(GOOD).encode()
    at = data.draw(st.integers(0, len(good) - 1))
    damaged = data.draw(
        st.one_of(
            st.just(good[:at]),
            st.binary(min_size=1, max_size=4).map(lambda noise: good[:at] + noise + good[at + len(noise) :]),
            st.just(good + b"{}"),
            st.binary(max_size=50),
            st.just(b"[" * 100_000),
        )
    )
    try:
        made = _native.Tokenizer._from_json(damaged)
    except (TokenizerFormatError, InvalidArgument):
        return
    known = {made.token_bytes(token) for token in range(700)}
    # A name that is damaged leaves a byte without a token.
    assert made.decode_bytes(made.encode("any text")) == bytes(b for b in b"any text" if bytes([b]) in known)


def test_a_file_too_large_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as stream:
        stream.truncate((128 << 20) + 1)
    with pytest.raises(TokenizerFormatError, match="134217729 bytes, more than the limit"):
        Tokenizer.load(path)


LOADING = """
import resource, sys
from stategpt import _native
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
try:
    _native.Tokenizer._load(sys.argv[1])
except Exception:
    pass
print(peak() - before)
"""


def large_files() -> dict[str, str]:
    """Files whose parts are as small as parts can be, so that anything kept of each is much of the file."""
    ids = ",".join(f'"{number:x}":{number}' for number in range(1_000_000))
    return {
        "entries": f'{{"model":{{"vocab":{{{ids}}},"merges":[]}}}}',
        "one entry": '{"model":{"vocab":{' + '"a":0,' * 2_000_000 + '"b":1},"merges":[]}}',
        "merges": '{"model":{"vocab":{"a":0,"b":1,"ab":2},"merges":[' + '"a b",' * 2_000_000 + '"a b"]}}',
        "added": '{"added_tokens":[' + '{"id":1,"content":"a"},' * 500_000 + '{"id":1,"content":"a"}]}',
        "numbers": '{"padding":[' + "0," * 5_000_000 + '0],"model":{"vocab":{},"merges":[]}}',
        "strings": '{"model":{"type":"' + "\\n" * 5_000_000 + '","vocab":{},"merges":[]}}',
    }


@pytest.mark.parametrize("name", ["entries", "one entry", "merges", "added", "numbers", "strings", "qwen3", "llama3"])
def test_loading_takes_memory_in_proportion_to_the_file(name: str, tmp_path: Path) -> None:
    path = VOCABULARIES / f"{name}.json"
    if name in large_files():
        path = tmp_path / "large.json"
        path.write_text(large_files()[name])
    elif not path.exists():
        pytest.skip(f"no {path}: the shared vocabularies are not here")
    done = subprocess.run([sys.executable, "-c", LOADING, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 4 * path.stat().st_size + (16 << 20)
