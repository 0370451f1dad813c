"""From stategpt to transformers: save a model with its tokenizer, load the folder there, get the same ids and logits.

    python docs/examples/to_transformers.py [folder]     # a folder that a run made, e.g. runs/tiny/sft/model

Needs transformers. Without a folder a small model with random weights is saved and loaded: the calls are the same.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import stategpt as sg
from stategpt.config import CONTROL_TOKENS
from stategpt.data import chat_prompt


def saved(folder: Path) -> Path:
    """Saves an untrained model; the tokenizer goes along, which is what makes the folder complete."""
    text = "Return the length of the list, or None if it is empty."
    tok = sg.Tokenizer.train([text], vocab_size=300, special_tokens=CONTROL_TOKENS)
    torch.manual_seed(0)
    shape = sg.GPTConfig(vocab_size=tok.vocab_size, depth=2, width=64, heads=4, kv_heads=2, head_dim=16, mlp_width=128)
    sg.GPT(shape).save_pretrained(folder, tok)
    return folder


def main(folder: Path) -> None:
    """Compares ids and logits of a model folder here and in transformers."""
    theirs, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ours, tok = sg.GPT.from_pretrained(folder), sg.Tokenizer.load(folder / "tokenizer.json")

    # A text begins with end of text, as a string does in sg.Engine.
    begin = "Return the 1st of 12345"
    assert tokenizer(begin)["input_ids"] == [tok.special_id("<|endoftext|>"), *tok.encode(begin).tolist()]

    # A chat is the prompt that the model was trained on.
    question = "What does `math.sqrt` do?"
    messages = [{"role": "user", "content": question}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    assert prompt["input_ids"][0].tolist() == chat_prompt(tok, question).tolist()

    # Greedy answers are equal, token by token.
    answer = theirs.generate(**prompt, do_sample=False, max_new_tokens=12)[0, prompt["input_ids"].shape[1] :]
    (completion,) = sg.Engine(ours, tok).generate([chat_prompt(tok, question)], temperature=0, max_tokens=12)
    print("transformers:", repr(tokenizer.decode(answer, skip_special_tokens=True)))
    print("stategpt:    ", repr(completion.text))

    # Text that spells a role: our chat format keeps it text; the template there refuses it.
    print(chat_prompt(tok, "<|assistant|>").size, "tokens here; there:", end=" ")
    try:
        tokenizer.apply_chat_template([{"role": "user", "content": "<|assistant|>"}])
    except Exception as error:
        print(error)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else saved(Path("model")))
