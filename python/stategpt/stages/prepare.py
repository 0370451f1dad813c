"""Before stage 1: the corpus, the tokenizer trained on it, and its documents as token shards.

Each part is published as one folder with a manifest; a run that was cut off finds what is there and goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from stategpt.artifacts import Manifest, publish_folder, read_manifest
from stategpt.artifacts.measurements import is_published
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import CONTROL_TOKENS, RunConfig
from stategpt.data import write_shards
from stategpt.data.sources.python_library import PythonLibrary, build_python_library, read_library, write_library
from stategpt.data.sources.python_library.records import SIDES
from stategpt.packing import Shards
from stategpt.progress import Advance, console, progress
from stategpt.stages.context import part_fingerprint
from stategpt.stages.requirements import require_usable
from stategpt.tokenizer import AnyTokenizer, Tokenizer


def prepare(run: RunConfig, folder: RunFolder) -> None:
    """Makes corpus, tokenizer and shards of `run` in `folder`, or checks that they are there and belong to it."""
    with folder.timed("data"):
        library = _corpus(run, folder)
        tok = _tokenizer(run, folder, library)
        for source, documents in library.sources.items():
            for split in SIDES:
                _shards(run, folder, tok, source, split, documents.documents(split))
        require_usable(run, tok, library)
    folder.close("data", part_fingerprint(run, "tokenizer"))


def _corpus(run: RunConfig, folder: RunFolder) -> PythonLibrary:
    fingerprint = part_fingerprint(run, "corpus")
    if not folder.published(folder.corpus, "corpus", fingerprint):
        console.print("corpus: reading and splitting by module, about ten seconds", markup=False)
        write_library(build_python_library(run.corpus), folder.corpus, fingerprint=fingerprint)
    return read_library(folder.corpus)


def _tokenizer(run: RunConfig, folder: RunFolder, library: PythonLibrary) -> AnyTokenizer:
    corpus = read_manifest(folder.corpus)
    fingerprint = part_fingerprint(run, "tokenizer", (corpus.fingerprint,))
    if not folder.published(folder.tokenizer, "tokenizer", fingerprint):
        console.print(f"tokenizer: training {run.tokenizer.vocab_size:,} tokens, a few seconds", markup=False)
        texts = [text for source in sorted(library.sources) for text in library.sources[source].train]
        tok = Tokenizer.train(
            texts,
            vocab_size=run.tokenizer.vocab_size,
            pattern=run.tokenizer.pattern,
            special_tokens=list(CONTROL_TOKENS),
        )
        _publish_tokenizer(run, folder, tok, library, fingerprint, corpus)
    tok = Tokenizer.load(folder.tokenizer_json)
    if tok.vocab_size < run.tokenizer.vocab_size:
        console.print(
            f"notice: the corpus gave {tok.vocab_size:,} tokens of the {run.tokenizer.vocab_size:,} that "
            "tokenizer.vocab_size asks for. The model's rows beyond them are never used; a vocabulary of that size, or "
            "more text, would spare them.",
            markup=False,
        )
    return tok


def _publish_tokenizer(
    run: RunConfig, folder: RunFolder, tok: AnyTokenizer, library: PythonLibrary, fingerprint: str, corpus: Manifest
) -> None:
    statistics: dict[str, Any] = {
        "vocab_size": tok.vocab_size,
        "vocab_size_asked": run.tokenizer.vocab_size,
        "bytes_per_token": {
            source: {split: bytes_per_token(tok, documents.documents(split)) for split in SIDES}
            for source, documents in library.sources.items()
        },
    }
    publish_folder(
        folder.tokenizer,
        lambda temporary: tok.save(temporary / "tokenizer.json"),
        kind="tokenizer",
        fingerprints={"config": fingerprint, "tokenizer": tok.fingerprint},
        parents=(corpus.fingerprint,),
        extra={"statistics": statistics},
    )


def bytes_per_token(tok: AnyTokenizer, texts: Iterable[str]) -> float:
    """UTF-8 bytes over tokens of all `texts`: how much a token carries."""
    held = list(texts)
    tokens = len(tok.encode_batch(held).ids)
    return round(sum(len(text.encode()) for text in held) / tokens, 4) if tokens else 0.0


def _shards(run: RunConfig, folder: RunFolder, tok: AnyTokenizer, source: str, split: str, texts: list[str]) -> None:
    target = folder.shards(source, split)
    if is_published(target):
        Shards.open(target, tokenizer=tok)
        return
    corpus, tokenizer = read_manifest(folder.corpus), read_manifest(folder.tokenizer)
    with progress(f"shards {source}/{split}", len(texts), "documents") as advance:
        write_shards(
            _counted(texts, advance),
            tok,
            target,
            source=source,
            parents=(corpus.fingerprint, tokenizer.fingerprint),
            allow_empty=True,  # a small corpus may leave nothing for one split
        )


def _counted(texts: list[str], advance: Advance) -> Iterator[str]:
    for done, text in enumerate(texts, start=1):
        yield text
        advance(done, "")
