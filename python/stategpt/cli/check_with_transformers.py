"""What transformers makes of an exported folder: reads a request from standard input, prints a line of JSON.

Run as a separate process (`python -m`): what is compared shares no code and no setting with this package.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main() -> None:
    """Answers one request (see `stategpt.cli.export_check`)."""
    import torch
    import transformers

    torch.set_grad_enabled(False)
    request = json.load(sys.stdin)
    folder = request["path"]
    tok: Any = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    texts = [
        {
            "ids": tok(text, add_special_tokens=False)["input_ids"],
            "plain": tok(text, add_special_tokens=False, split_special_tokens=True)["input_ids"],
        }
        for text in request["texts"]
    ]
    prompts = [
        tok.apply_chat_template(rows, add_generation_prompt=True, return_dict=True)["input_ids"]
        for rows in request["chats"]
    ]
    answer: dict[str, Any] = {"tool": f"transformers {transformers.__version__}", "texts": texts, "chats": prompts}
    if request["talks"]:
        options = {"dtype": torch.float32, "local_files_only": True}
        model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(folder, **options)
        model.eval()
        chats = [tok.apply_chat_template(rows, return_dict=True)["input_ids"] for rows in request["talks"]]
        batch = tok.pad({"input_ids": chats}, return_tensors="pt")
        answer["talks"] = [
            {"ids": ids, "score": score} for ids, score in zip(chats, model(**batch).logits[:, 0].tolist(), strict=True)
        ]
    else:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        model.eval()
        answer["runs"] = [_run(model, ids, request["steps"]) for ids in request["runs"]]
        end = model.generation_config.eos_token_id
        answer["ends"] = end if isinstance(end, list) else [end]
    print("\n" + json.dumps(answer))


def _run(model: Any, ids: list[int], steps: int) -> dict[str, Any]:
    """The 20 most likely ids after a prompt with their log-probabilities, and the tokens that greedy decoding takes."""
    import torch

    found: dict[str, Any] = {"greedy": []}
    row = list(ids)
    for step in range(steps):
        chances = model(torch.tensor([row])).logits[0, -1].log_softmax(-1)
        if step == 0:
            values, places = chances.topk(min(20, len(chances)))
            found["top"] = [[int(place), float(value)] for place, value in zip(places, values, strict=True)]
        row.append(int(chances.argmax()))
        found["greedy"].append(row[-1])
    return found


if __name__ == "__main__":
    main()
