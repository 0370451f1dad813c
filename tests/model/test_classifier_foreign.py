"""A classifier with the tokenizer of another model: `transformers` reads the same ids and gives equal scores."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
transformers = pytest.importorskip("transformers", reason="parity needs the hf extra (transformers)")
from family_models import CASES  # noqa: E402
from foreign_folders import FOREIGN  # noqa: E402
from foreign_tokenizers import VOCABULARY, foreign  # noqa: E402
from stategpt.errors import ForeignArtifact, TokenizerUnsupported  # noqa: E402
from stategpt.evaluate.classifier import classifier_scores  # noqa: E402
from stategpt.model import GPT, Classifier, SpecialIds  # noqa: E402
from stategpt.model.padding import with_padding  # noqa: E402
from stategpt.model.text_batch import text_ids  # noqa: E402
from stategpt.model.text_ends import with_ends  # noqa: E402
from stategpt.tokenizer import AnyTokenizer, Tokenizer  # noqa: E402

LABELS = ("bad", "good", "neither")
TEXTS = ["The story.", "It is dull, and then it ends in 12 places.\n\n A", "What is it?", "  two ", "naïve café"]
KINDS = ("smollm-llama", "llama3-llama", "llama3-qwen2", "qwen-qwen2", "llama2-mistral", "gemma-gemma2")
FOLDERS = (*FOREIGN, *KINDS)
SMOL, LLAMA3 = "smollm-llama", "llama3-llama"


def load_tokenizer(folder: Path) -> AnyTokenizer:
    try:
        return Tokenizer.load(folder)
    except TokenizerUnsupported:
        return Tokenizer.load(folder, "tokenizers")


def origin(name: str, folder: Path) -> AnyTokenizer:
    """Writes the folder of a model as its publisher would; returns its tokenizer."""
    if name in FOREIGN:
        return FOREIGN[name].write(folder)
    kind, family = name.split("-")
    made = foreign(kind)
    known = {f"{key}_id": made.id(key) for key in ("bos_token", "eos_token", "pad_token") if key in made.special}
    absent: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    CASES[family].model(vocab_size=VOCABULARY, **absent | known).save_pretrained(folder)
    made.write(folder)
    return load_tokenizer(folder)


def published(name: str, folder: Path) -> tuple[Classifier, AnyTokenizer, Path]:
    """A classifier that began with a model of that kind, and its folder."""
    tok = origin(name, folder / "given")
    torch.manual_seed(0)
    model = Classifier(GPT.from_pretrained(folder / "given"), LABELS).eval()
    torch.nn.init.normal_(model.head.weight)
    model.save_pretrained(folder / "saved", tok)
    return model, tok, folder / "saved"


@pytest.mark.parametrize("name", FOLDERS)
def test_transformers_reads_padded_batches_at_the_end_of_each_text(name: str, tmp_path: Path) -> None:
    model, tok, folder = published(name, tmp_path)
    ids = model.gpt.special_ids
    sequences = [text_ids(tok, ids, text, 60) for text in TEXTS]
    assert {sequence[-1] for sequence in sequences} == {ids.eos[0]}
    read = transformers.AutoTokenizer.from_pretrained(folder)
    assert [read(text)["input_ids"] for text in TEXTS] == [sequence.tolist() for sequence in sequences]
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    assert theirs.config.pad_token_id not in (None, ids.eos[0])
    assert read.pad_token_id == theirs.config.pad_token_id
    ours = torch.from_numpy(classifier_scores(model, sequences))
    for side in ("right", "left"):
        batch = read(TEXTS, return_tensors="pt", padding=True, padding_side=side)
        assert (batch["attention_mask"].sum(dim=1) == torch.tensor([len(each) for each in sequences])).all()
        with torch.inference_mode():
            torch.testing.assert_close(theirs(**batch).logits, ours, rtol=1e-4, atol=1e-4)
    long = read(TEXTS[1], truncation=True, max_length=7)["input_ids"]
    assert long == text_ids(tok, ids, TEXTS[1], 7).tolist()


@pytest.mark.parametrize("name", [SMOL, LLAMA3, next(iter(FOREIGN))])
def test_it_comes_back_and_reads_the_same(name: str, tmp_path: Path) -> None:
    model, tok, folder = published(name, tmp_path)
    again, same = Classifier.from_pretrained(folder), load_tokenizer(folder)
    assert (again.labels, again.gpt.initialized_here) == (LABELS, False)
    sequences = [text_ids(tok, model.gpt.special_ids, text, 60) for text in TEXTS]
    assert [text_ids(same, again.gpt.special_ids, text, 60).tolist() for text in TEXTS] == [
        sequence.tolist() for sequence in sequences
    ]
    np.testing.assert_array_equal(classifier_scores(again, sequences), classifier_scores(model, sequences))
    again.save_pretrained(tmp_path / "twice", same)
    for each in folder.iterdir():
        if each.suffix == ".json":
            assert (tmp_path / "twice" / each.name).read_bytes() == each.read_bytes(), each.name


def test_padding_is_the_model_s_own_unless_that_ends_a_text(tmp_path: Path) -> None:
    tok = origin(SMOL, tmp_path / "given")
    special = tok.special_tokens
    end, begin, text = special["<|im_end|>"], special["<|im_start|>"], special["<|endoftext|>"]
    assert with_padding(tok, SpecialIds(begin, (end,), text)) == SpecialIds(begin, (end,), text)
    assert with_padding(tok, SpecialIds(begin, (end,), end)).pad == text
    assert with_padding(tok, SpecialIds(text, (end,), None)).pad not in (None, text, end)


def test_without_another_special_token_texts_are_read_one_by_one(tmp_path: Path) -> None:
    model, tok, folder = published("gpt2-gpt2", tmp_path)
    assert len(tok.special_tokens) == 1
    read = transformers.AutoTokenizer.from_pretrained(folder)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert (read.pad_token, theirs.config.pad_token_id) == (None, None)
    ours = classifier_scores(model, [text_ids(tok, model.gpt.special_ids, text, 60) for text in TEXTS])
    with torch.inference_mode():
        alone = [theirs(**read(text, return_tensors="pt")).logits[0] for text in TEXTS]
    torch.testing.assert_close(torch.stack(alone), torch.from_numpy(ours), rtol=1e-4, atol=1e-4)


def test_two_texts_are_read_at_one_end(tmp_path: Path) -> None:
    model, tok, folder = published(LLAMA3, tmp_path)
    ids = model.gpt.special_ids
    read = transformers.AutoTokenizer.from_pretrained(folder)
    first, second = (tok.encode(text).tolist() for text in TEXTS[:2])
    assert read(*TEXTS[:2])["input_ids"] == [ids.bos, *first, ids.bos, *second, ids.eos[0]]


def test_a_post_processor_keeps_what_it_says_of_positions_and_nothing_else(tmp_path: Path) -> None:
    tok = origin(LLAMA3, tmp_path / "given")
    ids = GPT.from_pretrained(tmp_path / "given").special_ids
    given = (tmp_path / "given" / "tokenizer.json").read_text()
    kinds = [each["type"] for each in json.loads(with_ends(given, tok, ids))["post_processor"]["processors"]]
    assert kinds == ["ByteLevel", "TemplateProcessing"]
    plain = json.loads(with_ends(json.dumps({**json.loads(given), "post_processor": None}), tok, ids))
    assert plain["post_processor"]["type"] == "TemplateProcessing"
    with pytest.raises(ForeignArtifact, match="no name for id 5, which begins or ends a text"):
        with_ends(given, tok, replace(ids, eos=(5,)))
