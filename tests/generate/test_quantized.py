"""The engine over low precision: the tokens of the dequantized weights, whatever shares the batch; bfloat16 weights."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="sampling needs the train extra (torch)")

from torch import nn  # noqa: E402

from paged_decoding import Decoding  # noqa: E402
from stategpt.config import CONTROL_TOKENS, GPTConfig  # noqa: E402
from stategpt.generate import Engine  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.model.quantize import QuantizedEmbedding, QuantizedLinear, quantize  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402

TEXT = "Return the length of a list. Return True if the key is in the dictionary. "
NEW_TOKENS = 16


@pytest.fixture(scope="module")
def tok() -> Tokenizer:
    return Tokenizer.train([TEXT * 5], vocab_size=300, special_tokens=CONTROL_TOKENS)


def gpt(tok: Tokenizer, tied: bool = True) -> GPT:
    torch.manual_seed(0)
    config = GPTConfig(
        vocab_size=tok.vocab_size,
        depth=2,
        width=64,
        heads=4,
        kv_heads=2,
        head_dim=16,
        mlp_width=96,
        context_tokens=64,
        tied_embeddings=tied,
        qk_norm=False,
    )
    model = GPT(config).eval()
    with torch.no_grad():  # random and small, the weights would give every token the same probability
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(3.0)
    return model


def plain(model: GPT) -> GPT:
    """The same model with plain layers that hold the dequantized weights."""
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        owner, _, last = name.rpartition(".")
        if isinstance(module, QuantizedLinear):
            layer = nn.Linear(module.in_features, module.out_features, bias=False)
            layer.weight = nn.Parameter(module.dequantized())
            setattr(model.get_submodule(owner), last, layer)
        elif isinstance(module, QuantizedEmbedding):
            model.embed_tokens = nn.Embedding.from_pretrained(module.dequantized(), freeze=False)
    return model


def prompts(count: int = 20) -> list:
    draw = np.random.default_rng(3)
    return [draw.integers(20, 290, size).astype(np.uint32) for size in draw.integers(1, 12, count)]


def transformers_greedy(folder, prompt, dtype) -> list[int]:
    """Greedy tokens by transformers, without a cache."""
    transformers = pytest.importorskip("transformers", reason="parity needs the hf extra (transformers)")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    ids = torch.from_numpy(prompt.astype(np.int64))[None]
    with torch.inference_mode():
        for _ in range(NEW_TOKENS):
            ids = torch.cat((ids, model(ids).logits[:, -1].argmax(-1, keepdim=True)), dim=1)
    return ids[0, len(prompt) :].tolist()


@pytest.mark.parametrize(
    ("kind", "skip", "tied"), [("int8", (), True), ("int8", ("lm_head",), False), ("nf4", ("lm_head",), True)]
)
def test_greedy_tokens_are_those_of_transformers_on_the_dequantized_weights(tmp_path, tok, kind, skip, tied):
    model = quantize(gpt(tok, tied), kind, skip)
    plain(model).save_pretrained(tmp_path)
    asked = prompts(6)
    found = Engine(model, tok).generate(asked, temperature=0, max_tokens=NEW_TOKENS, forbidden=())
    for prompt, completion in zip(asked, found, strict=True):
        expected = transformers_greedy(tmp_path, prompt, torch.float32)
        assert completion.ids.tolist() == expected[: len(completion.ids)]
        assert len(completion.ids) == NEW_TOKENS or completion.ended


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_a_sample_does_not_depend_on_what_shares_its_batch(tok, kind):
    model = quantize(gpt(tok), kind)
    together = Engine(model, tok).generate(prompts(), n=2, seed=4, max_tokens=NEW_TOKENS)
    apart = Engine(model, tok, batch_rows=1).generate(prompts(), n=2, seed=4, max_tokens=NEW_TOKENS)
    assert [sample.ids.tolist() for sample in together] == [sample.ids.tolist() for sample in apart]


def test_a_stream_and_a_batch_of_int8_weights_give_one_text(tok):
    engine = Engine(quantize(gpt(tok), "int8", skip=()), tok)
    text = engine.generate(["Return the"], temperature=0, max_tokens=NEW_TOKENS)[0].text
    assert "".join(engine.stream("Return the", temperature=0, max_tokens=NEW_TOKENS)) == text


def test_weights_in_bfloat16_are_decoded_without_casts_of_matrices(tok, monkeypatch):
    """Products take the parameters' own memory: neither autocast nor a copy for each step comes between."""
    model, seen = gpt(tok).bfloat16(), set()
    original = torch.nn.functional.linear

    def watched(x, weight, bias=None):
        seen.add((weight.data_ptr(), weight.dtype))
        return original(x, weight, bias)

    monkeypatch.setattr("torch.nn.functional.linear", watched)
    Engine(model, tok).generate(prompts(1), temperature=0, max_tokens=NEW_TOKENS, forbidden=())
    own = {parameter.data_ptr() for parameter in model.parameters()}
    joined = [pointer for pointer, dtype in seen if pointer not in own]
    assert {dtype for _, dtype in seen} == {torch.bfloat16}
    assert len(joined) <= 2 * model.config.depth  # queries, keys and values, joined once a cache: prompt and samples


def test_logits_of_bfloat16_weights_are_near_those_of_transformers(tmp_path, tok):
    transformers = pytest.importorskip("transformers", reason="parity needs the hf extra (transformers)")
    gpt(tok).bfloat16().save_pretrained(tmp_path)
    model = GPT.from_pretrained(tmp_path, dtype=torch.bfloat16)
    peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    exact = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    ids = torch.from_numpy(prompts(12)[-1].astype(np.int64))[None]
    with torch.inference_mode():
        ours = model.unembed(Decoding(model)(ids)[0])
        theirs, reference = peer(ids).logits[0].float(), exact(ids).logits[0]
    # Both round at other places; neither may be farther from float32 than twice the other.
    assert (ours - reference).abs().mean() <= 2 * (theirs - reference).abs().mean()
    assert ours.dtype == torch.float32
