"""Proposals from the sequence itself, against a search through all of it; speculation changes steps, not tokens."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="sampling needs the train extra (torch)")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from generate.sampling_reference import longest_repeat  # noqa: E402
from paged_decoding import Decoding  # noqa: E402
from stategpt.config import GPTConfig  # noqa: E402
from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.generate import SampledRow, Sampling, draw  # noqa: E402
from stategpt.generate.ngram_draft import NgramDraft, accepted, speculated_rows  # noqa: E402
from stategpt.model import GPT  # noqa: E402

TEXTS = st.lists(st.integers(0, 3), max_size=60)


@settings(max_examples=200)
@given(TEXTS, st.integers(1, 3), st.integers(0, 4), st.integers(1, 12))
def test_the_longest_repeat_is_proposed_and_of_equal_ones_the_newest(ids, least, more, most):
    draft = NgramDraft(ids, least=least, longest=least + more, tries=1000)
    end = longest_repeat(ids, least, least + more)
    expected = list(ids)
    if end is not None:
        for _ in range(most):
            expected.append(expected[end])
            end += 1
    assert draft.proposals(most).tolist() == expected[len(ids) :]
    assert draft.proposals(0).tolist() == []


@settings(max_examples=100)
@given(TEXTS, st.lists(st.tuples(st.integers(0, 20), TEXTS), max_size=4))
def test_any_rewinds_and_additions_leave_what_a_new_index_of_the_ids_has(ids, changes):
    draft = NgramDraft(ids)
    for back, added in changes:
        ids = [*ids[: max(0, len(ids) - back)], *added]
        draft.rewind(max(0, len(draft) - back))
        draft.extend(np.array(added, dtype=np.uint32))
        new = NgramDraft(ids)
        assert len(draft) == len(ids)
        assert draft.proposals(8).tolist() == new.proposals(8).tolist()
        assert draft._newest == new._newest
        assert draft._older == new._older


class CountedIds(list):
    """Counts how many ids are read."""

    read = 0

    def __getitem__(self, place):
        CountedIds.read += 1
        return super().__getitem__(place)


def test_the_work_of_an_id_does_not_grow_with_the_sequence():
    for text in ([0], [0, 1, 2, 3, 4, 5, 6]):
        counts = []
        for length in (500, 4000):
            draft = NgramDraft()
            draft._ids = CountedIds()
            CountedIds.read = 0
            for place in range(length):
                draft.extend([text[place % len(text)]])
                draft.proposals(4)
            counts.append(CountedIds.read / length)
        assert counts[1] < 1.2 * counts[0]


def test_an_occurrence_that_reaches_the_end_is_continued_by_what_it_repeats():
    assert NgramDraft([7, 8, 9, 7, 8]).proposals(5).tolist() == [9, 7, 8, 9, 7]
    assert NgramDraft([4, 4, 4]).proposals(3).tolist() == [4, 4, 4]


def test_bad_lengths_are_refused():
    with pytest.raises(InvalidArgument, match="length is 3"):
        NgramDraft([1, 2]).rewind(3)
    with pytest.raises(InvalidArgument, match="least"):
        NgramDraft(least=0)
    with pytest.raises(InvalidArgument, match="drawn ids"):
        accepted(np.array([1, 2], dtype=np.uint32), [1, 2])
    with pytest.raises(InvalidArgument, match="masks"):
        speculated_rows(SampledRow(Sampling()), np.array([1], dtype=np.uint32), [None])


def test_rows_after_proposals_read_them_and_have_their_masks():
    row = SampledRow(Sampling(), position=2, generated=[5, 6])
    masks = [np.array([word], dtype=np.uint32) for word in (1, 2, 4)]
    rows = speculated_rows(row, np.array([7, 8], dtype=np.uint32), masks)
    assert [found.generated.tolist() for found in rows] == [[5, 6], [5, 6, 7], [5, 6, 7, 8]]
    assert [found.position for found in rows] == [2, 3, 4]
    assert [found.mask[0] for found in rows] == [1, 2, 4]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return GPT(GPTConfig(depth=2, width=32, heads=2, vocab_size=64, context_tokens=256)).eval()


def logits_of(model, hidden):
    """Sharper than those of random weights: the same few tokens follow each other."""
    return 30 * model.unembed(hidden)


@torch.inference_mode()
def one_by_one(model, prompt, row, tokens):
    """The tokens without speculation."""
    decode, ids = Decoding(model), []
    hidden = decode(torch.tensor([prompt]))
    for position in range(tokens):
        logits = logits_of(model, hidden[:, -1])
        drawn = draw(logits, [SampledRow(row, 3, 1, position, np.array(prompt, dtype=np.uint32), ids)])
        ids.append(int(drawn.ids_M[0]))
        hidden = decode(torch.tensor([[ids[-1]]]))
    return ids


@torch.inference_mode()
def speculating(model, prompt, row, tokens, most, counted):
    """The tokens by as few steps as proposals allow; what was rejected is computed again from the accepted ids."""
    draft, ids = NgramDraft(prompt), []
    while len(ids) < tokens:
        proposed = draft.proposals(min(most, tokens - len(ids) - 1))
        hidden = Decoding(model)(torch.tensor([[*prompt, *ids, *proposed.tolist()]]))
        logits = logits_of(model, hidden[0, -1 - len(proposed) :])
        at = SampledRow(row, 3, 1, len(ids), np.array(prompt, dtype=np.uint32), ids)
        drawn = draw(logits, speculated_rows(at, proposed)).ids_M.numpy()
        count = accepted(proposed, drawn)
        counted.append((len(proposed), count))
        ids.extend(drawn[: count + 1].tolist())
        draft.extend(drawn[: count + 1])
    return ids


@pytest.mark.parametrize(
    "settings_",
    [
        {"temperature": 0},
        {"temperature": 0.4, "seed": 5},
        {"temperature": 0.7, "top_p": 0.9, "seed": 6},
        {"temperature": 0.5, "repetition_penalty": 1.1, "frequency_penalty": 0.2, "seed": 7},
        {"temperature": 0.5, "bad_words": [[3, 4]], "min_tokens": 30, "seed": 8},
    ],
)
def test_speculation_draws_the_tokens_of_sampling_one_by_one(model, settings_):
    """From logits of other shapes, so of other roundings: a token differs in one of 10^6 draws, in none of these."""
    counted: list[tuple[int, int]] = []
    prompt = [3, 4, 5, 6, 7, 8] * 3
    row = Sampling(**settings_)
    expected = one_by_one(model, prompt, row, 40)
    assert speculating(model, prompt, row, 40, 4, counted) == expected
    proposed, taken = (sum(numbers) for numbers in zip(*counted, strict=True))
    assert proposed > 0
    assert 0 <= taken <= proposed
    if settings_["temperature"] == 0:
        assert taken > 0
        assert sum(size > 0 for size, _ in counted) < 40 - taken + 1
