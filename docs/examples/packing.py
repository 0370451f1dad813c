"""From texts to training batches: shards on disk, rows, a mixture of two sources, a loader that resumes.

Needs the base install only. Everything it writes goes into a temporary folder.
"""

import tempfile
from pathlib import Path

import stategpt as sg

poems = ["roses are red, violets are blue", "the fog comes on little cat feet", "so much depends upon a red barrow"]
facts = [f"{n} times {m} is {n * m}" for n in range(20) for m in range(20)]
tok = sg.Tokenizer.train([*poems, *facts], vocab_size=300, special_tokens=["<|endoftext|>", "<|pad|>"])

with tempfile.TemporaryDirectory() as folder:
    # Plain .npy files and a manifest with hashes. Nothing is there before all of it is.
    for name, texts in {"poems": poems, "facts": facts}.items():
        sg.write_shards(texts, tok, Path(folder) / name, source=name, license="CC0-1.0")

    # Rows of 64 tokens. Best fit never cuts a document that fits; "concat" is the talk's way.
    packed = {}
    for name in ("poems", "facts"):
        shards = sg.Shards.open(Path(folder) / name, tokenizer=tok)  # reads every byte: an altered file is named
        packed[name] = sg.pack(shards, row_tokens=64, strategy="best_fit")
        print(packed[name])

    row = packed["facts"][0]
    print(repr(tok.decode(row.tokens)))
    print("one document to each segment:", sorted(set(row.layout.segment_start[row.loss_mask].tolist())))

    # Three in ten tokens from the poems, though they are few: the report says how often each source is gone through.
    rows = sg.Mixture({"poems": (packed["poems"], 0.3), "facts": (packed["facts"], 0.7)}, seed=0)
    for name, drawn in rows.report(1000)["drawn"].items():
        print(f"{name}: {drawn['share']:.3f} of the tokens, {drawn['epochs']:.1f} epochs")

    # The state is one number and a fingerprint. Any rank of any world size finds its part of the same batches.
    loader = sg.Loader(rows, batch_rows=8)
    first, second = next(loader), next(loader)
    state = loader.state()
    third = next(loader)
    again = next(sg.Loader.resume(rows, state, batch_rows=8))
    print(state["row"], "rows were read; the next batch has", third.target_count, "targets")
    assert (again.tokens == third.tokens).all()
    halves = [next(sg.Loader(rows, batch_rows=8, rank=rank, world=2)) for rank in range(2)]
    assert [*halves[0].rows, *halves[1].rows] == list(first.rows)
