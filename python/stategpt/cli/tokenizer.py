"""`stategpt tokenizer`: trains, applies and inspects tokenizers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stategpt.cli.commands import add
from stategpt.cli.format import listing, table
from stategpt.cli.token_view import show_tokens
from stategpt.config.control import CONTROL_TOKENS
from stategpt.config.corpus import PATTERNS
from stategpt.errors import ConfigError, CorpusError
from stategpt.quantities import size
from stategpt.visible_text import visible_line

if TYPE_CHECKING:
    from stategpt.tokenizer import AnyTokenizer

_LONGEST_SHOWN = 12


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command and its subcommands to the command line."""
    parser = add(commands, "tokenizer", lambda _: 0, "train, use and inspect byte-level BPE tokenizers")
    inner = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    train = add(inner, "train", execute_train, "train a tokenizer on text files")
    train.add_argument("files", metavar="FILE", nargs="+", help="UTF-8 text")
    train.add_argument(
        "--out", metavar="PATH", default="tokenizer.json", help="where to write it (Hugging Face format)"
    )
    train.add_argument("--vocab-size", type=int, default=4096, metavar="N", help="vocabulary size (default: 4096)")
    train.add_argument("--pattern", choices=PATTERNS, default="gpt4", help="pre-tokenizer pattern (default: gpt4)")
    encode = add(inner, "encode", execute_encode, "show the tokens of a text")
    encode.add_argument("tokenizer", metavar="TOKENIZER", help="a tokenizer.json, or a folder containing one")
    encode.add_argument("text", metavar="TEXT", nargs="?", help="default: standard input")
    _add_engine(encode)
    encode.add_argument(
        "--special",
        choices=("text", "unflagged", "allow"),
        default="text",
        help="text that spells an added token: text = encode as text; unflagged = as the token unless flagged special; "
        "allow = as the token (default: text)",
    )
    encode.add_argument("--ids", action="store_true", help="print only the ids, on one line")
    inspect = add(inner, "inspect", execute_inspect, "show the contents of a tokenizer, or its tokens of a text")
    inspect.add_argument("tokenizer", metavar="TOKENIZER", help="a tokenizer.json, or a folder containing one")
    inspect.add_argument("files", metavar="FILE", nargs="*", help="text files to measure bytes per token on")
    _add_engine(inspect)
    inspect.add_argument("--text", metavar="TEXT", help="show its pre-tokens and tokens instead of the vocabulary")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine",
        choices=("native", "tokenizers"),
        default="native",
        help="native, or the tokenizers library (only for files you trust) (default: native)",
    )


def execute_train(arguments: argparse.Namespace) -> int:
    """Trains a tokenizer on files and saves it."""
    from stategpt.cli.tokenizer_progress import TrainingShown
    from stategpt.tokenizer import Tokenizer

    paths = [Path(name) for name in arguments.files]
    with TrainingShown() as shown:
        tok = Tokenizer.train(
            paths, arguments.vocab_size, pattern=arguments.pattern, special_tokens=CONTROL_TOKENS, progress=shown
        )
    tok.save(arguments.out)
    trained_on = size(sum(path.stat().st_size for path in paths))
    print(f"{arguments.out}: {tok.vocab_size:,} tokens, trained on {trained_on} in {len(paths)} files")
    return 0


def execute_encode(arguments: argparse.Namespace) -> int:
    """Prints one token per line, id and bytes; with `--ids` only the ids."""
    from stategpt.tokenizer.inspection import bytes_of_token, readable

    tok = _load(arguments.tokenizer, arguments.engine)
    text = sys.stdin.read() if arguments.text is None else arguments.text
    ids = [int(token) for token in tok.encode(text, special=arguments.special)]
    if arguments.ids:
        print(*ids)
    else:
        for token in ids:
            print(f"{token:>7}  {readable(bytes_of_token(tok, token))}")
    return 0


def execute_inspect(arguments: argparse.Namespace) -> int:
    """Prints the vocabulary's contents or the tokens of a text, and bytes per token of the given files."""
    tok = _load(arguments.tokenizer, arguments.engine)
    if arguments.text is None:
        print(listing(_contents(tok), indent=""))
    else:
        show_tokens(tok, arguments.text)
    if arguments.files:
        print(f"\n{_compression_table(tok, arguments.files)}")
    return 0


def _contents(tok: AnyTokenizer) -> list[tuple[str, str]]:
    """Sizes, special tokens, the longest tokens."""
    from stategpt.tokenizer.inspection import longest_tokens, readable

    specials = [f"{visible_line(name)} {token}" for name, token in tok.special_tokens.items()]
    return [
        ("tokens", f"{tok.vocab_size:,}"),
        ("special", ", ".join(specials) or "none"),
        ("longest", " ".join(readable(held) for held in longest_tokens(tok, _LONGEST_SHOWN))),
        ("fingerprint", tok.fingerprint),
    ]


def _compression_table(tok: AnyTokenizer, names: list[str]) -> str:
    from stategpt.tokenizer.inspection import compression

    measured = [compression(tok, name, _read_text(Path(name))) for name in names]
    head = ("file", "bytes", "tokens", "bytes per token", "characters per token")
    rows = [
        (
            row.name,
            f"{row.byte_count:,}",
            f"{row.tokens:,}",
            f"{row.bytes_per_token:.3f}",
            f"{row.characters_per_token:.3f}",
        )
        for row in measured
    ]
    return table([head, *rows], indent="")


def _load(name: str, engine: Literal["native", "tokenizers"]) -> AnyTokenizer:
    candidates = [Path(name), Path(name) / "tokenizer.json", Path(name) / "tokenizer" / "tokenizer.json"]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise ConfigError(
            f"{name} is neither a tokenizer.json nor a folder containing one; train one: stategpt tokenizer train"
        )
    from stategpt.tokenizer import Tokenizer

    return Tokenizer.load(found, engine)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: byte {error.start} is not UTF-8 ({error.reason}); convert the file first"
        ) from error
    except OSError as error:
        raise CorpusError(f"{path} cannot be read ({error.strerror}); check the path") from error
