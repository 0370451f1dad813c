"""Bits per byte count every byte and the end of every document, whatever the batches and the rows."""

import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="models need the train extra")

from stategpt.config import CONTROL_TOKENS, GPTConfig  # noqa: E402
from stategpt.data import ControlTokens, write_shards  # noqa: E402
from stategpt.data.corpus import SplitDocuments  # noqa: E402
from stategpt.data.records import Document  # noqa: E402
from stategpt.errors import ContextOverflow  # noqa: E402
from stategpt.evaluate import bits  # noqa: E402
from stategpt.evaluate.bits import document_nats, token_nats  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.model.token_batch import TokenBatch  # noqa: E402
from stategpt.packing import Shards, pack  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402
from stategpt.train.losses import next_token_loss  # noqa: E402

WORDS = ["file", "é"] * 9
DOCUMENTS = [f"Return the {word} of the {word} at place {n}.\n" * (1 + n % 5 * 3) for n, word in enumerate(WORDS)]
SPLIT = SplitDocuments(
    [Document("not this", "s", "a")],
    [Document("nor this", "s", "b")],
    [Document(text, "s", f"m{n % 4}") for n, text in enumerate(["", *DOCUMENTS])],
)
ROW_TOKENS = 32


@pytest.fixture(scope="module")
def tok() -> Tokenizer:
    return Tokenizer.train(DOCUMENTS, vocab_size=320, special_tokens=list(CONTROL_TOKENS))


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    config = GPTConfig(
        vocab_size=320, depth=2, width=32, heads=2, kv_heads=1, head_dim=16, mlp_width=48, context_tokens=64
    )
    gpt = GPT(config)
    with torch.no_grad():
        for parameter in gpt.parameters():
            parameter.mul_(3)  # far from uniform, so that a wrong target would show
    return gpt.eval()


def one_by_one(model: GPT, ids: np.ndarray, end: int) -> float:
    """The definition: a document's segment cut into rows, each scored alone, without padding."""
    stream = torch.tensor([end, *ids.tolist(), end])
    total = 0.0
    for start in range(0, len(stream) - 1, ROW_TOKENS):
        piece = stream[start : start + ROW_TOKENS + 1]
        batch = bits.pad_sequences([piece[:-1].numpy()], 0, multiple=1)
        logits = model(*batch.tensors(torch.device("cpu")))
        total += float(torch.nn.functional.cross_entropy(logits, piece[1:], reduction="sum"))
    return total


def test_each_document_pays_for_its_tokens_and_its_end(model: GPT, tok: Tokenizer) -> None:
    ids = [tok.encode(document) for document in ["", *DOCUMENTS]]
    assert max(map(len, ids)) > 2 * ROW_TOKENS
    control = ControlTokens.of(tok)
    with torch.inference_mode():
        expected = [one_by_one(model, document, control.end_of_text) for document in ids]
    np.testing.assert_allclose(token_nats(model, ids, control, ROW_TOKENS), expected, rtol=1e-5)


def test_batches_do_not_matter(model: GPT, tok: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = document_nats(model, tok, SPLIT, 10_000, ROW_TOKENS).nats
    monkeypatch.setattr(bits, "_BATCH_TOKENS", 40)
    np.testing.assert_allclose(document_nats(model, tok, SPLIT, 10_000, ROW_TOKENS).nats, whole, rtol=1e-5)


def test_packed_rows_pay_the_same(model: GPT, tok: Tokenizer, tmp_path: Path) -> None:
    """The loss that training sees on packed rows, summed, is that of the documents."""
    write_shards(DOCUMENTS, tok, tmp_path / "shards")
    rows = pack(Shards.open(tmp_path / "shards"), row_tokens=ROW_TOKENS)
    batch = TokenBatch.of(rows.batch(0, len(rows)), torch.device("cpu"))
    with torch.inference_mode():
        hidden = model.hidden(batch.tokens_N, batch.layout)
        loss = float(next_token_loss(model.unembed(hidden[batch.target_index_M]), batch.targets_M))
    ids = [tok.encode(document) for document in DOCUMENTS]
    assert token_nats(model, ids, ControlTokens.of(tok), ROW_TOKENS).sum() == pytest.approx(loss, rel=1e-5)


def test_a_uniform_model_pays_the_logarithm_of_its_vocabulary(model: GPT, tok: Tokenizer) -> None:
    uniform = GPT(model.config)
    with torch.no_grad():
        for parameter in uniform.parameters():
            parameter.zero_()
    held = document_nats(uniform, tok, SPLIT, 10_000, ROW_TOKENS)
    targets = [len(tok.encode_bytes(document)) + 1 for document in held.documents]
    np.testing.assert_allclose(held.nats, np.array(targets) * math.log(320), rtol=1e-6)


def test_bytes_are_raw_bytes_and_groups_follow_their_documents(model: GPT, tok: Tokenizer) -> None:
    held = document_nats(model, tok, SPLIT, 10_000, ROW_TOKENS)
    assert sorted(document.decode() for document in held.documents) == sorted(SPLIT.texts("test"))
    assert held.bytes.tolist() == [len(document) for document in held.documents]
    group_of = {document.text: document.group for document in SPLIT.test}
    assert held.groups == [group_of[document.decode()] for document in held.documents]


def test_the_budget_takes_whole_documents_in_an_order_of_its_own(model: GPT, tok: Tokenizer) -> None:
    some = document_nats(model, tok, SPLIT, 300, ROW_TOKENS)
    all_of_them = document_nats(model, tok, SPLIT, 10_000, ROW_TOKENS)
    assert 1 < len(some.documents) < len(all_of_them.documents)
    assert some.documents == all_of_them.documents[: len(some.documents)]
    assert all_of_them.documents != [document.text.encode() for document in SPLIT.test]
    tokens = [len(tok.encode_bytes(document)) + 1 for document in some.documents]
    assert sum(tokens) >= 300 > sum(tokens[:-1])


def test_rows_longer_than_the_context_are_refused(model: GPT, tok: Tokenizer) -> None:
    with pytest.raises(ContextOverflow):
        document_nats(model, tok, SPLIT, 10_000, row_tokens=100)
