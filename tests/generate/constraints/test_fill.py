"""Blanks filled by an engine, the tax of a constraint, and drafts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("llguidance", reason="constraints need the extra of that name")

from constrained import SPECIAL, token_ids  # noqa: E402
from stategpt.errors import ConstraintError  # noqa: E402
from stategpt.generate import Engine  # noqa: E402
from stategpt.generate.constraints import (  # noqa: E402
    choice,
    draft_then_constrain,
    fill,
    json_schema,
    measure_tax,
    regex,
    template,
)
from stategpt.generate.constraints.tax import allowed_log_mass  # noqa: E402


def test_blanks_are_values_of_their_types(engine: Engine) -> None:
    for seed in range(4):
        found = fill(
            engine, 'Answer: {number:int} of {share:float}, {verdict:yes|no}, {code:/[A-Z]{2}/} {data}!', prompt="So ",
            specs={"data": json_schema({"enum": [["a"], {"b": None}]})}, seed=seed,
        )  # fmt: skip
        assert list(found) == ["number", "share", "verdict", "code", "data"]
        assert isinstance(found["number"], int)
        assert isinstance(found["share"], float)
        assert found["verdict"] in ("yes", "no")
        assert found["code"].isupper()
        assert found["data"] in (["a"], {"b": None})


def test_texts_of_a_template_are_forced_without_the_model(engine: Engine) -> None:
    spec = template("The answer is {verdict:yes|no}, and that is all there is to say.")
    made = engine.generate(["x"], constraint=spec, max_tokens=64, raw_log_probs=True)[0]
    assert made.text in (f"The answer is {word}, and that is all there is to say." for word in ("yes", "no"))
    assert made.reason in ("end", "constraint")
    assert np.isnan(made.raw_log_probs).sum() > len(made.ids) // 2


def test_a_text_that_is_cut_is_an_error(engine: Engine) -> None:
    with pytest.raises(ConstraintError, match=r"cut after 3 tokens .*max_tokens"):
        fill(engine, "The answer is {number:int}, surely.", prompt="x", max_tokens=3)


def test_the_same_seed_fills_alike(engine: Engine) -> None:
    ask = "{a:int} and {b:number}"
    assert fill(engine, ask, prompt="x", seed=5) == fill(engine, ask, prompt="x", seed=5)
    assert len({str(fill(engine, ask, prompt="x", seed=seed)) for seed in range(5)}) > 1


def test_many_samples_of_one_constraint_are_all_valid(engine: Engine) -> None:
    spec = json_schema({"type": "object", "properties": {"a": {"enum": [1, 2, "<|endoftext|>"]}}, "required": ["a"],
                        "additionalProperties": False})  # fmt: skip
    made = engine.generate(["x", "y z"], n=8, constraint=spec, max_tokens=40)
    values = [json.loads(one.text)["a"] for one in made]
    assert {*map(str, values)} >= {"1", "2"}
    end = engine.tok.special_tokens["<|endoftext|>"]
    assert all(end not in one.ids[:-1].tolist() for one in made)


def test_allowed_mass_is_the_sum_of_what_the_mask_allows() -> None:
    chance = np.random.default_rng(0)
    logits_MV = torch.from_numpy(chance.normal(size=(5, 75)).astype(np.float32) * 3)
    masks_MW = chance.integers(0, 2**32, size=(5, 3), dtype=np.uint64).astype(np.uint32)
    found_M = allowed_log_mass(logits_MV, masks_MW)
    for row in range(5):
        probability = logits_MV[row].double().softmax(dim=0).numpy()
        wanted = sum(probability[token] for token in token_ids(masks_MW[row]) if token < 75)
        assert math.isclose(float(found_M[row]), math.log(wanted), rel_tol=1e-5)


def test_the_tax_is_what_the_mask_removed_at_each_token(engine: Engine) -> None:
    spec = choice(["yes, it is", "no", "never"])
    prompt = engine.tok.encode("is it so? ")
    made = engine.generate([prompt], constraint=spec, temperature=1.0, max_tokens=20)[0]
    state = spec.compile(engine.tok, engine.model.config.vocab_size, engine.end_ids)
    tax = measure_tax(engine, prompt, made.ids, state)
    assert len(tax.nats) == len(made.ids)
    ids = np.concatenate([prompt, made.ids])
    for place in range(len(made.ids)):
        before = ids[: len(prompt) + place]
        allowed = token_ids(state.mask())
        masses = [
            float(np.exp(engine.score([before], [np.array([token], dtype=np.uint32)])[0][0])) for token in allowed
        ]
        # `score` leaves padding out of the sum, whose 29 rows of a random model hold some percent
        assert math.isclose(tax.nats[place], -math.log(sum(masses)), abs_tol=0.1)
        assert tax.forced[place] == (len(allowed) == 1)
        state.advance(int(made.ids[place]))
    assert tax.per_token == pytest.approx(tax.total / len(made.ids))


def test_what_may_be_anything_costs_little_and_one_text_much(engine: Engine) -> None:
    vocabulary = engine.model.config.vocab_size
    prompt, ids = engine.tok.encode("abc"), engine.tok.encode("some plain words")
    free = measure_tax(engine, prompt, ids, regex("(?s:.*)").compile(engine.tok, vocabulary, engine.end_ids))
    assert 0 < free.per_token < 0.4  # control tokens, padding, and bytes that continue no character
    assert not free.forced.any()
    strict = measure_tax(engine, prompt, engine.tok.encode("zzz"), choice(["zzz"]).compile(
        engine.tok, engine.model.config.vocab_size, engine.end_ids))  # fmt: skip
    assert strict.per_token > 4
    assert strict.forced.all()


def test_a_draft_is_written_where_the_tax_is_high_and_not_where_it_is_low(engine: Engine) -> None:
    spec = choice(["yes", "no"])
    made = draft_then_constrain(engine, "is it? ", spec, draft_tokens=6, bridge=" so: ")
    assert made.first_tax.per_token > 0.5
    assert made.draft is not None
    assert made.completion.text in ("yes", "no")
    lenient = draft_then_constrain(engine, "is it? ", spec, threshold=1000.0)
    assert lenient.draft is None
    assert lenient.tax is lenient.first_tax
    always = draft_then_constrain(engine, "is it? ", regex("(?s:.{1,3})"), threshold=0.0, draft_tokens=3)
    assert always.draft is not None


def test_the_prompt_of_a_draft_is_computed_once(engine: Engine) -> None:
    prompt = engine.tok.encode("a long prompt " * 6)
    made = draft_then_constrain(engine, prompt, choice(["yes", "no"]), draft_tokens=4)
    assert made.draft is not None
    assert made.draft.usage.cached_tokens + 1 >= len(prompt)
    assert made.completion.usage.cached_tokens >= len(prompt)


def test_control_tokens_in_a_template_stay_text(engine: Engine) -> None:
    for text in SPECIAL:
        found = engine.generate(["x"], constraint=template(f"{text} {{a:int}}"), max_tokens=60)[0]
        assert found.text.startswith(text)
        assert not {*found.ids[:-1].tolist()} & {*engine.tok.special_tokens.values()}
