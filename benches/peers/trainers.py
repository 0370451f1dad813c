"""The trainers behind the same few calls. A merge is compared by the bytes of the token it makes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vocabularies

REGEX = {"gpt2": vocabularies.GPT2, "gpt4": vocabularies.GPT4, "o200k": vocabularies.O200K}
Job = dict[str, Any]


@dataclass(frozen=True)
class TrainerOf:
    """A library's trainer.

    Attributes:
        module: what is imported before the clock starts.
        reads_files: whether it reads `job["plain"]` (or `job["corpus"]`) itself; else it is given the documents.
        train: learns, from the documents or from the file.
        tokens: the tokens its merges made, in order.
    """

    module: str
    reads_files: bool
    train: Callable[[Job, list[str] | None], Any]
    tokens: Callable[[Any], Iterator[bytes]]

    def prepare(self) -> None:
        """Imports the library."""
        importlib.import_module(self.module)


def _ours(job: Job, texts: list[str] | None) -> Any:
    import stategpt as sg

    source = [Path(job["plain"])] if texts is None else texts
    return sg.Tokenizer.train(
        source, job["size"], pattern=job["pattern"], documents=job["documents"], threads=job["threads"]
    )


def _our_tokens(tok: Any) -> Iterator[bytes]:
    return (tok.token_bytes(token) for token in range(256, tok.vocab_size))


def _hf(job: Job, texts: list[str] | None) -> Any:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    tok = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel
    if job["pattern"] == "gpt2":
        tok.pre_tokenizer = level(add_prefix_space=False)
    else:
        split = pre_tokenizers.Split(Regex(REGEX[job["pattern"]]), "isolated")
        tok.pre_tokenizer = pre_tokenizers.Sequence([split, level(add_prefix_space=False, use_regex=False)])
    trainer = trainers.BpeTrainer(
        vocab_size=job["size"], show_progress=False, initial_alphabet=level.alphabet(), special_tokens=[]
    )
    if texts is None:
        tok.train([job["plain"]], trainer)
    else:
        tok.train_from_iterator(texts, trainer, length=len(texts))
    return tok


def _hf_tokens(tok: Any) -> Iterator[bytes]:
    merges = json.loads(tok.to_str())["model"]["merges"]
    return (vocabularies.unspell(left) + vocabularies.unspell(right) for left, right in merges)


def _gigabpe(job: Job, texts: list[str] | None) -> Any:
    import gigabpe

    return gigabpe.train_bpe(
        [job["plain"]],
        job["size"],
        special_tokens=[],
        pretokenizer="bytelevel",
        threads=job["threads"],
        min_frequency=0,
    )


def _gigatoken(job: Job, texts: list[str] | None) -> Any:
    import gigatoken

    return gigatoken.train_bpe(Path(job["separated"]), job["size"], [], separator=b"<|endoftext|>")


def _rustbpe(job: Job, texts: list[str] | None) -> Any:
    import rustbpe

    tok = rustbpe.Tokenizer()
    tok.train_from_iterator(iter(texts or []), job["size"], pattern=REGEX[job["pattern"]])
    return tok


def _rustbpe_tokens(tok: Any) -> Iterator[bytes]:
    ranks = sorted(((rank, bytes(token)) for token, rank in tok.get_mergeable_ranks()))
    return (token for _, token in ranks[256:])


TRAINERS = {
    "stategpt": TrainerOf("stategpt", False, _ours, _our_tokens),
    "stategpt files": TrainerOf("stategpt", True, _ours, _our_tokens),
    "tokenizers": TrainerOf("tokenizers", False, _hf, _hf_tokens),
    "tokenizers files": TrainerOf("tokenizers", True, _hf, _hf_tokens),
    "gigabpe files": TrainerOf(
        "gigabpe", True, _gigabpe, lambda made: (vocabularies.unspell(a) + vocabularies.unspell(b) for a, b in made[1])
    ),
    "gigatoken files": TrainerOf("gigatoken", True, _gigatoken, lambda made: (a + b for a, b in made[1])),
    "rustbpe": TrainerOf("rustbpe", False, _rustbpe, _rustbpe_tokens),
}
