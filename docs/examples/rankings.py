"""From people's rankings to batches for a reward model. Needs the base install only.

Writes a small rankings.jsonl with two mistakes in it, reads it, and lays the prompts out in both arrangements.
"""

import json

import stategpt as sg

records = [
    {
        "id": "sine",
        "prompt": "What does math.sin do?",
        "completions": [
            {"text": "Return the sine of x (measured in radians).", "rank": 1},
            {"text": "Return the sine.", "rank": 2},
            {"text": "Give a sine back.", "rank": 2},  # as good as the one before: a tie
            {"text": "sine sine sine", "rank": 3, "ended": False},  # cut off at a length limit
        ],
    },
    {"id": "alone", "prompt": "Why?", "completions": [{"text": "Because.", "rank": 1}]},
    {
        "id": "zero",
        "prompt": "Why?",
        "completions": [{"text": "Because.", "rank": 0}, {"text": "So.", "rank": 1}],
    },
]
with open("rankings.jsonl", "w", encoding="utf-8") as stream:
    stream.writelines(json.dumps(record) + "\n" for record in records)

rankings = sg.Rankings.read("rankings.jsonl")
print(rankings.summary())
for rejected in rankings.rejected:
    print(rejected)  # line, byte offset, a stable code, what to do

(group,) = rankings.groups
for winner, loser in group.pairs:
    print(f"{group.completions[winner]!r} is better than {group.completions[loser]!r}")

texts = [text for group in rankings.groups for text in (group.prompt, *group.completions)]
tok = sg.Tokenizer.train(texts, vocab_size=300, special_tokens=list(sg.config.CONTROL_TOKENS))
for arrange in ("rows", "shared_prefix"):
    (batch,) = sg.ranking_batches(rankings, tok, prompts_per_batch=8, arrange=arrange)
    # The reward of completion c is read at tokens[reward_index[c]]; the loss of a pair (w, l) is
    # -pair_weights * log sigmoid(reward[w] - reward[l]).
    print(f"{arrange}: {batch.token_count} tokens, {len(batch.pairs)} pairs, weights {batch.pair_weights}")
