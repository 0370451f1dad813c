"""The bases of the adapters in tests/golden/peft, which the `peft` package wrote; their weights follow a formula."""

from pathlib import Path

import torch

from stategpt.config import GPTConfig
from stategpt.config.families import FAMILIES
from stategpt.model import GPT

FOLDER = Path(__file__).parent / "golden" / "peft"
SETTINGS = {
    "llama_dora": {"use_dora": True, "target_modules": ["q_proj", "down_proj"]},
    "phi3_rslora": {"use_rslora": True, "target_modules": ["qkv_proj", "gate_up_proj"]},
    "gpt2_lora": {"target_modules": ["c_attn", "mlp.c_proj"], "alpha_pattern": {"c_attn": 3}},
}
_SIZES = {"vocab_size": 23, "depth": 2, "width": 16, "heads": 2, "kv_heads": 1, "head_dim": 8, "mlp_width": 24}
IDS = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])


def base_of(name: str) -> GPT:
    """The base of the adapter `name`."""
    family = FAMILIES[name.partition("_")[0]]
    sizes = {**_SIZES, "kv_heads": 2} if family.name == "GPT2" else _SIZES
    switches = {"qk_norm": family.qk_norm, "attention_bias": family.attention_bias}
    model = GPT(GPTConfig(**sizes, **switches, context_tokens=16, architecture=family.switches)).eval()
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            wave = torch.sin(torch.arange(parameter.numel()) * 0.7 + number).view(parameter.shape)
            parameter.copy_(1 + 0.1 * wave if parameter.ndim == 1 else 0.3 * wave)
    return model
