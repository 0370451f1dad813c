"""The engine: what it samples, whether batch-mates matter, how completions end, and what it refuses."""

import copy
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="sampling needs the train extra (torch)")

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.data import chat_prompt  # noqa: E402
from stategpt.errors import ContextOverflow, ForeignArtifact, InvalidArgument, UnknownToken  # noqa: E402
from stategpt.generate import Engine  # noqa: E402
from stategpt.model import GPT, SpecialIds, log_probs  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402
from tiny_models import full_logits, tiny_model, tiny_tokenizer  # noqa: E402

CONTEXT_TOKENS = 40


@pytest.fixture(scope="module")
def tok() -> Tokenizer:
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def model() -> GPT:
    return tiny_model(context_tokens=CONTEXT_TOKENS, spread=0.15)


@pytest.fixture(scope="module")
def engine(model, tok) -> Engine:
    return Engine(model, tok)


def all_but(tok: Tokenizer, *allowed: int) -> list[int]:
    return [token for token in range(tok.vocab_size) if token not in allowed]


def letters(tok: Tokenizer, text: str) -> list[int]:
    """The ids of single letters."""
    return [next(t for t in range(16, tok.vocab_size) if tok.token_bytes(t) == letter.encode()) for letter in text]


def prompts(tok: Tokenizer) -> list:
    return [chat_prompt(tok, text) for text in ("Return", "What does the list do?", "key", "Return the length of")]


def test_greedy_is_the_argmax_of_the_full_forward(engine, model, tok):
    for completion, prompt in zip(
        engine.generate(prompts(tok), temperature=0, max_tokens=12), prompts(tok), strict=True
    ):
        ids = list(prompt)
        for token, log_prob in zip(completion.ids, completion.log_probs, strict=True):
            expected = log_probs(full_logits(model, ids)[-1:], 1.0, engine.control.forbidden)[0]
            assert token == expected.argmax().item()
            assert log_prob == pytest.approx(expected.max().item(), abs=1e-4)
            ids.append(int(token))


@pytest.mark.parametrize(("top_k", "top_p"), [(None, None), (5, None), (None, 0.8)])
def test_log_probabilities_are_those_of_the_full_forward(engine, model, tok, top_k, top_p):
    from stategpt.generate.truncation import Limits, truncate

    found = engine.generate(prompts(tok), n=3, temperature=0.7, top_k=top_k, top_p=top_p, max_tokens=10)
    for completion in found:
        prompt = prompts(tok)[completion.prompt_index]
        logits = full_logits(model, [*prompt, *completion.ids])[len(prompt) - 1 : -1]
        expected = truncate(log_probs(logits, 0.7, engine.control.forbidden), Limits.equal(logits, top_k, top_p))
        chosen = expected[torch.arange(len(completion.ids)), torch.from_numpy(completion.ids.astype(np.int64))]
        np.testing.assert_allclose(completion.log_probs, chosen.numpy(), atol=1e-4)


@pytest.mark.parametrize("batch_rows", [1, 3, 256])
def test_a_sample_is_the_same_alone_and_in_any_batch(engine, model, tok, batch_rows):
    together = engine.generate(prompts(tok), n=4, seed=11, max_tokens=15)
    assert [(c.prompt_index, c.sample_index) for c in together] == list(itertools.product(range(4), range(4)))
    assert len({completion.ids.tobytes() for completion in together}) == 16
    other = Engine(model, tok, batch_rows=batch_rows)
    for prompt_index, prompt in enumerate(prompts(tok)):
        alone = other.generate([prompt], n=2, seed=11, max_tokens=15, first_stream=prompt_index)
        for ours, theirs in zip(alone, together[4 * prompt_index :], strict=False):
            assert ours.ids.tolist() == theirs.ids.tolist()
            np.testing.assert_allclose(ours.log_probs, theirs.log_probs, atol=1e-5)


def test_streams_and_seeds_change_samples_and_may_be_given_one_by_one(engine, tok):
    prompt = prompts(tok)[0]

    def first(**settings) -> list[int]:
        return engine.generate([prompt], max_tokens=15, **settings)[0].ids.tolist()

    assert first(seed=1) == first(seed=1) != first(seed=2)
    assert first(first_stream=3) != first(first_stream=4)
    listed = engine.generate([prompt, prompt], first_stream=[4, 3], max_tokens=15)
    assert [c.ids.tolist() for c in listed] == [first(first_stream=4), first(first_stream=3)]


