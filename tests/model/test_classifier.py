"""A classifier reads the last token of each text, whatever shares its row, and loads elsewhere with equal scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.config import CONTROL_TOKENS, GPTConfig  # noqa: E402
from stategpt.config.control import END_OF_TEXT, PAD  # noqa: E402
from stategpt.errors import CorruptArtifact, InvalidArgument  # noqa: E402
from stategpt.model import GPT, Classifier, RewardModel, SpecialIds  # noqa: E402
from stategpt.model.sequence_head import SequenceModel  # noqa: E402
from stategpt.model.text_batch import TextBatch, beginning, by_length, ending, filled_rows, filler, text_ids  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing import Layout  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402

LABELS = ("bad", "good", "neither")
OURS = SpecialIds(
    bos=CONTROL_TOKENS.index(END_OF_TEXT), eos=(CONTROL_TOKENS.index(END_OF_TEXT),), pad=CONTROL_TOKENS.index(PAD)
)
SHAPE = GPTConfig(vocab_size=300, depth=2, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=48, context_tokens=64)


@pytest.fixture
def classifier() -> Classifier:
    """Random weights; a head of size 1, so that positions differ visibly."""
    torch.manual_seed(0)
    model = Classifier(GPT(SHAPE, OURS), LABELS).eval()
    torch.nn.init.normal_(model.head.weight)
    return model


def _sequences(lengths: tuple[int, ...]) -> list[np.ndarray]:
    draw = np.random.default_rng(1)
    return [draw.integers(20, 300, size=length).astype(np.uint32) for length in lengths]


def _alone(model: Classifier, sequence: np.ndarray) -> torch.Tensor:
    """Scores of one text in a row by itself: the head on the hidden state of its last token."""
    tokens = torch.from_numpy(sequence.astype(np.int64))
    layout = TensorLayout.of(Layout.packed([[len(sequence)]], len(sequence)), torch.device("cpu"))
    return model.gpt.hidden(tokens, layout)[-1] @ model.head.weight.T


def test_each_text_is_read_at_its_last_token_also_in_shared_rows(classifier: Classifier) -> None:
    sequences = _sequences((5, 17, 1, 9, 30, 3))
    batch = TextBatch.of(sequences, 3, torch.device("cpu"))
    assert batch.tokens_N.numel() == 96  # three rows of 32, not six
    with torch.inference_mode():
        scores = classifier.scores(batch.tokens_N, batch.layout, batch.last_S)
        alone = torch.stack([_alone(classifier, sequence) for sequence in sequences])
    torch.testing.assert_close(scores, alone, rtol=1e-4, atol=1e-5)


def test_rows_hold_every_text_once_and_never_overflow() -> None:
    lengths = [7, 3, 12, 5, 5, 1, 12, 9]
    rows = filled_rows(lengths, 12)
    assert sorted(member for row in rows for member in row) == list(range(8))
    assert all(sum(lengths[member] for member in row) <= 12 for row in rows)
    assert len(rows) == 5  # 54 tokens need at least 5


def test_batches_by_length_hold_every_text_once() -> None:
    batches = list(by_length(_sequences((5, 17, 1, 9, 30, 3)), 20))
    assert sorted(number for batch in batches for number in batch) == list(range(6))
    assert batches[0] == [2, 5, 0, 3]
    assert batches[-1] == [4]


@pytest.fixture(scope="module")
def tok() -> Tokenizer:
    """Bytes and control tokens."""
    return Tokenizer.train(["a"], 272, special_tokens=list(CONTROL_TOKENS))


def test_a_text_begins_and_ends_as_the_model_s_texts_do_and_keeps_its_first_tokens(tok: Tokenizer) -> None:
    ours = OURS
    assert text_ids(tok, ours, "abcdef", 5).tolist() == [ours.bos, *tok.encode("abc").tolist(), *ours.eos]
    assert text_ids(tok, ours, "", 5).tolist() == [ours.bos, *ours.eos]
    filled = SpecialIds(bos=None, eos=(7,), pad=7)  # rows are filled with its end
    assert text_ids(tok, filled, "abcdef", 4).tolist() == [*tok.encode("abc").tolist(), 7]
    endless = SpecialIds(bos=None, eos=(), pad=7)
    assert text_ids(tok, endless, "abcdef", 4).tolist() == tok.encode("abcd").tolist()
    assert text_ids(tok, endless, "", 4).tolist() == [0]


def test_what_begins_and_ends_a_text_and_fills_a_row_is_the_model_s() -> None:
    assert beginning(SpecialIds(bos=5)).tolist() == [5]
    assert beginning(SpecialIds(bos=None)).tolist() == []
    assert [ending(SpecialIds(eos=eos, pad=9)).tolist() for eos in ((5, 6), (9,), ())] == [[5], [9], []]
    assert [filler(SpecialIds(bos=5, pad=9)), filler(SpecialIds(pad=None, bos=5))] == [9, 5]
    assert filler(SpecialIds(pad=None, bos=None)) == 0


def test_labels_are_two_or_more_different_names() -> None:
    for labels in ((), ("a",), ("a", "a")):
        with pytest.raises(InvalidArgument, match="two or more different names"):
            Classifier(GPT(SHAPE), labels)


def test_a_reward_model_and_a_classifier_share_their_head() -> None:
    assert issubclass(RewardModel, SequenceModel)
    assert issubclass(Classifier, SequenceModel)
    model = Classifier(GPT(SHAPE), LABELS)
    assert model.head.weight.shape == (3, 32)
    assert model.learning_rate_scales() == {"head.weight": pytest.approx(32**0.5)}


def test_a_saved_classifier_comes_back_with_its_labels(classifier: Classifier, tok: Tokenizer, tmp_path: Path) -> None:
    classifier.save_pretrained(tmp_path, tok)
    again = Classifier.from_pretrained(tmp_path)
    assert again.labels == LABELS
    for (name, mine), (_, theirs) in zip(classifier.named_parameters(), again.named_parameters(), strict=True):
        assert torch.equal(mine, theirs), name


@pytest.mark.parametrize("found", [{"0": "a"}, {"0": "a", "2": "b"}, {"1": "a", "2": "b"}])
def test_labels_whose_numbers_are_not_those_of_the_head_are_refused(
    found: dict[str, str], classifier: Classifier, tmp_path: Path
) -> None:
    classifier.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"id2label": found}))
    with pytest.raises(CorruptArtifact, match="id2label"):
        Classifier.from_pretrained(tmp_path)


def test_transformers_loads_it_with_equal_scores_and_names(
    classifier: Classifier, tok: Tokenizer, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    classifier.save_pretrained(tmp_path, tok)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert theirs.config.id2label == dict(enumerate(LABELS))
    read = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = ["A dull film.", "Good", "It was neither good nor bad, and went by."]
    sequences = [text_ids(tok, classifier.gpt.special_ids, text, 64) for text in texts]
    padded = read(texts, return_tensors="pt", padding=True)
    assert padded["input_ids"][1][padded["attention_mask"][1] == 1].tolist() == sequences[1].tolist()
    batch = TextBatch.of(sequences, filler(classifier.gpt.special_ids), torch.device("cpu"))
    with torch.inference_mode():
        ours = classifier.scores(batch.tokens_N, batch.layout, batch.last_S)
        torch.testing.assert_close(theirs(**padded).logits, ours, rtol=1e-4, atol=1e-5)
