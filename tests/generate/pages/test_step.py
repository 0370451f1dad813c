"""A step over pages: any mixture of sequences gives the hidden states of the packed forward pass."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")

from stategpt.config import GPTConfig  # noqa: E402
from stategpt.config.families import FAMILIES  # noqa: E402
from stategpt.errors import ContextOverflow, InvalidArgument, OutOfPages, UnknownToken  # noqa: E402
from stategpt.generate.pages import PagedSequence, PagedStep, PagePool  # noqa: E402
from stategpt.generate.pages.memory import SlotPages, TransposedPages  # noqa: E402
from stategpt.model import GPT, autocast  # noqa: E402
from stategpt.model.quantize import quantize  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402

SHAPE = GPTConfig(vocab_size=61, depth=2, width=24, heads=4, kv_heads=2, head_dim=8, mlp_width=40, context_tokens=80)
MISTRAL = replace(SHAPE, qk_norm=False, architecture=replace(FAMILIES["mistral"].switches, window=7))
CAPPED = replace(
    FAMILIES["gemma2"].switches,
    window=7,
    windowed_layers=(True, False),
    query_scale=24.0,
    attention_softcap=2.0,
    logit_softcap=3.0,
)
GEMMA = replace(SHAPE, qk_norm=False, architecture=CAPPED)
EXACT = {"rtol": 1e-5, "atol": 1e-5}


def gpt(config: GPTConfig = SHAPE) -> GPT:
    torch.manual_seed(0)
    return GPT(config).eval()


def ids(count: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, SHAPE.vocab_size, count))


def alone(model: GPT, tokens: torch.Tensor) -> torch.Tensor:
    """Hidden states of one sequence by the packed training forward."""
    with torch.inference_mode():
        return model.hidden(tokens, TensorLayout.of(Layout.packed([[len(tokens)]], len(tokens))))


def run(model: GPT, pool: PagePool, rows: list[tuple[PagedSequence, torch.Tensor]]) -> list[torch.Tensor]:
    """One step; the hidden states of each row."""
    with torch.inference_mode():
        step = PagedStep(pool, [(row, len(tokens)) for row, tokens in rows])
        hidden_NW = model.step(torch.cat([tokens for _, tokens in rows]), step.position_N, step)
        step.commit()
    return list(hidden_NW.split([len(tokens) for _, tokens in rows]))


@pytest.fixture(params=[TransposedPages, SlotPages], ids=["transposed", "slots"])
def layout(request):
    return request.param


def test_chunks_and_single_tokens_of_several_sequences_in_one_step(layout):
    model = gpt()
    texts = [ids(count, seed) for seed, count in enumerate((40, 17, 33, 5))]
    pool = PagePool(SHAPE, pages=20, layout=layout)
    rows = [PagedSequence(pool) for _ in texts]
    found = [[] for _ in texts]
    for step in ([9, 16, 0, 1], [1, 1, 20, 1], [0, 0, 1, 3], [29, 0, 11, 0], [1, 0, 1, 0]):
        chosen = [row for row, tokens in enumerate(step) if tokens]
        parts = [texts[row][rows[row].length : rows[row].length + step[row]] for row in chosen]
        hidden = run(model, pool, [(rows[row], part) for row, part in zip(chosen, parts, strict=True)])
        for row, states in zip(chosen, hidden, strict=True):
            found[row].append(states)
    for row, text in enumerate(texts):
        assert rows[row].length == len(text)
        torch.testing.assert_close(torch.cat(found[row]), alone(model, text), **EXACT)


def test_forks_share_pages_until_they_write(layout):
    model, prompt = gpt(), ids(20)
    pool = PagePool(SHAPE, pages=8, layout=layout)
    trunk = PagedSequence(pool)
    run(model, pool, [(trunk, prompt)])
    branches = [trunk, *(trunk.fork() for _ in range(3))]
    assert pool.used_pages == 2
    more = [ids(6, seed) for seed in range(1, 5)]
    found = run(model, pool, list(zip(branches, more, strict=True)))
    assert pool.used_pages == 1 + 4  # the full page is one for all, the other was copied three times
    for hidden, added in zip(found, more, strict=True):
        torch.testing.assert_close(hidden, alone(model, torch.cat((prompt, added)))[20:], **EXACT)
    for branch in branches:
        branch.close()
    pool.check()
    assert pool.used_pages == 0


def test_what_others_left_in_a_page_does_not_matter(layout):
    """Pages that are used again hold old numbers, even such as spoil every product."""
    model, text = gpt(), ids(23)
    pool = PagePool(SHAPE, pages=2, layout=layout)
    pool.memory.storage.fill_(float("nan"))
    row = PagedSequence(pool)
    for part in text.split([5, 1, 16, 1]):
        hidden = run(model, pool, [(row, part)])[0]
    torch.testing.assert_close(hidden, alone(model, text)[-1:], **EXACT)


def test_a_sequence_goes_back_and_takes_another_way(layout):
    model, first, second = gpt(), ids(40), ids(20, seed=5)
    pool = PagePool(SHAPE, pages=4, layout=layout)
    row = PagedSequence(pool)
    run(model, pool, [(row, first)])
    row.truncate(18)
    assert pool.used_pages == 2
    hidden = run(model, pool, [(row, second)])[0]
    torch.testing.assert_close(hidden, alone(model, torch.cat((first[:18], second)))[18:], **EXACT)


@pytest.mark.parametrize("kind", ["bfloat16", "int8", "autocast"])
def test_low_precision_is_that_of_the_packed_forward(kind):
    model = gpt()
    if kind == "bfloat16":
        model = model.bfloat16()
    if kind == "int8":
        model = quantize(model, "int8", skip=())
    dtype, text = torch.float32 if kind == "int8" else torch.bfloat16, ids(40)
    pool, found = PagePool(SHAPE, pages=3, dtype=dtype), []
    row = PagedSequence(pool)
    with autocast("bfloat16" if kind == "autocast" else "float32", "cpu"):
        for part in text.split([21, 1, 1, 17]):
            found += run(model, pool, [(row, part)])
        expected = alone(model, text)
    assert found[0].dtype == expected.dtype
    near = {"rtol": 1e-4, "atol": 1e-4} if kind == "int8" else {"rtol": 5e-2, "atol": 5e-2}
    torch.testing.assert_close(torch.cat(found), expected, **near)


def test_the_joined_projections_are_made_once_for_all_steps():
    model, pool = gpt(), PagePool(SHAPE, pages=4)
    row = PagedSequence(pool)
    run(model, pool, [(row, ids(5))])
    kept = pool.fused._layers
    run(model, pool, [(row, ids(1))])
    assert kept is not None
    assert pool.fused._layers is kept


def test_trained_weights_are_used_after_the_former_are_forgotten():
    model, pool, text = gpt(), PagePool(SHAPE, pages=4), ids(9)
    row = PagedSequence(pool)
    run(model, pool, [(row, text)])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.data.mul_(1.5)  # no version is raised
    row.close()
    pool.forget_weights()
    torch.testing.assert_close(run(model, pool, [(PagedSequence(pool), text)])[0], alone(model, text), **EXACT)


def test_a_step_without_commit_leaves_its_sequences_as_they_were():
    model, pool, text = gpt(), PagePool(SHAPE, pages=4), ids(9)
    row = PagedSequence(pool)
    run(model, pool, [(row, text)])
    with torch.inference_mode():
        step = PagedStep(pool, [(row, 5)])
        model.step(ids(5, 3), step.position_N, step)
    assert row.length == 9
    more = ids(4, seed=8)
    torch.testing.assert_close(run(model, pool, [(row, more)])[0], alone(model, torch.cat((text, more)))[9:], **EXACT)


def test_what_a_step_refuses():
    pool = PagePool(SHAPE, pages=3)
    row, other = PagedSequence(pool), PagedSequence(PagePool(SHAPE, pages=1))
    with pytest.raises(InvalidArgument, match="no rows"):
        PagedStep(pool, [])
    with pytest.raises(InvalidArgument, match="tokens of a row is 0"):
        PagedStep(pool, [(row, 0)])
    with pytest.raises(InvalidArgument, match="of another pool"):
        PagedStep(pool, [(row, 1), (other, 1)])
    with pytest.raises(InvalidArgument, match="comes twice in one step"):
        PagedStep(pool, [(row, 1), (row, 1)])
    with pytest.raises(ContextOverflow, match="0 positions and 81 more exceed the context of 80"):
        PagedStep(pool, [(row, 81)])
    with pytest.raises(OutOfPages, match="4 more pages of 16 positions are needed, and 3 of 3 are free"):
        PagedStep(pool, [(row, 49)])
    assert pool.used_pages == 0
    with pytest.raises(InvalidArgument, match="0 of 2 layers have written"):
        PagedStep(pool, [(row, 1)]).commit()
    row.close()
    with pytest.raises(InvalidArgument, match="was closed"):
        PagedStep(pool, [(row, 1)])


def test_a_step_is_committed_once_and_every_layer_writes_once():
    model, pool = gpt(), PagePool(SHAPE, pages=3)
    row = PagedSequence(pool)
    with torch.inference_mode():
        step = PagedStep(pool, [(row, 3)])
        model.step(ids(3), step.position_N, step)
        with pytest.raises(InvalidArgument, match="layer 0 gives 3 tokens; the step waits for 3 of layer 2"):
            model.step(ids(3), step.position_N, step)
        step.commit()
        with pytest.raises(InvalidArgument, match="commit once"):
            step.commit()
    assert row.length == 3


def test_what_the_model_refuses():
    model, pool = gpt(), PagePool(SHAPE, pages=3)
    step = PagedStep(pool, [(PagedSequence(pool), 3)])
    with torch.inference_mode():
        with pytest.raises(InvalidArgument, match="one flat stream"):
            model.step(ids(3)[None], step.position_N, step)
        with pytest.raises(InvalidArgument, match=r"position_N is torch.int64 \[3\]; it must be int64 \[2\]"):
            model.step(ids(2), step.position_N, step)
        with pytest.raises(ContextOverflow, match="position 80 is beyond the context of 80"):
            model.step(ids(3), step.position_N + 78, step)
        with pytest.raises(InvalidArgument, match="position_N holds -1"):
            model.step(ids(3), step.position_N - 1, step)
        with pytest.raises(UnknownToken, match="id 61"):
            model.step(torch.tensor([1, 61, 2]), step.position_N, step)
    with pytest.raises(InvalidArgument, match="no gradient"):
        model.step(ids(3), step.position_N, step)


def test_a_prompt_in_parts_is_rounded_like_one_that_comes_whole(layout):
    """Keys in bfloat16 of a float32 model: new ones too are seen as the pages hold them."""
    model, text = gpt(), ids(50)
    found = []
    for parts in ([50], [30, 1, 19]):
        pool = PagePool(SHAPE, pages=4, dtype=torch.bfloat16, layout=layout)
        row = PagedSequence(pool)
        found.append(torch.cat([run(model, pool, [(row, part)])[0] for part in text.split(parts)]))
    near = 1e-5 if layout is TransposedPages else 1e-2  # on a GPU queries and results are rounded, too
    torch.testing.assert_close(*found, rtol=near, atol=near)
    assert not torch.allclose(found[0], alone(model, text), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("config", [SHAPE, MISTRAL, GEMMA], ids=["qwen3", "mistral", "gemma2"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_number_formats_without_a_kernel_attend_over_copies(config, dtype):
    model, text = gpt(config).to(dtype), ids(30)
    pool = PagePool(config, pages=2, dtype=dtype)
    row = PagedSequence(pool)
    found = torch.cat([run(model, pool, [(row, part)])[0] for part in text.split([20, 1, 9])])
    # Capped scores are computed in float32.
    near = 1e-2 if dtype == torch.float16 else 1e-5 if config is GEMMA else 1e-10
    torch.testing.assert_close(found, alone(model, text), rtol=near, atol=near)