def test_two_tokens_are_drawn_as_often_as_the_model_says(engine, model, tok):
    """Chi-square over the 16 pairs of 4 tokens: 37.7 is exceeded once in a thousand seeds (15 degrees of freedom)."""
    chosen, prompt, draws = letters(tok, "aeiu"), prompts(tok)[0], 4000
    forbidden = all_but(tok, *chosen)
    counts = dict.fromkeys(itertools.product(chosen, chosen), 0)
    for completion in engine.generate([prompt], n=draws, max_tokens=2, forbidden=forbidden, seed=3, temperature=0.9):
        counts[tuple(completion.ids.tolist())] += 1
    first = log_probs(full_logits(model, prompt)[-1:], 0.9, forbidden)[0].double().exp()
    statistic = 0.0
    for (one, two), count in counts.items():
        second = log_probs(full_logits(model, [*prompt, one])[-1:], 0.9, forbidden)[0].double().exp()
        expected = draws * float(first[one] * second[two])
        statistic += (count - expected) ** 2 / expected
    assert statistic < 37.7


def test_end_of_text_is_an_action_with_a_log_probability_and_no_text(engine, model, tok):
    end, letter = engine.control.end_of_text, letters(tok, "a")[0]
    forbidden = all_but(tok, end, letter)
    found = engine.generate([prompts(tok)[0]], n=20, forbidden=forbidden, max_tokens=6)
    ended = [completion for completion in found if completion.ended]
    assert ended
    for completion in found:
        assert completion.ended == (completion.reason == "end") == (completion.ids[-1] == end)
        assert len(completion.log_probs) == len(completion.ids)
        assert completion.text == "a" * (len(completion.ids) - completion.ended)
    prompt = prompts(tok)[0]
    logits = full_logits(model, [*prompt, *ended[0].ids])[len(prompt) - 1 : -1]
    assert ended[0].log_probs[-1] == pytest.approx(log_probs(logits, 1.0, forbidden)[-1, end].item(), abs=1e-5)


def test_control_tokens_are_never_sampled_unless_allowed(engine, tok):
    flat = engine.generate(prompts(tok), n=50, temperature=50.0, max_tokens=8)  # nearly uniform
    drawn = {int(token) for completion in flat for token in completion.ids}
    assert not drawn & set(engine.control.forbidden)
    freed = engine.generate(prompts(tok), n=50, temperature=50.0, max_tokens=8, forbidden=())
    assert {int(token) for completion in freed for token in completion.ids} & set(engine.control.forbidden)


def test_a_stop_string_ends_the_completion_and_is_cut_from_its_text_but_not_from_its_ids(engine, tok):
    forbidden = all_but(tok, *letters(tok, "abc"))
    found = engine.generate([prompts(tok)[0]], n=60, forbidden=forbidden, stop=["ba", "bbb"], max_tokens=4)
    assert {completion.reason for completion in found} == {"stop", "length"}
    for completion in found:
        written = tok.decode(completion.ids)
        if completion.reason == "stop":
            assert written in (completion.text + "ba", completion.text + "bbb")
        else:
            assert written == completion.text
        assert "ba" not in completion.text
        assert "bbb" not in completion.text


def test_a_stop_changes_nothing_before_it(engine, tok):
    free = engine.generate(prompts(tok), n=5, max_tokens=12)
    stopped = engine.generate(prompts(tok), n=5, max_tokens=12, stop=["e"])
    for ours, theirs in zip(stopped, free, strict=True):
        assert ours.ids.tolist() == theirs.ids[: len(ours.ids)].tolist()
        assert theirs.text.startswith(ours.text)


def test_max_tokens_and_the_context_cut_completions(engine, tok):
    forbidden = all_but(tok, *letters(tok, "ab"))
    long_prompt = np.full(CONTEXT_TOKENS - 3, letters(tok, "a")[0], dtype=np.uint32)
    short, long = engine.generate([prompts(tok)[0], long_prompt], forbidden=forbidden, max_tokens=5)
    assert (len(short.ids), short.reason) == (5, "length")
    assert (len(long.ids), long.reason) == (3, "length")


