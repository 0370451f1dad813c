"""SFT steps with adapters: this project beside `transformers` and `peft`, on equal weights, adapters and conversations.

    python benches/peers/lora.py [--conversations 16] [--longest 128] [--rounds 3] [--depth 30]

The model has SmolLM2-135M's shape and random weights. Both train rank 8 on all linear layers of the blocks with AdamW.
Conversations have lengths spread evenly up to the longest, and their second half is trained on. Here they are packed,
and logits are made where there is a target; the peer's are padded to the longest of the batch with labels of -100, as
TRL's trainer does by default. Steps alternate in one process; the losses of the first are compared before anything is
timed. Rates count tokens of conversations, none of padding, by the CPU time of a step, which other work on the machine
changes less than its wall time. Needs the packages transformers and peft.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

import stategpt as sg
from stategpt.config import GPTConfig, OptimConfig
from stategpt.model import save_adapter
from stategpt.ops import TensorLayout, logit_rows, next_token_loss_by_chunks
from stategpt.packing import Layout
from stategpt.train.optimizers import build_optimizer, clip_gradients

VOCABULARY = 49_152


def step_of(loss_of: Callable[[], torch.Tensor], model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """One optimizer step; returns its loss per token."""
    loss = loss_of()
    loss.backward()
    clip_gradients([each for each in model.parameters() if each.requires_grad], 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def ours(folder: Path, conversations: list[torch.Tensor]) -> Callable[[], float]:
    """This project's step, as its loop has it."""
    model = sg.model.load_adapter(sg.GPT.from_pretrained(folder), folder / "adapter").train()
    optimizer = build_optimizer(model, OptimConfig(learning_rate=1e-4, weight_decay=0.0))
    for group in optimizer.param_groups:
        group["lr"] = 1e-4
    lengths = [len(each) for each in conversations]
    layout = TensorLayout.of(Layout.packed([lengths], sum(lengths)))
    ids = torch.cat(conversations)
    starts = np.cumsum([0, *lengths])
    index = torch.cat(
        [torch.arange(start + size // 2 - 1, start + size - 1) for start, size in zip(starts, lengths, strict=False)]
    )

    def loss() -> torch.Tensor:
        hidden = model.hidden(ids, layout)[index]
        return next_token_loss_by_chunks(model.unembed, hidden, ids[index + 1], logit_rows(VOCABULARY)) / len(index)

    return lambda: step_of(loss, model, optimizer)


def theirs(folder: Path, conversations: list[torch.Tensor]) -> Callable[[], float]:
    """The step of transformers with PEFT, as its trainers have it: labels in, mean loss out."""
    import peft
    import transformers

    base = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa")
    model = peft.PeftModel.from_pretrained(base, folder / "adapter", is_trainable=True).train()
    optimizer = torch.optim.AdamW(
        [each for each in model.parameters() if each.requires_grad], lr=1e-4, weight_decay=0.0, fused=True
    )
    ids = torch.nn.utils.rnn.pad_sequence(conversations, batch_first=True)
    labels = torch.nn.utils.rnn.pad_sequence(conversations, batch_first=True, padding_value=-100)
    mask = (labels >= 0).long()
    for row, each in enumerate(conversations):
        labels[row, : len(each) // 2] = -100
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels, "use_cache": False}
    return lambda: step_of(lambda: model(**batch).loss, model, optimizer)


def main() -> None:
    """Measures both and prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("conversations", 16), ("longest", 128), ("rounds", 3), ("depth", 30)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.manual_seed(0)
    shape = GPTConfig(
        vocab_size=VOCABULARY,
        width=576,
        depth=given.depth,
        heads=9,
        kv_heads=3,
        head_dim=64,
        mlp_width=1536,
        context_tokens=2048,
        qk_norm=False,
    )
    drawn = np.random.default_rng(0)
    lengths = np.linspace(8, given.longest, given.conversations).astype(int)
    conversations = [torch.from_numpy(drawn.integers(0, VOCABULARY, length)) for length in lengths]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = sg.GPT(shape)
        model.save_pretrained(folder)
        save_adapter(sg.lora(model, rank=8), folder / "adapter")
        del model
        steps = {each.__name__: each(folder, conversations) for each in (ours, theirs)}
    first = {name: step() for name, step in steps.items()}
    assert abs(first["ours"] - first["theirs"]) < 1e-3 * first["theirs"], first
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(given.rounds):
        for name, step in steps.items():
            began = time.process_time()
            step()
            seconds[name].append(time.process_time() - began)
    rates = {name: int(lengths.sum()) / median(values) for name, values in seconds.items()}
    found = {f"{name}_tokens_per_s": round(rate, 1) for name, rate in rates.items()}
    print(json.dumps({**vars(given), **found, "ratio": round(rates["ours"] / rates["theirs"], 2)}))


if __name__ == "__main__":
    main()
