"""A training loop of your own: our data engine and model, your optimizer and your lines.

Run it as it is: it trains a toy model on this file's own folder for twenty steps.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import stategpt as sg
from stategpt.ops import TensorLayout

texts = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))]
tok = sg.Tokenizer.train(texts, vocab_size=512, special_tokens=["<|endoftext|>", "<|pad|>"])

with tempfile.TemporaryDirectory() as folder:
    shards = sg.write_shards(texts, tok, Path(folder) / "texts")
    rows = sg.Mixture({"texts": (sg.pack(shards, row_tokens=64), 1.0)}, seed=0)
    loader = sg.Loader(rows, batch_rows=8)

    torch.manual_seed(0)
    shape = {"depth": 2, "width": 64, "heads": 2, "kv_heads": 1, "head_dim": 32, "mlp_width": 128}
    model = sg.GPT(sg.GPTConfig(vocab_size=tok.vocab_size, context_tokens=64, **shape))
    # Not `model.parameters()`: the embedding and the last norm want learning rates of their own.
    optimizer = torch.optim.AdamW(model.parameter_groups(lr=3e-3, weight_decay=0.1))

    losses = []
    for step, batch in zip(range(20), loader, strict=False):
        tokens = torch.from_numpy(batch.tokens.astype(np.int64))
        targets = torch.from_numpy(batch.targets.astype(np.int64))
        mask = torch.from_numpy(batch.loss_mask)
        # Documents of a row do not see each other: the layout that the packer made says who sees whom.
        logits = model(tokens, TensorLayout.of(batch.layout))
        loss = F.cross_entropy(logits[mask], targets[mask])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 5 == 0:
            print(f"step {step:2d}  loss {loss.item():.3f} nats per token  ({batch.target_count} targets)")

    print("to resume later, keep:", loader.state())
    assert losses[-1] < losses[0]