def test_a_string_prompt_is_the_beginning_of_a_document(engine, tok):
    end = np.array([engine.control.end_of_text], dtype=np.uint32)
    by_text = engine.generate(["Return the"], n=3)
    by_ids = engine.generate([np.concatenate([end, tok.encode("Return the")])], n=3)
    assert [c.ids.tolist() for c in by_text] == [c.ids.tolist() for c in by_ids]


@pytest.mark.parametrize("stop", [(), ("e",), (" th", "is")])
def test_a_stream_is_generates_text_in_pieces(engine, tok, stop):
    for seed in range(6):
        whole = engine.generate(["Return"], seed=seed, stop=stop, max_tokens=20)[0]
        assert "".join(engine.stream("Return", seed=seed, stop=stop, max_tokens=20)) == whole.text


def test_a_stream_does_not_leave_its_reader_in_inference_mode(engine):
    stream = engine.stream("Return", max_tokens=3)
    next(stream, None)
    assert not torch.is_inference_mode_enabled()


def test_progress_counts_every_completion(engine, tok):
    calls: list[tuple[int, int]] = []
    engine.generate(prompts(tok), n=2, max_tokens=4, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 8) for done in range(1, 9)]


def test_no_prompts_give_no_completions(engine):
    assert engine.generate([]) == []


def test_bfloat16_gives_samples_too(model, tok):
    found = Engine(model, tok, precision="bfloat16").generate(prompts(tok), n=2, max_tokens=6)
    assert all(np.isfinite(completion.log_probs).all() for completion in found)


def test_ids_a_padded_vocabulary_has_beyond_the_tokenizers_are_never_drawn(tok):
    torch.manual_seed(0)
    padded = GPT(
        GPTConfig(vocab_size=tok.vocab_size + 300, depth=1, width=8, heads=1, kv_heads=1, head_dim=8, mlp_width=8)
    )
    found = Engine(padded, tok).generate(["a"], n=50, max_tokens=4, forbidden=())
    assert max(int(completion.ids.max()) for completion in found) < tok.vocab_size


def test_what_cannot_be_sampled_is_refused_with_the_prompts_number(engine, model, tok):
    fitting = prompts(tok)[0]
    with pytest.raises(ContextOverflow, match=f"prompt 1 has {CONTEXT_TOKENS} tokens, the context {CONTEXT_TOKENS}"):
        engine.generate([fitting, np.full(CONTEXT_TOKENS, 20, dtype=np.uint32)])
    with pytest.raises(UnknownToken, match=f"prompt 0 holds id {tok.vocab_size}"):
        engine.generate([np.array([0, tok.vocab_size], dtype=np.uint32)])
    with pytest.raises(InvalidArgument, match="prompt 0 has no tokens"):
        engine.generate([np.array([], dtype=np.uint32)])
    with pytest.raises(InvalidArgument, match="n is 0"):
        engine.generate([fitting], n=0)
    with pytest.raises(InvalidArgument, match="2 random streams for 1 prompts"):
        engine.generate([fitting], first_stream=[1, 2])
    with pytest.raises(InvalidArgument, match="would stop at once"):
        engine.generate([fitting], stop=[""])
    small = GPT(GPTConfig(vocab_size=20, depth=1, width=8, heads=1, kv_heads=1, head_dim=8, mlp_width=8))
    with pytest.raises(ForeignArtifact, match="load the tokenizer that was saved with the model"):
        Engine(small, tok)


def test_every_end_id_of_the_model_ends_a_completion(model, tok):
    first = int(tok.encode("Return")[0])
    ends = copy.deepcopy(model)
    ends.special_ids = SpecialIds(bos=0, eos=(first, 7), pad=1)
    engine = Engine(ends, tok)
    assert engine.end_ids == (0, first, 7)
    for end in engine.end_ids:
        (one,) = engine.generate(prompts(tok)[:1], max_tokens=5, forbidden=all_but(tok, end))
        assert (one.ids.tolist(), one.ended, one.reason, one.text) == ([end], True, "end", "")
        assert list(engine.stream(prompts(tok)[0], max_tokens=5, forbidden=all_but(tok, end))) == []
        (stopped,) = engine.generate(prompts(tok)[:1], max_tokens=5, forbidden=all_but(tok, end), stop=["zz"])
        assert (stopped.ids.tolist(), stopped.reason, stopped.text) == ([end], "end", "")
    (one,) = Engine(model, tok).generate(prompts(tok)[:1], max_tokens=5, forbidden=all_but(tok, first))
    assert (one.ids.tolist(), one.reason) == ([first] * 5, "length")


