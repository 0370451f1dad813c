"""Adapters against the `peft` package, where it is installed: its files are read, ours are, training is equal."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
pytest.importorskip("transformers", reason="the oracle is transformers")
peft = pytest.importorskip("peft", reason="the oracle of adapters is the peft package")

import transformers  # noqa: E402
from torch import nn  # noqa: E402

from family_models import CASES  # noqa: E402
from peft_goldens import FOLDER, SETTINGS, base_of  # noqa: E402
from peft_goldens import IDS as GOLDEN_IDS  # noqa: E402
from stategpt.model import GPT, RewardModel, load_adapter, save_adapter  # noqa: E402
from stategpt.model.lora import lora, lora_layers, merge  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing import Layout  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
KINDS = {"lora": {}, "rslora": {"use_rslora": True}, "dora": {"use_dora": True}}
FAMILIES = ("llama", "gpt2", "phi3", "qwen2", "gemma3", "olmo2", "gpt2 untied, of another width")
TARGETS = {
    "gpt2": ["c_attn", "mlp.c_proj"],
    "gpt2 untied, of another width": ["c_attn", "attn.c_proj", "c_fc"],
    "phi3": ["qkv_proj", "gate_up_proj", "o_proj"],
}
IDS = (torch.arange(24) * 5 + 3) % 97


def theirs(case: str, folder: Path) -> Any:
    """A model of transformers, saved in `folder`."""
    model = CASES[case].model()
    model.save_pretrained(folder)
    return model


def randomize(model: nn.Module) -> None:
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
            if "magnitude" in name:
                parameter.mul_(1 + 0.1 * torch.rand_like(parameter))


def ours(model: GPT) -> torch.Tensor:
    return model(IDS, TensorLayout.of(Layout.packed([[24]], 24)))


def gap(model: GPT, other: Any) -> float:
    with torch.no_grad():
        expected = other(IDS[None]).logits[0]
        return float((ours(model.eval()) - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", FAMILIES)
def test_an_adapter_of_peft_computes_the_same_here(case, kind, tmp_path):
    other = theirs(case, tmp_path / "base")
    config = peft.LoraConfig(
        r=4, lora_alpha=10, target_modules=TARGETS.get(case, ["q_proj", "v_proj", "down_proj"]), **KINDS[kind]
    )
    other = peft.get_peft_model(other, config)
    randomize(other)
    other.save_pretrained(tmp_path / "adapter")
    model = GPT.from_pretrained(tmp_path / "base")
    plain = gap(model, other)
    assert gap(load_adapter(model, tmp_path / "adapter"), other) <= 1e-5 < plain
    assert gap(merge(model), other) <= 1e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("targets", [("attention", "mlp"), ("q_proj", "k_proj", "up_proj")])
@pytest.mark.parametrize("case", FAMILIES)
def test_peft_computes_the_same_with_our_adapter(case, targets, kind, tmp_path):
    other = theirs(case, tmp_path / "base")
    model = GPT.from_pretrained(tmp_path / "base")
    lora(model, rank=3, alpha=7, targets=targets, rslora=kind == "rslora", dora=kind == "dora")
    randomize(model)
    save_adapter(model, tmp_path / "adapter")
    assert gap(model, other) > 1e-4
    other = peft.PeftModel.from_pretrained(other, tmp_path / "adapter").eval()
    assert gap(model, other) <= 1e-5
    again = load_adapter(GPT.from_pretrained(tmp_path / "base"), tmp_path / "adapter")
    assert gap(again, other) <= 1e-5


def test_a_reward_adapter_is_a_sequence_classifier_of_peft(tmp_path):
    torch.manual_seed(0)
    model = RewardModel(GPT.from_pretrained(_base(tmp_path)))
    lora(model, rank=4)
    randomize(model)
    save_adapter(model, tmp_path / "adapter")
    other = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=1)
    other.config.pad_token_id = 0
    other = peft.PeftModel.from_pretrained(other, tmp_path / "adapter").eval()
    layout = TensorLayout.of(Layout.packed([[24]], 24))
    with torch.no_grad():
        score = model.eval().scores(IDS, layout, torch.tensor([23]))
        assert torch.allclose(score, other(IDS[None]).logits[0], atol=1e-5)
        assert not torch.allclose(
            score, RewardModel(GPT.from_pretrained(tmp_path / "base")).scores(IDS, layout, torch.tensor([23]))
        )


def _base(folder: Path) -> Path:
    theirs("llama", folder / "base")
    return folder / "base"


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_steps_of_training_are_pefts(kind, tmp_path):
    other = theirs("llama", tmp_path / "base")
    model = GPT.from_pretrained(tmp_path / "base")
    lora(model, rank=4, alpha=8, rslora=kind == "rslora", dora=kind == "dora")
    save_adapter(model, tmp_path / "adapter")
    other = peft.PeftModel.from_pretrained(other, tmp_path / "adapter", is_trainable=True)
    losses: dict[str, list[float]] = {"ours": [], "theirs": []}
    for name, each, logits in (("ours", model, ours), ("theirs", other, lambda m: m(IDS[None]).logits[0])):
        optimizer = torch.optim.AdamW([p for p in each.parameters() if p.requires_grad], lr=3e-3, weight_decay=0.0)
        for _ in range(20):
            loss = nn.functional.cross_entropy(logits(each)[:-1].float(), IDS[1:])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses[name].append(loss.item())
    assert losses["ours"][-1] < 0.8 * losses["ours"][0]
    assert losses["ours"] == pytest.approx(losses["theirs"], rel=1e-4)


def test_the_written_config_needs_no_repair(tmp_path):
    model = GPT.from_pretrained(_base(tmp_path))
    save_adapter(lora(model, rank=4, targets="q_proj"), tmp_path / "adapter")
    found = peft.LoraConfig.from_pretrained(tmp_path / "adapter")
    written = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (found.r, found.lora_alpha, set(found.target_modules)) == (4, 16.0, {"q_proj"})
    assert written.keys() <= set(found.to_dict())
    assert len(list(lora_layers(model))) == 3


@pytest.mark.parametrize("name", SETTINGS)
def test_the_golden_adapters_are_pefts(name, tmp_path):
    """With STATEGPT_UPDATE_GOLDENS=1 it writes them."""
    base_of(name).save_pretrained(tmp_path / "base")
    other = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    if os.environ.get("STATEGPT_UPDATE_GOLDENS"):
        made = peft.get_peft_model(other, peft.LoraConfig(r=2, lora_alpha=5, task_type="CAUSAL_LM", **SETTINGS[name]))
        randomize(made)
        made.save_pretrained(FOLDER / name)
        path = FOLDER / name / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": None}, indent=2) + "\n")
        (FOLDER / name / "README.md").unlink()
        logits = made.eval()(GOLDEN_IDS[None]).logits[0]
        (FOLDER / name / "logits.json").write_text(json.dumps(logits.tolist()))
        other = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    other = peft.PeftModel.from_pretrained(other, FOLDER / name).eval()
    expected = torch.tensor(json.loads((FOLDER / name / "logits.json").read_text()))
    assert torch.allclose(other(GOLDEN_IDS[None]).logits[0], expected, atol=1e-5)
