"""`stategpt endpoint`: checks that a server with OpenAI's API computes what a model here computes."""

from __future__ import annotations

import argparse
import os

from stategpt.cli.commands import add
from stategpt.cli.export_probes import TEXTS
from stategpt.cli.model_source import STAGE_FOLDERS, add_engine, load_source, model_place
from stategpt.errors import ConfigError

_DETAILS = """The endpoint serves what was exported (vLLM, SGLang, another `stategpt serve`). The log-probability of
each token of probe texts, sent as ids, must be that of the model here. Exit code 2 if one differs by more than
--tolerance.

  stategpt endpoint runs/tiny http://127.0.0.1:8000/v1 --name tiny"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = add(commands, "endpoint", execute, "compare a model with one behind OpenAI's API", _DETAILS)
    parser.add_argument("model", metavar="RUN_OR_MODEL", help="a run folder, a model folder, a .gguf file, or org/name")
    parser.add_argument("url", metavar="URL", help="base URL of the endpoint, up to /v1")
    parser.add_argument("--name", required=True, help="name of the model there")
    parser.add_argument("--stage", choices=STAGE_FOLDERS, help="model of the run (default: the last language model)")
    parser.add_argument("--tolerance", type=float, default=0.05, help="largest difference, in nats (default: 0.05)")
    parser.add_argument(
        "--api-key-variable",
        default="OPENAI_API_KEY",
        help="environment variable with the key (default: OPENAI_API_KEY)",
    )
    add_engine(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Prints the differences, or raises the largest."""
    from stategpt.model import GPT
    from stategpt.serve.endpoint import Endpoint
    from stategpt.serve.gate import compare_with_endpoint

    source = load_source(model_place(arguments.model, arguments.stage), arguments.engine)
    if not isinstance(source.model, GPT):
        raise ConfigError("a reward model writes no text, and OpenAI's API has no scores; give a language model")
    context = source.model.config.context_tokens
    texts = [ids for ids in (source.tok.encode(text)[: context - 1] for text in TEXTS) if len(ids) > 1]
    endpoint = Endpoint(arguments.url, arguments.name, api_key=os.environ.get(arguments.api_key_variable))
    found = compare_with_endpoint(
        source.model, texts, endpoint, vocabulary=source.tok.vocab_size, tolerance=arguments.tolerance
    )
    print(
        f"{found.tokens} tokens of {len(texts)} texts: log-probabilities differ by {found.mean_difference:.5f} on "
        f"average, {found.largest_difference:.5f} at most (tolerance {arguments.tolerance:g})"
    )
    if found.vocabulary != source.tok.vocab_size:
        print(
            f"the endpoint gives probability to all {found.vocabulary} ids, {source.tok.vocab_size} of which have text"
        )
    return 0