def test_control_tokens_that_end_a_text_are_not_forbidden(model, tok):
    ends = copy.deepcopy(model)
    ends.special_ids = SpecialIds(eos=(0, 7))
    assert set(Engine(model, tok).sampling().forbidden) - set(Engine(ends, tok).sampling().forbidden) == {7}


def test_one_string_where_a_list_is_meant_is_refused_with_the_remedy(engine):
    with pytest.raises(InvalidArgument, match=r"prompts is of type str; .*generate\(\[prompt\]\)"):
        engine.generate("Hello")
    with pytest.raises(InvalidArgument, match=r"stop is of type str; .*stop=\['Use'\]"):
        engine.generate(["Hello"], stop="Use")
    with pytest.raises(InvalidArgument, match=r"stop is of type str"):
        engine.stream("Hello", stop="Use")
    with pytest.raises(InvalidArgument, match=r"prompts is one vector of ids, int64\[2\]"):
        engine.generate(np.array([1, 2]))


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ({"role": "user", "content": "hi"}, "prompt 0 is a dict; .*chat_prompt"),
        ([{"role": "user", "content": "hi"}], "prompt 0 is a list of dict; .*chat_prompt"),
        (["Hello"], "prompt 0 is a list of str"),
        (b"Hello", "prompt 0 is a bytes"),
        (None, "prompt 0 is a NoneType"),
        (3, r"prompt 0 is int64\[\]"),
        (np.array([1.0, 2.0]), r"prompt 0 is float64\[2\]"),
        (np.array([[1, 2]]), r"prompt 0 is int64\[1, 2\]"),
        ([[1, 2], [3]], "prompt 0 is a list that is no vector of ids"),
    ],
)
def test_a_prompt_that_is_neither_text_nor_ids_is_refused_by_its_type(engine, prompt, found):
    with pytest.raises(InvalidArgument, match=found):
        engine.generate([prompt])
    with pytest.raises(InvalidArgument, match=found):
        engine.stream(prompt)


def test_ids_of_any_whole_number_type_are_taken_and_negative_ones_refused(engine, tok):
    fitting = prompts(tok)[0]
    asked = [fitting.astype(np.int64), fitting.tolist(), torch.from_numpy(fitting.astype(np.int32)), fitting]
    answers = [engine.generate([prompt], temperature=0, max_tokens=3)[0].ids.tolist() for prompt in asked]
    assert answers[1:] == answers[:-1]
    with pytest.raises(UnknownToken, match="prompt 0 holds id -1"):
        engine.generate([[3, -1]])


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ({"n": 1.5}, "n is 1.5; it must be a whole number"),
        ({"max_tokens": "9"}, "max_tokens is '9'"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"temperature": "0"}, "temperature is '0'; it must be a number"),
        ({"top_k": 2.5}, "top_k is 2.5"),
        ({"top_p": "x"}, "top_p is 'x'"),
        ({"forbidden": "ab"}, "forbidden is of type str"),
        ({"forbidden": [0.5]}, "an id in forbidden is 0.5"),
        ({"stop": [3]}, "stop holds 3; stop strings are strings"),
        ({"first_stream": "x"}, "first_stream is 'x'"),
        ({"first_stream": 0.5}, "first_stream is 0.5"),
    ],
)
def test_a_setting_of_the_wrong_type_is_named(engine, setting, found):
    with pytest.raises(InvalidArgument, match=found):
        engine.generate(["Return"], **setting)


def test_more_completions_than_any_memory_holds_are_refused(engine):
    for n in (2**31, 2**40):
        with pytest.raises(InvalidArgument, match=r"at most 4,194,304 completions"):
            engine.generate(["Return"], n=n)


def test_an_engine_of_the_wrong_parts_is_refused_and_has_a_short_repr(engine, model, tok):
    with pytest.raises(InvalidArgument, match=r"model is of type GPTConfig; it must be a GPT"):
        Engine(model.config, tok)
    with pytest.raises(InvalidArgument, match=r"tok is of type str; .*sg\.Tokenizer\.load"):
        Engine(model, "tokenizer.json")
    with pytest.raises(InvalidArgument, match="precision is 'fp8'"):
        Engine(model, tok, precision="fp8")
    assert "width=32" in repr(engine)
    assert len(repr(engine)) < 200
