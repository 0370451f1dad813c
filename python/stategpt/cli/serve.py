"""`stategpt serve`: models behind an HTTP server with OpenAI's API."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stategpt.cli.commands import add
from stategpt.cli.model_source import (
    DTYPES,
    STAGE_FOLDERS,
    Source,
    add_engine,
    load_source,
    model_place,
    torch_dtype,
)
from stategpt.config.run import RunConfig
from stategpt.config.serve import ServeConfig
from stategpt.config.toml import load, override
from stategpt.errors import ConfigError
from stategpt.extras import require
from stategpt.visible_text import visible_line

if TYPE_CHECKING:
    from stategpt.serve.asks import Served
    from stategpt.serve.host import Host
    from stategpt.serve.keys import Keys

TAKES_SETTINGS = True

_NAMED = re.compile(r"(?P<name>[A-Za-z0-9_.:/-]{1,128})=(?P<path>.+)", re.DOTALL)
_DETAILS = """A model is served by name: that of its run or folder, or the one before "=". The first is the default.
Settings are those of [serve] in the run's run.toml; `--serve.NAME VALUE` changes one (docs/guides/serving.md).

  stategpt serve runs/tiny
  stategpt serve base=runs/tiny/base/model chat=runs/tiny --adapter legal=adapters/legal
  curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \\
       -d '{"messages": [{"role": "user", "content": "Why?"}]}'"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = add(commands, "serve", execute, "serve models over HTTP with OpenAI's API", _DETAILS)
    parser.add_argument(
        "models",
        nargs="+",
        metavar="[NAME=]RUN_OR_MODEL",
        help="a run folder, a model folder, a .gguf file, or org/name",
    )
    parser.add_argument("--stage", choices=STAGE_FOLDERS, help="model of each run (default: the last language model)")
    parser.add_argument(
        "--adapter",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="a LoRA adapter of the first model, served under its name; may be repeated",
    )
    parser.add_argument("--host", help="address to listen at (default: 127.0.0.1, this machine only)")
    parser.add_argument("--port", type=int, help="port; 0 = a free one (default: 8000)")
    parser.add_argument("--api-keys", metavar="FILE", help="TOML file of keys; each request then needs one of them")
    parser.add_argument("--dtype", choices=tuple(DTYPES), help="number format of the weights (default: as stored)")
    add_engine(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM."""
    require("starlette", "stategpt serve", "serve")
    require("uvicorn", "stategpt serve", "serve")
    config = settings_of(arguments)

    from stategpt.serve.app import build_app
    from stategpt.serve.server import Server, address_of, allow_open_files, open_socket

    keys = keys_of(config)
    allow_open_files(config)
    with open_socket(config) as sock:  # a taken port is known before models are loaded
        served = load_models(arguments, config)
        sock.listen()  # who reads the next line can connect
        names = ", ".join(served)
        print(f"serving {visible_line(names)} at {address_of(sock)}/v1", flush=True)
        Server(build_app(served, config, keys), config).run(sockets=[sock])
    return 0


def settings_of(arguments: argparse.Namespace) -> ServeConfig:
    """[serve] of the first model's run, with the options and settings of the command line.

    Raises:
        ConfigError: a wrong setting, or one of another section.
    """
    path = Path(named(arguments.models[0])[1]) / "run.toml"
    run = load(path) if os.path.isfile(path) else RunConfig()
    for key in arguments.settings:
        if not key.startswith("serve."):
            raise ConfigError(f"--{key} is no setting of the server; those are --serve.NAME VALUE")
    run = override(run, arguments.settings)
    given = {name: getattr(arguments, name) for name in ("host", "port", "api_keys")}
    return dataclasses.replace(run.serve, **{name: value for name, value in given.items() if value is not None})


def keys_of(config: ServeConfig) -> Keys:
    """Who may ask."""
    from stategpt.serve.keys import Keys, read_keys

    return read_keys(config.api_keys, time.monotonic) if config.api_keys else Keys((), time.monotonic)


def named(word: str) -> tuple[str, str]:
    """Name and path of a model: what is before and behind "=", or the name that the path gives."""
    found = _NAMED.fullmatch(word)
    if found is not None and not os.path.exists(word):
        return found["name"], found["path"]
    path = Path(word)
    parts = [part for part in path.parts if part not in ("/", ".", "..")]
    short = parts[-1] if parts else "model"
    if short == "model" and len(parts) > 1:  # runs/tiny/sft/model
        short = "-".join(parts[-3:-1])
    return re.sub(r"[^A-Za-z0-9_.:-]", "-", short.removesuffix(".gguf"))[:128], word


def load_models(arguments: argparse.Namespace, config: ServeConfig) -> Mapping[str, Served]:
    """The models and adapters of the command line by their names.

    Raises:
        ConfigError: a name twice, a reward model, no such model.
    """
    from stategpt.model import GPT
    from stategpt.serve.host import Host, with_adapter

    served: dict[str, Served] = {}
    first: Host | None = None
    for name, path in map(named, arguments.models):
        place = model_place(path, arguments.stage if (Path(path) / "run.toml").is_file() else None)
        source: Source = load_source(place, arguments.engine, torch_dtype(arguments.dtype))
        if not isinstance(source.model, GPT):
            raise ConfigError(f"{place} is a reward model, which writes no text; give a language model")
        host = Host(source.model, source.tok, source.chat, config)
        first = first or host
        _add(served, host.served(name, created=int(place.stat().st_mtime)))
    assert first is not None
    for name, folder in map(named, arguments.adapter):
        host = with_adapter(first, folder)
        _add(served, host.served(name, root=next(iter(served)), created=int(Path(folder).stat().st_mtime)))
    return served


def _add(served: dict[str, Served], each: Served) -> None:
    if each.name in served:
        raise ConfigError(f"two models are called {each.name}; name one of them: NAME=PATH")
    served[each.name] = each
