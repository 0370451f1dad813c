"""Byte-level BPE as one would explain it: the readable twin of rust/tokenizer, its oracle, and a tutorial.

Sennrich et al., *Neural Machine Translation of Rare Words with Subword Units* (2016), on bytes instead of characters.

1. Cut the text into pieces with the pattern. No token will cross a piece.
2. To train: write each piece as bytes; then, again and again, give the most frequent pair of neighbours an id of its
   own and put it in place of the pair.
3. To encode: write each piece as bytes; then join the pair that was learned first, again and again, until none is left.

Any bytes can be encoded: what is not UTF-8 becomes lone surrogates ("surrogateescape"), which every pattern counts as
punctuation, and turns back into the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import regex

Pair = tuple[int, int]

PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "gpt4": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}

# The order in which trainers number the bytes: printable Latin-1 first, then the rest.
PRINTABLE = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
ALPHABET = PRINTABLE + [byte for byte in range(256) if byte not in PRINTABLE]


def pieces(pattern: str, data: bytes) -> list[bytes]:
    """What the pattern cuts `data` into."""
    text = data.decode("utf-8", "surrogateescape")
    return [piece.encode("utf-8", "surrogateescape") for piece in regex.findall(PATTERNS[pattern], text)]


def join(tokens: Sequence[int], pair: Pair, joined: int) -> list[int]:
    """`tokens` with `joined` in place of every `pair`, from left to right."""
    result: list[int] = []
    place = 0
    while place < len(tokens):
        if tuple(tokens[place : place + 2]) == pair:
            result.append(joined)
            place += 2
        else:
            result.append(tokens[place])
            place += 1
    return result


def train(documents: Iterable[bytes], pattern: str, vocab_size: int) -> tuple[list[bytes], dict[Pair, int]]:
    """The bytes of each id, and the id that each merged pair becomes, in the order learned."""
    tokens = [bytes([byte]) for byte in ALPHABET]
    words = Counter(piece for document in documents for piece in pieces(pattern, document))
    split = {word: [ALPHABET.index(byte) for byte in word] for word in words}
    merges: dict[Pair, int] = {}
    while len(tokens) < vocab_size:
        counts: Counter[Pair] = Counter()
        for word, symbols in split.items():
            for pair in pairwise(symbols):
                counts[pair] += words[word]
        if not counts:
            break
        # Ties go to the smaller pair of ids.
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        text = tokens[best[0]] + tokens[best[1]]
        if text not in tokens:
            tokens.append(text)
        merges[best] = tokens.index(text)
        split = {word: join(symbols, best, merges[best]) for word, symbols in split.items()}
    return tokens, merges


def encode(data: bytes, pattern: str, tokens: Sequence[bytes], merges: dict[Pair, int]) -> list[int]:
    """The ids of any bytes."""
    rank = {pair: place for place, pair in enumerate(merges)}
    ids: list[int] = []
    for piece in pieces(pattern, data):
        symbols = [tokens.index(bytes([byte])) for byte in piece]
        while pairs := [pair for pair in pairwise(symbols) if pair in rank]:
            best = min(pairs, key=rank.__getitem__)
            symbols = join(symbols, best, merges[best])
        ids += symbols
    return ids


def decode(ids: Iterable[int], tokens: Sequence[bytes]) -> bytes:
    """The bytes of ids."""
    return b"".join(tokens[token] for token in ids)
