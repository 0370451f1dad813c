"""Train a tokenizer, look at what it does, save it for the wider ecosystem. Needs the base install only."""

import inspect
import json
import textwrap

import stategpt as sg
from stategpt.tokenizer import Control

# A corpus: any strings (documents) or Paths (files); an iterator will do, texts are not kept.
documents = [inspect.getsource(module) for module in (inspect, json, textwrap)]
tok = sg.Tokenizer.train(documents, vocab_size=1024, special_tokens=["<|endoftext|>", "<|user|>"])
print(tok)

# Text is cut into pieces first; no token crosses a piece.
text = "def wrap(text, width=70):\n    return text"
print(tok.pieces(text))
ids = tok.encode(text)
print([tok.token_bytes(token).decode() for token in ids])
print(f"{len(text.encode()) / len(ids):.2f} bytes per token")

# Whatever goes in comes out, whether it is UTF-8 or not.
assert tok.decode(ids) == text
assert tok.decode_bytes(tok.encode_bytes(b"\xff\x00\xe2\x82")) == b"\xff\x00\xe2\x82"

# Text is text: nobody writes a control token into a document by spelling it. A template opts in.
spelled = "<|user|> hello"
print(tok.encode(spelled).tolist(), "is text;", tok.encode(spelled, special="allow").tolist(), "holds a control token")

# A template: text segments never yield a control token, control segments are exactly the token named.
print(tok.encode_segments([Control("<|user|>"), spelled]).tolist())

# The first ids only, for a budget; where tokens lie, in bytes or in characters; how many there are, without the ids.
assert tok.encode(documents[0], max_tokens=8).tolist() == tok.encode(documents[0])[:8].tolist()
ids, spans = tok.encode_with_spans("na\u00efve")
print([("na\u00efve"[start:end], int(token)) for token, (start, end) in zip(ids, spans, strict=True)])
assert tok.count_batch(documents).tolist() == [tok.count(document) for document in documents]

# Many documents in one call: one flat array, and where each begins.
ragged = tok.encode_batch(documents)
print(len(ragged), "documents,", len(ragged.ids), "tokens,", ragged.lengths.tolist(), "each")

# Decoding as a model writes: a character split over tokens waits until it is whole.
decoder = tok.decoder()
print([decoder.push(token) for token in tok.encode("na\u00efve \U0001f680")] + [decoder.finish()])

# tokenizer.json as the `tokenizers` and `transformers` libraries read it; the fingerprint names exactly this tokenizer.
tok.save("tokenizer.json")
assert sg.Tokenizer.load("tokenizer.json").fingerprint == tok.fingerprint
print(tok.fingerprint)
