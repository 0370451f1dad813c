"""In exact mode a token's log-probability has the same bits by every path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")

import torch.nn.functional as F  # noqa: E402

from exact_machine import needs_exact_machine  # noqa: E402
from stategpt.config import GPTConfig  # noqa: E402
from stategpt.config.families import FAMILIES as PUBLISHED  # noqa: E402
from stategpt.errors import InvalidArgument, NotExact  # noqa: E402
from stategpt.generate.pages import PagedSequence, PagedStep, PagePool  # noqa: E402
from stategpt.model import GPT, autocast, log_probs  # noqa: E402
from stategpt.model.exact import exact_rows, require_exact_functions, set_exact  # noqa: E402
from stategpt.model.lora import lora  # noqa: E402
from stategpt.model.quantize import quantize  # noqa: E402
from stategpt.ops import TensorLayout, attention  # noqa: E402
from stategpt.ops.packed_pages import packed_attention  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402

pytestmark = needs_exact_machine()

SHAPE = GPTConfig(vocab_size=97, depth=2, width=48, heads=6, kv_heads=2, head_dim=8, mlp_width=80, context_tokens=96)
GEMMA = replace(
    PUBLISHED["gemma2"].switches,
    window=7,
    windowed_layers=(True, False),
    query_scale=24.0,
    attention_softcap=2.0,
    logit_softcap=3.0,
)
FAMILIES = {
    "qwen3": SHAPE,
    "llama, untied": replace(SHAPE, qk_norm=False, tied_embeddings=False),
    "qwen2, biases": replace(SHAPE, qk_norm=False, attention_bias=True),
    "gpt2": replace(SHAPE, qk_norm=False, kv_heads=6, attention_bias=True, architecture=PUBLISHED["gpt2"].switches),
    "gemma2": replace(SHAPE, qk_norm=False, architecture=GEMMA),
    "gemma3": replace(
        SHAPE,
        architecture=replace(
            PUBLISHED["gemma3_text"].switches,
            window=7,
            windowed_layers=(True, False),
            windowed_theta=90.0,
            query_scale=24.0,
        ),
    ),
    "olmo2": replace(SHAPE, architecture=PUBLISHED["olmo2"].switches),
    "mistral, a window": replace(SHAPE, qk_norm=False, architecture=replace(PUBLISHED["mistral"].switches, window=5)),
}


def gpt(config: GPTConfig) -> GPT:
    """Random weights, wide enough that softcaps, windows and positions matter."""
    torch.manual_seed(0)
    model = GPT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_((0.3 if parameter.ndim == 1 else 0.1) * torch.randn_like(parameter))
    set_exact(model, True)
    return model


def ids(count: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, SHAPE.vocab_size, count))


def all_log_probs(model: GPT, hidden_NW: torch.Tensor) -> torch.Tensor:
    return log_probs(model.unembed(hidden_NW), 0.7, (3, 5))


def packed(model: GPT, texts: list[torch.Tensor], row_tokens: int) -> list[torch.Tensor]:
    """By the packed training forward, with gradients, each text a padded row."""
    layout = TensorLayout.of(Layout.padded([len(text) for text in texts], row_tokens))
    tokens = torch.cat([F.pad(text, (0, row_tokens - len(text))) for text in texts])
    found = all_log_probs(model, model.hidden(tokens, layout)).detach()
    return [found[row * row_tokens :][: len(text)] for row, text in enumerate(texts)]


def shared(model: GPT, prompt: torch.Tensor, branches: list[torch.Tensor]) -> list[torch.Tensor]:
    """By the training forward of one row in which all branches share the prompt; each with the prompt before it."""
    lengths = [len(branch) for branch in branches]
    total = len(prompt) + sum(lengths)
    layout = TensorLayout.of(Layout.shared_prefix([len(prompt)], [lengths], total))
    with torch.inference_mode():
        found = all_log_probs(model, model.hidden(torch.cat([prompt, *branches]), layout))
    trunk, *parts = found.split([len(prompt), *lengths])
    return [torch.cat([trunk, part]) for part in parts]


def stepped(model: GPT, texts: list[torch.Tensor], chunks: list[int]) -> list[torch.Tensor]:
    """By prefill in parts and decoding: in each step every text takes the next of `chunks` while it has tokens."""
    pool = PagePool(model.config, pages=8 * len(texts))
    rows = [PagedSequence(pool) for _ in texts]
    found: list[list[torch.Tensor]] = [[] for _ in texts]
    at = 0
    while any(row.length < len(text) for row, text in zip(rows, texts, strict=True)):
        size = chunks[at % len(chunks)]
        at += 1
        parts = [(n, text[rows[n].length :][:size]) for n, text in enumerate(texts) if rows[n].length < len(text)]
        for (n, _), part in zip(parts, step(model, pool, [(rows[n], part) for n, part in parts]), strict=True):
            found[n].append(part)
    return [torch.cat(parts) for parts in found]


def step(model: GPT, pool: PagePool, rows: list[tuple[PagedSequence, torch.Tensor]]) -> list[torch.Tensor]:
    with torch.inference_mode():
        cache = PagedStep(pool, [(row, len(tokens)) for row, tokens in rows])
        hidden_NW = model.step(torch.cat([tokens for _, tokens in rows]), cache.position_N, cache)
        cache.commit()
        return list(all_log_probs(model, hidden_NW).split([len(tokens) for _, tokens in rows]))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_path_gives_a_token_the_same_bits(family: str) -> None:
    model = gpt(FAMILIES[family])
    texts = [ids(count, seed) for seed, count in enumerate((40, 17, 33, 5, 1, 64, 90))]
    expected = packed(model, texts, 96)
    for number, text in enumerate(texts):
        (alone,) = packed(model, [text], len(text))
        assert torch.equal(alone, expected[number]), f"text {number} alone"
    for chunks in ([1], [96], [7], [16, 1, 1, 3], [33, 1]):
        for number, found in enumerate(stepped(model, texts, chunks)):
            assert torch.equal(found, expected[number]), f"text {number} in chunks of {chunks}"


@pytest.mark.parametrize("family", ["qwen3", "gpt2", "gemma2"])
def test_branches_have_the_bits_of_texts_computed_alone(family: str) -> None:
    model = gpt(FAMILIES[family])
    for prompt_tokens in (1, 15, 16, 21, 48):
        prompt = ids(prompt_tokens, 1)
        branches = [ids(count, seed) for seed, count in enumerate((3, 16, 30, 1), start=2)]
        texts = [torch.cat([prompt, branch]) for branch in branches]
        expected = [packed(model, [text], len(text))[0] for text in texts]
        for found, wanted in zip(shared(model, prompt, branches), expected, strict=True):
            assert torch.equal(found, wanted), "a row with a shared prefix"
        pool = PagePool(model.config, pages=40)
        with PagedSequence(pool) as trunk:
            (first,) = step(model, pool, [(trunk, prompt)])
            forks = [trunk.fork() for _ in branches]
            for number, fork in enumerate(forks):
                parts = [first, *(step(model, pool, [(fork, token)])[0] for token in branches[number].split(1))]
                assert torch.equal(torch.cat(parts), expected[number]), "decoded from a fork"


def test_the_loss_has_the_gradient_of_the_plain_model() -> None:
    model = gpt(FAMILIES["gemma2"])
    plain = gpt(FAMILIES["gemma2"])
    set_exact(plain, False)
    layout = TensorLayout.of(Layout.shared_prefix([9, 20], [[4, 7, 1], [5]], 32))
    tokens, weights = ids(64, 3), torch.randn(64, 97, generator=torch.Generator().manual_seed(1))
    for recompute in (False, True):
        model.recomputes_blocks = recompute
        for each in (model, plain):
            each.zero_grad()
            (F.log_softmax(each(tokens, layout), dim=-1) * weights).sum().backward()
        for (name, ours), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
            scale = theirs.grad.abs().max()
            assert torch.allclose(ours.grad, theirs.grad, atol=2e-5 * float(scale), rtol=1e-3), name


@pytest.mark.parametrize("options", [{}, {"window": 6}, {"softcap": 2.0, "scale": 0.3}])
def test_attention_over_temporary_pages_is_attention_of_the_layout(options: dict[str, float]) -> None:
    layout = TensorLayout.of(Layout.shared_prefix([17, 33, 5], [[9, 16, 1], [], [20, 3]], 48))
    drawn = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(144, heads, 8, generator=drawn) for heads in (6, 2, 2))
    gradient = torch.randn(144, 6, 8, generator=drawn)
    found, expected = ([t.clone().requires_grad_() for t in (q, k, v)] for _ in range(2))
    ours, theirs = packed_attention(*found, layout, **options), attention(*expected, layout, **options)
    real_N = (layout.segment_start != torch.arange(144)) | (layout.position > 0) | (torch.arange(144) % 48 == 0)
    assert torch.allclose(ours, theirs, atol=1e-5)
    ours.backward(gradient * real_N[:, None, None])
    theirs.backward(gradient * real_N[:, None, None])
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-4)


def test_adapters_are_exact_too() -> None:
    model = gpt(SHAPE)
    set_exact(model, False)
    lora(model, rank=4, dora=True)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    set_exact(model, True)
    texts = [ids(40, 1), ids(9, 2)]
    expected = packed(model, texts, 40)
    for found, wanted in zip(stepped(model, texts, [5, 1]), expected, strict=True):
        assert torch.equal(found, wanted)


def test_dropout_of_an_adapter_in_training_is_refused() -> None:
    model = gpt(SHAPE)
    set_exact(model, False)
    lora(model, rank=2, dropout=0.1)
    set_exact(model, True)
    layout = TensorLayout.of(Layout.packed([[4]], 4))
    model.eval().hidden(ids(4, 0), layout)
    with pytest.raises(NotExact, match="drops 10% of its inputs"):
        model.train().hidden(ids(4, 0), layout)


def test_what_cannot_be_exact_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="is bfloat16"):
        set_exact(GPT(SHAPE).bfloat16(), True)
    with pytest.raises(InvalidArgument, match="is quantized"):
        set_exact(quantize(GPT(SHAPE), "int8"), True)
    with pytest.raises(InvalidArgument, match="the model is on meta"):
        set_exact(GPT(SHAPE).to("meta"), True)
    model = gpt(SHAPE)
    with pytest.raises(InvalidArgument, match="autocast makes products in bfloat16"), autocast("bfloat16", "cpu"):
        model.hidden(ids(4, 0), TensorLayout.of(Layout.packed([[4]], 4)))


def test_an_operation_that_is_not_known_to_be_exact_is_refused() -> None:
    x = torch.randn(4, 4)
    for operation in (torch.matmul, torch.mm):
        with pytest.raises(NotExact, match="the model calls torch's m"), exact_rows():
            operation(x, x)
    with pytest.raises(NotExact, match="by the error function"), exact_rows():
        F.gelu(x)


def test_it_can_be_switched_off() -> None:
    model = GPT(SHAPE)
    set_exact(model, True)
    assert model.exact
    set_exact(model, False)
    assert not model.exact


@pytest.mark.parametrize("name", ["silu", "gelu"])
def test_activations_do_not_depend_on_a_number_s_place(name: str) -> None:
    """torch's own take another exponential for the last numbers of a tensor."""
    x = 4 * torch.randn(40_003, generator=torch.Generator().manual_seed(0))
    options = {"approximate": "tanh"} if name == "gelu" else {}
    plain = getattr(F, name)
    with exact_rows():
        whole = plain(x, **options)
        parts = [plain(x[n : n + 7], **options) for n in range(0, 2002, 7)]
    assert torch.equal(torch.cat(parts), whole[:2002])
    assert torch.allclose(whole, plain(x, **options), atol=1e-6)
    far = torch.tensor([-200.0, -90.0, 0.0, 90.0, 200.0], requires_grad=True)
    with exact_rows():
        near = plain(far, **options)
    near.sum().backward()
    assert far.grad.isfinite().all()


def test_a_function_that_depends_on_a_row_s_place_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from stategpt.model import exact

    require_exact_functions.__wrapped__(1)
    monkeypatch.setitem(exact._FUNCTIONS, "exp", lambda x: x.exp() * (1 + 1e-6 * (len(x) > 100)))
    with pytest.raises(NotExact, match="torch's exp of rows of 8 numbers"):
        require_exact_functions.__wrapped__(1)
