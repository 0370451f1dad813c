"""Every library behind the same few calls, each by its fastest exact way from Python.

`library(name, folder, vocabulary)` loads one; nothing else here imports any of them. What a call returns is the
library's own (list, array, bytes): turning it into one form is not timed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import vocabularies

Ids = Any
OURS = "stategpt"

# The form in which tiktoken writes cl100k's pattern: the same pieces, without a stack that grows with the text.
_CL100K_POSSESSIVE = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)


@dataclass(frozen=True)
class Library:
    """A loaded tokenizer.

    Attributes:
        one: the ids of a text.
        batch: the ids of many texts on so many threads, in the library's own form.
        flat: all ids of such a batch as one array.
        decode: text (or its bytes) of a list of ids; None where the library cannot.
        decode_array: the same of a uint32 array.
        names: what the calls are named there.
    """

    one: Callable[[str], Ids]
    batch: Callable[[list[str], int], Any]
    flat: Callable[[Any], np.ndarray]
    decode: Callable[[list[int]], str | bytes] | None
    decode_array: Callable[[np.ndarray], str | bytes] | None
    names: str


def array(ids: Ids) -> np.ndarray:
    """The ids that `one` gave, as uint32."""
    if isinstance(ids, bytes):
        return np.frombuffer(ids, np.uint32)
    return np.asarray(ids, dtype=np.uint32)


def stategpt(folder: Path, vocabulary: str) -> Library:
    """This project."""
    import stategpt as sg

    tok = sg.Tokenizer.load(folder / f"{vocabulary}.json")
    return Library(
        one=tok.encode,
        batch=lambda texts, threads: tok.encode_batch(texts, threads=threads),
        flat=lambda ragged: ragged.ids,
        decode=tok.decode,
        decode_array=tok.decode,
        names="encode, encode_batch, decode",
    )


def gigatoken(folder: Path, vocabulary: str) -> Library:
    import awkward
    import gigatoken as module

    tok = module.Tokenizer(str(folder / f"{vocabulary}.json"))
    backend = tok.backend  # what the wrapper calls; saves it a step for short strings
    return Library(
        one=backend.encode,
        batch=lambda texts, threads: tok.encode_batch(texts, parallel=threads > 1),
        flat=lambda batch: np.asarray(awkward.flatten(batch)).astype(np.uint32),
        decode=backend.decode,
        decode_array=backend.decode,
        names="backend.encode, encode_batch, backend.decode (bytes)",
    )


def fastokens(folder: Path, vocabulary: str) -> Library:
    from fastokens import Tokenizer

    tok = Tokenizer.from_file(str(folder / f"{vocabulary}.json"))
    return Library(
        one=lambda text: tok.encode(text).ids,
        batch=lambda texts, threads: tok.encode_batch_flat(texts),
        flat=lambda batch: np.frombuffer(batch[0], np.uint32),
        decode=tok.decode,
        decode_array=tok.decode,
        names="encode().ids, encode_batch_flat, decode",
    )


def toktok(folder: Path, vocabulary: str) -> Library:
    import toktok as module

    tok = module._encoding({"cl100k": "cl100k_base", "o200k": "o200k_base"}[vocabulary])
    return Library(
        one=tok.encode_ordinary,
        batch=tok.encode_batch_to_numpy,
        flat=lambda batch: batch[0],
        decode=tok.decode,
        decode_array=tok.decode,
        names="encode_ordinary, encode_batch_to_numpy, decode (vocabulary inside the package)",
    )


def quicktok(folder: Path, vocabulary: str) -> Library:
    import quicktok as module

    tok = module.get_encoding({"cl100k": "cl100k_base", "o200k": "o200k_base"}.get(vocabulary, vocabulary))
    return Library(
        one=tok.encode_ordinary,
        batch=tok.encode_batch,
        flat=lambda batch: batch[0],
        decode=tok.decode,
        decode_array=tok.decode,
        names="encode_ordinary, encode_batch, decode (vocabulary inside the package)",
    )


def tuetoken(folder: Path, vocabulary: str) -> Library:
    from tuetoken import Tokenizer

    tok = Tokenizer(str(folder / f"{vocabulary}.json"))
    return Library(
        one=tok.encode_to_bytes,
        batch=tok.encode_ordinary_to_buffer,
        flat=lambda batch: batch["data"],
        decode=tok.decode,
        decode_array=tok.decode_array,
        names="encode_to_bytes, encode_ordinary_to_buffer, decode, decode_array",
    )


def tiktoken(folder: Path, vocabulary: str) -> Library:
    import tiktoken as module

    source = vocabularies.VOCABULARIES[vocabulary]
    ranks = vocabularies.read_ranks(folder / f"{vocabulary}.tiktoken")
    pattern = source.pattern if vocabulary == "o200k" else _CL100K_POSSESSIVE
    tok = module.Encoding(vocabulary, pat_str=pattern, mergeable_ranks=ranks, special_tokens=source.added)
    return Library(
        one=tok.encode_ordinary,
        batch=lambda texts, threads: tok.encode_ordinary_batch(texts, num_threads=threads),
        flat=lambda batch: np.concatenate([array(ids) for ids in batch]),
        decode=tok.decode,
        decode_array=tok.decode,
        names="encode_ordinary, encode_ordinary_batch, decode",
    )


def tokenizers(folder: Path, vocabulary: str) -> Library:
    from tokenizers import Tokenizer

    tok = Tokenizer.from_file(str(folder / f"{vocabulary}.json"))
    return Library(
        one=lambda text: tok.encode(text, add_special_tokens=False).ids,
        batch=lambda texts, threads: tok.encode_batch_fast(texts, add_special_tokens=False),
        flat=lambda batch: np.concatenate([array(encoding.ids) for encoding in batch]),
        decode=lambda ids: tok.decode(ids, skip_special_tokens=False),
        decode_array=lambda ids: tok.decode(ids, skip_special_tokens=False),
        names="encode, encode_batch_fast, decode",
    )


LIBRARIES: dict[str, Callable[[Path, str], Library]] = {
    OURS: stategpt,
    "gigatoken": gigatoken,
    "fastokens": fastokens,
    "toktok-rs": toktok,
    "quicktok-v1": quicktok,
    "tuetoken": tuetoken,
    "tiktoken": tiktoken,
    "tokenizers": tokenizers,
}


def library(name: str, folder: Path, vocabulary: str) -> Library:
    """The library of that name, loaded."""
    return LIBRARIES[name](folder, vocabulary)


def limit_threads(threads: int) -> None:
    """Libraries that take their number of threads from the environment read it when they are imported."""
    os.environ.update(RAYON_NUM_THREADS=str(threads), RAYON_RS_NUM_CPUS=str(threads), OMP_NUM_THREADS=str(threads))
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"


def documents(path: Path, megabytes: float) -> list[str]:
    """The documents in the first so many megabytes of a corpus."""
    with path.open("rb") as file:
        text = file.read(int(megabytes * 1e6)).decode("utf-8", "ignore")
    return [document for document in text.split("<|endoftext|>") if document]


def sizes(texts: Sequence[str]) -> list[int]:
    """Bytes of UTF-8 of each text."""
    return [len(text.encode()) for text in texts]
