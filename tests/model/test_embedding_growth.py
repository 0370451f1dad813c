"""More rows for an embedding; whether weights began here, which decides the scales of learning rates."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="models need the train extra (torch)")

from stategpt.config import CONTROL_TOKENS, GPTConfig  # noqa: E402
from stategpt.errors import ForeignArtifact, InvalidArgument  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.model.embedding_growth import grow_embedding  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402

SHAPE = GPTConfig(vocab_size=300, depth=1, width=16, heads=2, kv_heads=1, head_dim=8, mlp_width=24, context_tokens=32)
UNTIED = GPTConfig(**{**SHAPE.__dict__, "tied_embeddings": False})


@pytest.mark.parametrize("shape", [SHAPE, UNTIED])
def test_new_rows_are_the_mean_and_the_others_stay(shape: GPTConfig, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = GPT(shape)
    before = deepcopy(model)
    grow_embedding(model, 302)
    assert model.config.vocab_size == 302
    assert torch.equal(model.embed_tokens.weight[:300], before.embed_tokens.weight)
    mean = before.embed_tokens.weight.mean(dim=0)
    assert torch.allclose(model.embed_tokens.weight[300:], mean.expand(2, -1), atol=1e-7)
    hidden = torch.randn(3, 16)
    ours, theirs = model.unembed(hidden), before.unembed(hidden)
    assert torch.allclose(ours[:, :300], theirs, atol=1e-5)
    assert torch.allclose(ours[:, 300], theirs.mean(dim=1), atol=1e-5)
    model.save_pretrained(tmp_path)
    assert torch.equal(GPT.from_pretrained(tmp_path).embed_tokens.weight, model.embed_tokens.weight)
    with pytest.raises(InvalidArgument, match="can only grow"):
        grow_embedding(model, 301)


def test_a_reward_model_records_its_token_and_its_grown_embedding(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = RewardModel(GPT(SHAPE))
    with pytest.raises(ForeignArtifact, match="learned with 300 ids"):
        model.require_reward_token(300)
    model.hold_reward_token(300)
    model.save_pretrained(tmp_path)
    loaded = RewardModel.from_pretrained(tmp_path)
    assert (loaded.reward_token, loaded.gpt.config.vocab_size) == (300, 301)
    assert torch.equal(loaded.gpt.embed_tokens.weight, model.gpt.embed_tokens.weight)
    loaded.require_reward_token(300)
    with pytest.raises(ForeignArtifact, match=r"at the token 7, .* learned with id 300"):
        loaded.require_reward_token(7)


def _scales(model: GPT) -> dict[str, float]:
    return {**model.learning_rate_scales(), **RewardModel(deepcopy(model)).learning_rate_scales()}


def test_a_model_that_began_here_keeps_its_scales_through_its_folder(tmp_path: Path) -> None:
    model = GPT(SHAPE)
    expected = {"embed_tokens.weight": 4.0, "norm.weight": 0.25, "head.weight": 4.0}
    assert _scales(model) == expected
    tok = Tokenizer.train(["x"], 300, special_tokens=list(CONTROL_TOKENS))
    for name, given in (("bare", None), ("with a tokenizer", tok)):
        model.save_pretrained(tmp_path / name, given)
        assert "initialized_elsewhere" not in json.loads((tmp_path / name / "config.json").read_text())
        assert _scales(GPT.from_pretrained(tmp_path / name)) == expected
    RewardModel(model).save_pretrained(tmp_path / "reward")
    assert RewardModel.from_pretrained(tmp_path / "reward").learning_rate_scales() == {"head.weight": 4.0}


def test_an_imported_model_has_one_rate_and_says_so_in_its_folder(tmp_path: Path) -> None:
    GPT(SHAPE).save_pretrained(tmp_path / "given")
    path = tmp_path / "given" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "transformers_version": "5.0.0"}))
    imported = GPT.from_pretrained(tmp_path / "given")
    assert _scales(imported) == {}
    imported.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["initialized_elsewhere"] is True
    assert _scales(GPT.from_pretrained(tmp_path / "again")) == {}
    RewardModel(imported).save_pretrained(tmp_path / "reward")
    assert RewardModel.from_pretrained(tmp_path / "reward").learning_rate_scales() == {}
    groups = imported.parameter_groups(lr=0.5, weight_decay=0.0)
    assert {group["lr"] for group in groups} == {0.5}


def test_weights_that_were_not_drawn_did_not_begin_here() -> None:
    with torch.device("meta"):
        assert not GPT(SHAPE).initialized_here
