"""Sample from a model: several completions of a prompt, stop strings, a stream, branches of a session.

    python docs/examples/generation.py [folder]     # a folder that a run made, e.g. runs/tiny/sft/model

Without a folder a small model with random weights writes nonsense: the calls are the same.
"""

import sys
from pathlib import Path

import torch

import stategpt as sg
from stategpt.config import CONTROL_TOKENS
from stategpt.data import chat_prompt


def nonsense() -> tuple[sg.GPT, sg.Tokenizer]:
    """An untrained model over a tokenizer learned from one sentence."""
    tok = sg.Tokenizer.train(
        ["Return the length of the list, or None if it is empty."], vocab_size=300, special_tokens=CONTROL_TOKENS
    )
    torch.manual_seed(0)
    shape = sg.GPTConfig(vocab_size=tok.vocab_size, depth=2, width=64, heads=4, kv_heads=2, head_dim=16, mlp_width=128)
    return sg.GPT(shape), tok


def main(folder: Path | None) -> None:
    """Samples from the model in `folder`, or from random weights."""
    if folder is None:
        model, tok = nonsense()
    else:
        model, tok = sg.GPT.from_pretrained(folder), sg.Tokenizer.load(folder / "tokenizer.json")
    engine = sg.Engine(model, tok)

    # Two prompts, three samples each; a sample depends on the seed, its prompt's number and its own, not on the others.
    prompts = [chat_prompt(tok, f"What does `{name}` do?") for name in ("math.sqrt", "str.split")]
    for completion in engine.generate(prompts, n=3, temperature=0.7, seed=1, max_tokens=24):
        name, nats = f"{completion.prompt_index}.{completion.sample_index}", -completion.log_probs.mean()
        print(f"{name} ({completion.reason}, {nats:.2f} nats a token): {completion.text!r}")

    # The most likely answer, up to the end of its first sentence.
    (greedy,) = engine.generate(prompts[:1], temperature=0, stop=[". ", "\n"], max_tokens=24)
    print("greedy:", repr(greedy.text))

    # A string is the beginning of a document; the text comes in pieces while it is sampled.
    print("stream:", end=" ")
    for piece in engine.stream("Return the", temperature=0.7, top_p=0.9, max_tokens=24):
        print(piece, end="", flush=True)
    print()

    # Three branches of one text, computed once; the one with the highest probability is continued.
    with engine.session(prompts[0]) as session:
        branches = session.fork(3)
        tries = engine.sample(branches, max_tokens=8, temperature=0.9, seed=2, raw_log_probs=True)
        best = max(range(3), key=lambda number: tries[number].raw_log_probs.mean())
        print("best branch:", repr(tries[best].text + branches[best].sample(8, temperature=0).text))
        for branch in branches:
            branch.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
