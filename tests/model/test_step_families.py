"""A step over pages computes what transformers computes, for every family: windows, caps, positions, norms."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
transformers = pytest.importorskip("transformers", reason="parity needs the hf extra (transformers)")

from family_models import CASES, CONTEXT, VOCABULARY  # noqa: E402
from stategpt.generate.pages import PagedSequence, PagedStep, PagePool  # noqa: E402
from stategpt.generate.pages.memory import SlotPages, TransposedPages  # noqa: E402
from stategpt.model import GPT  # noqa: E402

EXACT = {"rtol": 1e-5, "atol": 1e-5}
STEPS = ([9, 20, 0, 1], [1, 1, 30, 1], [0, 0, 1, 17], [29, 1, 0, 1], [1, 40, 9, 0], [24, 2, 24, 44])
"""Tokens of each of four sequences in each step: whole prompts, parts of them and single tokens together."""


@pytest.mark.parametrize("layout", [TransposedPages, SlotPages], ids=["transposed", "slots"])
@pytest.mark.parametrize("name", CASES)
def test_any_mixture_of_chunks_and_single_tokens_gives_the_logits_of_transformers(name, layout, tmp_path):
    theirs = CASES[name].model()
    theirs.save_pretrained(tmp_path)
    model = GPT.from_pretrained(tmp_path)
    tokens = torch.from_numpy(np.random.default_rng(1).integers(2, VOCABULARY, (4, CONTEXT)))
    pool = PagePool(model.config, pages=16, layout=layout)
    rows = [PagedSequence(pool) for _ in tokens]
    found = torch.full((4, CONTEXT, VOCABULARY), torch.nan)
    with torch.inference_mode():
        for counts in STEPS:
            parts = [(row, rows[row].length, count) for row, count in enumerate(counts) if count]
            step = PagedStep(pool, [(rows[row], count) for row, _, count in parts])
            stream = torch.cat([tokens[row, seen : seen + count] for row, seen, count in parts])
            logits = model.unembed(model.step(stream, step.position_N, step))
            step.commit()
            for (row, seen, count), own in zip(parts, logits.split([count for *_, count in parts]), strict=True):
                found[row, seen : seen + count] = own
        torch.testing.assert_close(found, theirs(tokens).logits, **EXACT)
