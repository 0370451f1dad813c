"""Before stage 1: the corpus, the tokenizer trained on it, and its documents as token shards.

Each part is published as one folder with a manifest; an interrupted run continues with the parts that are missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from stategpt.artifacts import Manifest, publish_folder, read_manifest
from stategpt.artifacts.measurements import is_published
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import CONTROL_TOKENS, RunConfig
from stategpt.config.presence import is_own
from stategpt.data import ChatTemplate, write_shards
from stategpt.data.corpus import CONVERSATIONS, DOCUMENTS, SIDES, Corpus, Side, read_corpus
from stategpt.data.records import Conversation
from stategpt.errors import ForeignArtifact, InvalidArgument
from stategpt.packing import Shards
from stategpt.progress import Advance, console, progress
from stategpt.stages.chat_format import run_chat, run_tokenizer
from stategpt.stages.corpus import publish_corpus
from stategpt.stages.fingerprints import part_fingerprint
from stategpt.stages.fitting import decide_fit, fitting_corpus
from stategpt.stages.requirements import require_sources, require_usable
from stategpt.stages.start import take_start_model
from stategpt.tokenizer import AnyTokenizer, Tokenizer

Counted = TypeVar("Counted")
_BATCH_DOCUMENTS = 1024


def prepare(run: RunConfig, folder: RunFolder) -> None:
    """Makes corpus, tokenizer and shards of `run` in `folder`, or checks that they are there and belong to it."""
    with folder.timed("data"):
        publish_corpus(run, folder)
        corpus = read_corpus(folder.corpus)
        require_sources(run, corpus)
        tok = take_start_model(run, folder) if run.start.model else _tokenizer(run, folder, corpus)
        chat = run_chat(folder, tok)
        _end_token(chat, of_chats=True)  # the template of a reward model writes it
        for source, documents in corpus.sources.items() if "pretrain" in run.stages else ():
            for side in SIDES:
                _shards(folder, chat, tok, source, side, documents.texts(side))
        parents: tuple[str, ...] = ()
        if is_own(run):
            fit = decide_fit(run, folder, chat)
            corpus, parents = fitting_corpus(run, folder), (fit.fingerprint,)
        require_usable(run, chat, corpus)
        if "sft" in run.stages:
            _shards(folder, chat, tok, CONVERSATIONS, "train", corpus.conversations["train"], parents)
    folder.close("data", part_fingerprint(run, "tokenizer"))


def _tokenizer(run: RunConfig, folder: RunFolder, corpus: Corpus) -> AnyTokenizer:
    made_from = read_manifest(folder.corpus / DOCUMENTS)
    fingerprint = part_fingerprint(run, "tokenizer", (made_from.fingerprint,))
    if not folder.published(folder.tokenizer, "tokenizer", fingerprint):
        console.print(f"tokenizer: training {run.tokenizer.vocab_size:,} tokens, a few seconds", markup=False)
        texts = (text for source in sorted(corpus.sources) for text in corpus.sources[source].texts("train"))
        made = Tokenizer.train(
            texts,
            vocab_size=run.tokenizer.vocab_size,
            pattern=run.tokenizer.pattern,
            special_tokens=list(CONTROL_TOKENS),
        )
        _publish_tokenizer(run, folder, made, corpus, fingerprint, made_from)
    tok = run_tokenizer(folder)
    if tok.vocab_size < run.tokenizer.vocab_size:
        console.print(
            f"notice: the corpus gave {tok.vocab_size:,} tokens of the {run.tokenizer.vocab_size:,} that "
            "tokenizer.vocab_size requests. The other rows of the model's embedding are never used; lower "
            "tokenizer.vocab_size to that number, or give more text.",
            markup=False,
        )
    return tok


def _publish_tokenizer(
    run: RunConfig, folder: RunFolder, tok: AnyTokenizer, corpus: Corpus, fingerprint: str, made_from: Manifest
) -> None:
    statistics: dict[str, Any] = {
        "vocab_size": tok.vocab_size,
        "vocab_size_asked": run.tokenizer.vocab_size,
        "bytes_per_token": {
            source: {side: bytes_per_token(tok, documents.texts(side)) for side in SIDES}
            for source, documents in corpus.sources.items()
        },
    }
    publish_folder(
        folder.tokenizer,
        lambda temporary: tok.save(temporary / "tokenizer.json"),
        kind="tokenizer",
        fingerprints={"config": fingerprint, "tokenizer": tok.fingerprint},
        parents=(made_from.fingerprint,),
        extra={"statistics": statistics},
    )


def bytes_per_token(tok: AnyTokenizer, texts: Iterable[str]) -> float:
    """Mean UTF-8 bytes per token over all `texts`."""
    size = tokens = 0
    waiting = iter(texts)
    while batch := list(islice(waiting, _BATCH_DOCUMENTS)):
        size += sum(len(text.encode()) for text in batch)
        tokens += int(tok.count_batch(batch).sum())
    return round(size / tokens, 4) if tokens else 0.0


def _shards(
    folder: RunFolder,
    chat: ChatTemplate,
    tok: AnyTokenizer,
    source: str,
    side: Side,
    documents: Sequence[str | Conversation],
    parents: Sequence[str] = (),
) -> None:
    """Writes one side of a source, or checks that it is there and was made from the corpus and tokenizer as they are.

    Raises:
        ForeignArtifact: it was made from others.
    """
    target = folder.shards(source, side)
    part = folder.corpus / (CONVERSATIONS if source == CONVERSATIONS else DOCUMENTS)
    made_from = (read_manifest(part).fingerprint, read_manifest(folder.tokenizer).fingerprint, *parents)
    if is_published(target):
        Shards.open(target, tokenizer=tok)
        if read_manifest(target).parents != made_from:
            raise ForeignArtifact(
                f"{target} was made from another corpus than the one beside it. Delete it to make it again."
            )
        return
    with progress(f"shards {source}/{side}", len(documents), "documents") as advance:
        write_shards(
            _counted(documents, advance),
            tok,
            target,
            source=source,
            parents=made_from,
            end_of_text=_end_token(chat, of_chats=source == CONVERSATIONS),
            chat=chat,
            allow_empty=True,  # a small corpus may leave nothing for one side
        )


def _end_token(chat: ChatTemplate, *, of_chats: bool) -> str:
    """Name of the token that ends the answers of a chat, or a document.

    Raises:
        InvalidArgument: it has none.
    """
    end = chat.control.ends[0] if of_chats else chat.control.end_of_text
    names = [name for name, number in chat.tok.special_tokens.items() if number == end]
    if not names:
        raise InvalidArgument(
            f"the id {end}, which ends texts by the model's folder, is no special token of its tokenizer; flag it as "
            "special in tokenizer.json, or give a format that ends answers with one: start.chat"
        )
    return names[0]


def _counted(documents: Sequence[Counted], advance: Advance) -> Iterator[Counted]:
    for done, document in enumerate(documents, start=1):
        yield document
        advance(done, "")
