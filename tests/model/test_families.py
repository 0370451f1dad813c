"""Every family of `config.families` computes what transformers computes, alone, packed, cached; and comes back."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
transformers = pytest.importorskip("transformers", reason="parity needs the hf extra (transformers)")
import torch.nn.functional as F  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from family_models import CASES, CONTEXT, VOCABULARY, Case  # noqa: E402
from paged_decoding import Decoding  # noqa: E402
from stategpt.config.families import FAMILIES  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402

EXACT = {"rtol": 1e-5, "atol": 1e-5}


def ids(*shape: int, seed: int = 0):
    return torch.from_numpy(np.random.default_rng(seed).integers(2, VOCABULARY, shape))


def causal(rows: int, tokens: int) -> TensorLayout:
    return TensorLayout.of(Layout.packed([[tokens]] * rows, tokens))


def loaded_by_transformers(folder, dtype: str = "float32"):
    kind = transformers.AutoModelForCausalLM
    return kind.from_pretrained(folder, attn_implementation="eager", dtype=dtype).eval()


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "_").replace(",", ""))
def case(request) -> Case:
    return CASES[request.param]


@pytest.fixture
def folder(case, tmp_path):
    """What transformers writes."""
    case.model().save_pretrained(tmp_path / "theirs")
    return tmp_path / "theirs"


@pytest.fixture
def theirs(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype="float32"
    ).eval()


def test_there_is_a_case_of_every_family():
    assert {case.model_type for case in CASES.values()} == set(FAMILIES)


def test_logits_of_whole_sequences_are_equal(folder, theirs):
    tokens = ids(2, CONTEXT)
    with torch.no_grad():
        expected = theirs(tokens).logits.flatten(0, 1)
        assert float(expected.std()) > 0.1
        torch.testing.assert_close(GPT.from_pretrained(folder)(tokens.flatten(), causal(2, CONTEXT)), expected, **EXACT)


def test_logits_of_packed_documents_are_those_of_each_alone(folder, theirs):
    lengths, tokens = [13, 1, 30, 20], ids(CONTEXT)
    with torch.no_grad():
        packed = GPT.from_pretrained(folder)(tokens, TensorLayout.of(Layout.packed([lengths], CONTEXT)))
        alone = [theirs(document[None]).logits[0] for document in tokens.split(lengths)]
        torch.testing.assert_close(packed, torch.cat(alone), **EXACT)


def test_cached_decoding_gives_the_logits_of_whole_sequences(folder, theirs):
    model, tokens = GPT.from_pretrained(folder), ids(3, 40)
    with torch.no_grad():
        expected = theirs(tokens).logits
        decode = Decoding(model, batch=3)
        steps = [model.unembed(decode(part)) for part in tokens.split([9, 1, 1, 12, 1, 16], dim=1)]
        torch.testing.assert_close(torch.cat(steps, dim=1), expected, **EXACT)


def test_cached_decoding_of_prompts_of_unlike_lengths(folder, theirs):
    model, tokens, lengths = GPT.from_pretrained(folder), ids(3, 40), [20, 3, 11]
    with torch.no_grad():
        expected = theirs(tokens).logits
        decode = Decoding(model, batch=3)
        decode(tokens[:, :20], lengths)
        for step in range(12):
            at = [length + step for length in lengths]
            hidden = decode(torch.stack([tokens[row, [n]] for row, n in enumerate(at)]))
            found = model.unembed(hidden[:, 0])
            torch.testing.assert_close(found, torch.stack([expected[row, n] for row, n in enumerate(at)]), **EXACT)


def test_a_folder_comes_back_bit_by_bit_and_transformers_reads_it(case, folder, theirs, tmp_path):
    loaded, again = GPT.from_pretrained(folder), tmp_path / "again"
    loaded.save_pretrained(again)
    assert json.loads((again / "config.json").read_text())["model_type"] == case.model_type
    first, second = load_file(folder / "model.safetensors"), load_file(again / "model.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert GPT.from_pretrained(again).config == loaded.config
    assert loaded.parameter_count == loaded.config.parameters
    back = loaded_by_transformers(again, "auto")
    assert type(back) is type(theirs)
    tokens = ids(2, CONTEXT)
    with torch.no_grad():
        assert torch.equal(back(tokens).logits, theirs(tokens).logits)


def test_a_number_format_is_kept(case, tmp_path):
    case.model().to(torch.bfloat16).save_pretrained(tmp_path / "theirs")
    loaded = GPT.from_pretrained(tmp_path / "theirs")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    loaded.save_pretrained(tmp_path / "ours")
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "ours"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    theirs = loaded_by_transformers(tmp_path / "theirs")
    tokens = ids(2, CONTEXT)
    with torch.no_grad():
        expected = theirs(tokens).logits.flatten(0, 1)
        ours = loaded(tokens.flatten(), causal(2, CONTEXT))
        assert (ours - expected).abs().mean() < 0.05 * expected.std()


def test_a_reward_model_of_the_family_has_equal_scores(case, folder, tmp_path):
    model = RewardModel(GPT.from_pretrained(folder))
    model.save_pretrained(tmp_path / "reward")
    again = RewardModel.from_pretrained(tmp_path / "reward")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "reward", attn_implementation="eager", dtype="float32"
    ).eval()
    tokens = ids(1, 20)
    with torch.no_grad():
        scores = again.scores(tokens.flatten(), causal(1, 20), torch.tensor([19]))
        torch.testing.assert_close(scores, theirs(tokens).logits[0], **EXACT)


@pytest.mark.parametrize("name", ["gpt2", "mistral", "phi3", "olmo2", "gemma2", "gemma3 with a scaled rope"])
def test_twenty_training_steps_have_equal_losses_and_gradients(name, tmp_path):
    CASES[name].model().save_pretrained(tmp_path)
    theirs = loaded_by_transformers(tmp_path)
    pair = GPT.from_pretrained(tmp_path).train(), theirs.train()
    optimizers = [torch.optim.AdamW(m.parameters(), lr=1e-3, betas=(0.9, 0.95), eps=1e-6) for m in pair]
    layout = causal(2, 20)
    for step in range(20):
        tokens = ids(2, 20, seed=step)
        targets = tokens.roll(-1, dims=1).flatten()
        logits = pair[0](tokens.flatten(), layout), pair[1](tokens).logits.flatten(0, 1)
        losses = [F.cross_entropy(each, targets) for each in logits]
        for loss, optimizer in zip(losses, optimizers, strict=True):
            optimizer.zero_grad()
            loss.backward()
        torch.testing.assert_close(*(loss.detach() for loss in losses), **EXACT)
        norms = [torch.nn.utils.get_total_norm([p.grad for p in m.parameters()]) for m in pair]
        torch.testing.assert_close(*norms, rtol=1e-4, atol=1e-6)
        for optimizer in optimizers:
            optimizer.step()


def test_gpt2_as_published_has_names_without_a_prefix_and_stored_masks(tmp_path):
    theirs = CASES["gpt2"].model()
    theirs.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    bare = {name.removeprefix("transformer."): tensor for name, tensor in stored.items()}
    bare |= {f"h.{layer}.attn.bias": torch.ones(1, 1, CONTEXT, CONTEXT).tril() for layer in range(3)}
    save_file(bare, tmp_path / "model.safetensors", {"format": "pt"})
    tokens = ids(1, 30)
    with torch.no_grad():
        found = GPT.from_pretrained(tmp_path)(tokens[0], causal(1, 30))
        torch.testing.assert_close(found, theirs(tokens).logits[0], **EXACT)
