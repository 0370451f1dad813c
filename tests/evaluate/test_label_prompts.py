"""Few-shot prompts of labels: their exact text, what fits, and scores equal to a brute-force computation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.config import CONTROL_TOKENS, ClassifyConfig, GPTConfig  # noqa: E402
from stategpt.data.records import LabeledText  # noqa: E402
from stategpt.errors import ContextOverflow  # noqa: E402
from stategpt.evaluate.label_prompts import WITHOUT_CONTENT, LabelPrompt  # noqa: E402
from stategpt.model import GPT, SpecialIds  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing import Layout  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402

LABELS = ("bad", "good")
EXAMPLES = (LabeledText("Slow\nand  dull.", "bad"), LabeledText("What a joy!", "good"))
SHAPE = GPTConfig(vocab_size=272, depth=1, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=48, context_tokens=256)


@pytest.fixture(scope="module")
def tok() -> Tokenizer:
    """Bytes and control tokens."""
    return Tokenizer.train(["a"], 272, special_tokens=list(CONTROL_TOKENS))


@pytest.fixture(scope="module")
def model() -> GPT:
    """Random weights, large enough for clear preferences."""
    torch.manual_seed(0)
    made = GPT(SHAPE, SpecialIds(bos=0, eos=(0,), pad=1)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(2.0)
    return made


def _prompt(tok: Tokenizer, examples: tuple[LabeledText, ...] = EXAMPLES, **settings: Any) -> LabelPrompt:
    config = ClassifyConfig(template="Review: {text}\nIs it good? {label}", verbalizers={"bad": "no", "good": "yes"})
    return LabelPrompt(tok, replace(config, **settings), LABELS, examples)


def test_the_prompt_is_the_examples_then_the_text_without_its_label(tok: Tokenizer) -> None:
    assert _prompt(tok).document("A film about trees.") == (
        "Review: Slow and dull.\nIs it good? no\n\n"
        "Review: What a joy!\nIs it good? yes\n\n"
        "Review: A film about trees.\nIs it good?"
    )
    assert [tok.decode(ids) for ids in _prompt(tok).answers()] == [" no", " yes"]


def test_examples_and_the_text_are_cut_to_their_first_tokens(tok: Tokenizer) -> None:
    shown = _prompt(tok, shot_tokens=4, max_tokens=6).document("A film about trees.")
    assert shown == "Review: Slow\nIs it good? no\n\nReview: What\nIs it good? yes\n\nReview: A film\nIs it good?"
    assert (
        _prompt(tok, (), max_tokens=3).document("ab\u00e9") == "Review: ab\nIs it good?"
    )  # half a character is left out


def _brute_force(model: GPT, prompt: LabelPrompt, text: str) -> np.ndarray:
    """Log-probability of every label's word, token by token, each from a forward pass by itself."""
    head = [model.special_ids.bos, *prompt.tok.encode(prompt.document(text)).tolist()]
    sums = []
    for answer in prompt.answers():
        read, total = list(head), 0.0
        for token in answer.tolist():
            layout = TensorLayout.of(Layout.packed([[len(read)]], len(read)), torch.device("cpu"))
            with torch.inference_mode():
                logits = model(torch.tensor(read), layout)[-1].double()
            total += float(torch.log_softmax(logits, dim=-1)[token])
            read.append(token)
        sums.append(total)
    return np.array(sums) - np.logaddexp.reduce(sums)


def test_scores_are_those_of_a_brute_force_computation(tok: Tokenizer, model: GPT) -> None:
    texts = ["Good.", "A film about trees that goes nowhere.", "Bad"]
    prompt = _prompt(tok, calibrate=False)
    found, tokens = prompt.scores(model, texts)
    np.testing.assert_allclose(found, [_brute_force(model, prompt, text) for text in texts], rtol=1e-4, atol=1e-5)
    assert tokens == sum(1 + tok.count(prompt.document(text)) for text in texts)


def test_calibration_is_relative_to_texts_without_content(tok: Tokenizer, model: GPT) -> None:
    texts = ["Good.", "Bad"]
    prompt = _prompt(tok)
    without = np.exp([_brute_force(model, prompt, text) for text in WITHOUT_CONTENT]).mean(axis=0)
    expected = np.array([_brute_force(model, prompt, text) for text in texts]) - np.log(without)
    np.testing.assert_allclose(prompt.scores(model, texts)[0], expected, rtol=1e-4, atol=1e-5)


def test_as_many_balanced_examples_as_fit_the_context(tok: Tokenizer, model: GPT) -> None:
    drawn = [LabeledText(f"text {number}", LABELS[number % 2]) for number in range(20)]
    config = ClassifyConfig(max_tokens=40, shot_tokens=16)
    prompt = LabelPrompt.fitting(model, tok, config, LABELS, drawn)
    assert prompt.examples == tuple(drawn[: len(prompt.examples)])
    assert len(prompt.examples) % 2 == 0
    assert prompt.longest(model) <= 256
    more = replace(prompt, examples=tuple(drawn[: len(prompt.examples) + 2]))
    assert more.longest(model) > 256
    assert len(LabelPrompt.fitting(model, tok, config, LABELS, drawn[:3]).examples) == 2
    assert not LabelPrompt.fitting(model, tok, replace(config, shots=1), LABELS, drawn).examples
    with pytest.raises(ContextOverflow, match=r"classify\.max_tokens = 300"):
        LabelPrompt.fitting(model, tok, replace(config, max_tokens=300), LABELS, drawn)
