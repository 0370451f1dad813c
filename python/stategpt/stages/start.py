"""Takes the model that a run starts from into the run folder: base/model and tokenizer, as if they were trained there.
Where the run has sources, pretraining continues from it, and it is kept as start/model.

A copy, so that the run folder holds all that its later stages were made from, and nothing changes under it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stategpt.artifacts import fingerprint, publish_folder, read_manifest, verify
from stategpt.artifacts.measurements import is_published
from stategpt.artifacts.receipt import file_hash
from stategpt.artifacts.run_folder import RunFolder, write_json
from stategpt.config import RunConfig
from stategpt.config.parts import start_part
from stategpt.config.start import StartConfig, model_place
from stategpt.data import ChatTemplate, ModelIds
from stategpt.data.control_ids import CONTROL_FILE, control_ids_json, has_own_block
from stategpt.errors import ChatTemplateError, ConfigError, ForeignArtifact, InvalidArgument, NoChatTemplate
from stategpt.gguf_file import is_gguf
from stategpt.hub import MODEL_FILES
from stategpt.progress import console
from stategpt.stages.chat_format import FORMAT_FILE, KEPT, TEMPLATE_FILE, read_chat, run_tokenizer, start_tokenizer
from stategpt.stages.fingerprints import part_fingerprint
from stategpt.tokenizer import AnyTokenizer
from stategpt.visible_text import visible_line

_MANIFEST = "manifest.json"
_START = "start"
_IMPORTED = ".start_import"
_READ = (".safetensors", ".json", ".jinja", ".model", ".txt")
"""A downloaded folder has more: pickled weights, a GGUF file, pictures."""
_CHAT_FILES = (".toml", ".jinja")


def take_start_model(run: RunConfig, folder: RunFolder) -> AnyTokenizer:
    """Publishes the start model and its tokenizer; returns the tokenizer. Does nothing where both are.

    Raises:
        ConfigError: the model's shape is not that of the run.
        ForeignArtifact: the folder was begun from another model.
        CorruptArtifact: the model's folder is damaged.
    """
    source = _source(run, folder)
    if source is not None:
        content = _content(source, run.start)
        _refuse_another(run, folder, content)
        part = start_part(run)
        has_tokenizer = folder.published(folder.tokenizer, "tokenizer", part_fingerprint(run, "tokenizer"))
        has_model = folder.published(folder.root / part, "model", part_fingerprint(run, part))
        if not (has_tokenizer and has_model):
            with _as_folder(run, folder, source) as model:
                if not has_tokenizer:
                    _publish_tokenizer(run, folder, model, content)
                if not has_model:
                    console.print(f"start: copying the model {source}", markup=False)
                    _publish_model(run, folder, model, content)
    return run_tokenizer(folder)


@contextmanager
def _as_folder(run: RunConfig, folder: RunFolder, source: Path) -> Iterator[Path]:
    """The source as a model's folder. A GGUF file becomes one in the run folder, which is removed afterwards."""
    if not is_gguf(source):
        yield source
        return
    made = folder.root / _IMPORTED
    shutil.rmtree(made, ignore_errors=True)  # of a process that was killed
    try:
        console.print(f"start: importing {source}", markup=False)
        _import(source, made, run.start)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _import(source: Path, target: Path, start: StartConfig) -> None:
    from stategpt.model import GPT

    model, tok = GPT.from_pretrained(source), start_tokenizer(start, source)
    try:
        chat = None if has_own_block(tok) else ChatTemplate.load(source, tok)
    except NoChatTemplate:  # start.chat may name one
        chat = None
    target.mkdir(parents=True)
    model.save_pretrained(target, tok, chat)


def _source(run: RunConfig, folder: RunFolder) -> Path | None:
    """The start model's folder or file; None where the run has taken it already and it is no longer there."""
    try:
        return model_place(run.start.model, MODEL_FILES)
    except ConfigError:
        if is_published(folder.root / start_part(run)) and is_published(folder.tokenizer):
            return None
        raise


