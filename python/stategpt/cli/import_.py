"""`stategpt import`: a model from elsewhere becomes a published model folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from stategpt.cli.commands import add
from stategpt.cli.model_source import DTYPES, Source, add_engine, load_source, model_place, torch_dtype
from stategpt.errors import ConfigError
from stategpt.quantities import size
from stategpt.visible_text import visible_line

_DETAILS = """SOURCE is a folder of transformers, a .gguf file, or org/name[@revision] on the Hugging Face Hub.
OUT gets weights, tokenizer, chat template and a manifest; `[start] model = "OUT"` begins a run with it."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = add(
        commands, "import", execute, "make a model folder of a folder, a GGUF file or a model of the Hub", _DETAILS
    )
    parser.add_argument("source", metavar="SOURCE", help="a folder, a .gguf file, or org/name")
    parser.add_argument("out", metavar="OUT", help="the model folder to write; must not exist")
    parser.add_argument("--dtype", choices=DTYPES, help="number format of the weights (default: the file's)")
    add_engine(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Loads the source, publishes the folder and prints what it holds."""
    out = Path(arguments.out)
    if out.exists():
        raise ConfigError(f"{out} exists; give a folder that does not")
    source = load_source(model_place(arguments.source), arguments.engine, torch_dtype(arguments.dtype))
    publish_source(source, out)
    print(described(source, out))
    return 0


def publish_source(source: Source, out: Path) -> None:
    """Publishes a model folder; tokenizer files of a folder keep what only they say."""
    from stategpt.artifacts import publish_folder
    from stategpt.data.control_ids import has_own_block
    from stategpt.model.foreign_tokenizer import keep_files

    def write(folder: Path) -> None:
        """Fills the folder that is about to be published."""
        source.model.save_pretrained(folder, source.tok, source.chat, manifest=True)
        if source.place.is_dir() and not has_own_block(source.tok):
            keep_files(folder, source.place)

    publish_folder(out, write, kind="model", fingerprints={"tokenizer": source.tok.fingerprint})


def described(source: Source, out: Path) -> str:
    """Says in lines what was written."""
    parameters = list(source.model.parameters())
    count = sum(parameter.numel() for parameter in parameters)
    held = sum(parameter.numel() * parameter.element_size() for parameter in parameters)
    dtypes = " ".join(sorted({str(parameter.dtype).removeprefix("torch.") for parameter in parameters}))
    template = "no template" if source.chat is None else f"template {visible_line(source.chat.name)}"
    return (
        f"{visible_line(str(out))}: {type(source.model).__name__}, {count:,} parameters, {dtypes}, {size(held)}\n"
        f"tokenizer of {source.tok.vocab_size:,} ids, {template}"
    )
