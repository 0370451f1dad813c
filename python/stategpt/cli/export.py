"""`stategpt export`: a model of a run, or a saved one, for transformers or llama.cpp; checked with them if wanted."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from stategpt.cli.commands import add
from stategpt.cli.import_ import described, publish_source
from stategpt.cli.model_source import DTYPES, STAGE_FOLDERS, Source, add_engine, load_source, model_place, torch_dtype
from stategpt.errors import ConfigError

_DETAILS = """hf    a folder of transformers: weights, settings, tokenizer, chat template (--dtype f32, f16, bf16)
gguf  a file of llama.cpp, which ends in .gguf (--dtype f16, f32, q8_0; default f16)

--check loads the result with the other tool, transformers or llama.cpp (the wheel xllamacpp), in a separate process.
Ids, log-probabilities and greedy tokens of probe prompts must be those of the model here. Exit code 2 if they are not,
or if the tool is not installed."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = add(
        commands, "export", execute, "write a model for transformers or llama.cpp, and check it there", _DETAILS
    )
    parser.add_argument("model", metavar="RUN_OR_MODEL", help="a run folder, a model folder, a .gguf file, or org/name")
    parser.add_argument("--to", choices=("hf", "gguf"), required=True, help="what will read it")
    parser.add_argument("--out", metavar="PATH", required=True, help="the folder or file to write; must not exist")
    parser.add_argument("--stage", choices=STAGE_FOLDERS, help="model of the run (default: the last language model)")
    parser.add_argument("--dtype", choices=(*DTYPES, "q8_0"), help="number format of the weights")
    parser.add_argument("--check", action="store_true", help="compare the result with the model in the other tool")
    add_engine(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Writes the folder or file; with `--check` prints the table of the comparison, or raises its first difference."""
    out, to, dtype = Path(arguments.out), arguments.to, arguments.dtype
    if out.exists():
        raise ConfigError(f"{out} exists; give a path that does not")
    if dtype in (("q8_0",) if to == "hf" else ("bf16",)):
        raise ConfigError(f"--dtype {dtype} is no format of --to {to}; see stategpt export --help")
    place = model_place(arguments.model, arguments.stage)
    if to == "hf":
        source = load_source(place, arguments.engine, torch_dtype(dtype))
        publish_source(source, out)
    else:
        source = load_source(place, arguments.engine)
        _write_gguf(source, out, dtype or "f16")
    print(described(source, out) if to == "hf" else f"{out}: {out.stat().st_size:,} bytes, {dtype or 'f16'}")
    if arguments.check:
        from stategpt.cli.export_check import check_export

        print(check_export(source, out, to, dtype or ("f16" if to == "gguf" else None)))
    return 0


def _write_gguf(source: Source, out: Path, dtype: Any) -> None:
    from stategpt.model import GPT
    from stategpt.model.gguf_export import save_gguf
    from stategpt.tokenizer.gguf_vocabulary import gguf_metadata

    if not isinstance(source.model, GPT):
        raise ConfigError("a reward model has no form in GGUF; export it with --to hf")
    save_gguf(source.model, out, gguf_metadata(source.tok), source.template(), dtype)