def _content(source: Path, start: StartConfig) -> str:
    """Fingerprint of the files of a model's folder (or of a GGUF file), of the chat format's, and of an engine that is
    not the native one; a published folder is verified.
    """
    if (source / _MANIFEST).exists():
        verify(source)
    chat = start.chat
    engine: dict[str, str] = {} if start.engine == "native" else {"engine": start.engine}
    named = {f"chat {Path(chat).suffix}": file_hash(Path(chat))} if chat.endswith(_CHAT_FILES) else {"chat": chat}
    return fingerprint({path.name: file_hash(path) for path in _files(source)} | (named if chat else {}) | engine)


def _files(source: Path) -> list[Path]:
    """What is read of a model's folder, and copied; a GGUF file alone."""
    if is_gguf(source):
        return [source]
    found = (path for path in source.iterdir() if path.is_file() and path.name != _MANIFEST)
    return sorted(path for path in found if path.suffix in _READ or path.name.upper().startswith("LICENSE"))


def _refuse_another(run: RunConfig, folder: RunFolder, content: str) -> None:
    for part in (folder.tokenizer, folder.root / start_part(run)):
        if is_published(part) and read_manifest(part).fingerprints.get(_START) != content:
            raise ForeignArtifact(
                f"{visible_line(str(part))} was not taken from start.model = {visible_line(run.start.model)!r} as it "
                "is now: the model was changed, or the run began otherwise. Use another --out folder."
            )


def _publish_tokenizer(run: RunConfig, folder: RunFolder, source: Path, content: str) -> None:
    tok = start_tokenizer(run.start, source)
    statistics: dict[str, Any] = {
        "vocab_size": tok.vocab_size,
        "vocab_size_asked": tok.vocab_size,
        "bytes_per_token": {},
    }
    is_own = has_own_block(tok) and not run.start.chat
    if is_own and run.start.engine != "native":
        raise ConfigError(
            f'start.engine = "{run.start.engine}": the tokenizer of {visible_line(str(source))} has this package\'s '
            "control tokens, and runs read those natively; leave start.engine out"
        )

    def write(temporary: Path) -> None:
        """Writes this package's tokenizer, or copies the files of another model's."""
        if is_own:
            tok.save(temporary / "tokenizer.json")
        else:
            _write_foreign(run, source, temporary, tok)

    publish_folder(
        folder.tokenizer,
        write,
        kind="tokenizer",
        fingerprints={
            "config": part_fingerprint(run, "tokenizer"),
            "tokenizer": tok.fingerprint,
            _START: content,
        },
        extra={"statistics": statistics},
    )


def _write_foreign(run: RunConfig, source: Path, target: Path, tok: AnyTokenizer) -> None:
    """Copies tokenizer, chat template and generation settings as they came, and records the control ids.

    Raises:
        ConfigError: there is no chat template that can be used.
    """
    from stategpt.model.hf import read_config

    for name in KEPT:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    given = run.start.chat
    if given.endswith(_CHAT_FILES):
        shutil.copyfile(given, target / (FORMAT_FILE if given.endswith(".toml") else TEMPLATE_FILE))
    ids = read_config(source).special_ids
    try:
        chat = read_chat(target, given, tok).for_model(ModelIds(ids.bos, ids.eos, ids.pad))
    except (ChatTemplateError, InvalidArgument) as error:
        raise ConfigError(
            f"start.model: the chat format of {visible_line(str(source))} cannot be used: {error} Set start.chat to "
            f"one of {', '.join(ChatTemplate.names())}, or to a .toml or .jinja file."
        ) from error
    write_json(target / CONTROL_FILE, control_ids_json(chat.control, given, run.start.engine))


def _publish_model(run: RunConfig, folder: RunFolder, source: Path, content: str) -> None:
    from stategpt.model.hf import read_config

    shape = read_config(source).config
    if shape != run.model:
        raise ConfigError(f"start.model has the shape {shape}, and [model] is {run.model}; leave [model] out")

    def write(temporary: Path) -> None:
        """Copies the model's files."""
        for path in _files(source):
            shutil.copyfile(path, temporary / path.name)

    tok = run_tokenizer(folder)
    publish_folder(
        folder.root / start_part(run),
        write,
        kind="model",
        fingerprints={
            "config": part_fingerprint(run, start_part(run)),
            "tokenizer": tok.fingerprint,
            _START: content,
        },
        parents=(read_manifest(folder.tokenizer).fingerprint,),
    )
