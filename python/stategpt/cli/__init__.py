"""The command line: parse, call, print. Each command is one file of this folder.

Exit codes: 0 done; 1 `run --check` with a gate that failed; 2 an error that is explained on stderr, or wrong usage;
130 interrupted by SIGINT, 75 by SIGTERM, both after the loop has saved.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from stategpt.cli.launch import TRAINING_COMMANDS, relaunch_tuned
from stategpt.cli.parser import build_parser
from stategpt.cli.settings import split_settings
from stategpt.errors import MissingExtra, StategptError

OK, ERROR, INTERRUPTED = 0, 2, 130
_TRAIN_EXTRA = ("torch", "triton", "matplotlib", "jinja2")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. `argv` stands in for `sys.argv[1:]`, and is never re-launched."""
    words = sys.argv[1:] if argv is None else list(argv)
    if argv is None:
        relaunch_tuned(words)
    try:
        settings, plain = split_settings(words)
        arguments = build_parser().parse_args(plain)
        arguments.settings = settings
        code: int = arguments.execute(arguments)
        sys.stdout.flush()
    except StategptError as error:
        return _say(error, ERROR)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _TRAIN_EXTRA:
            raise
        return _say(MissingExtra(f"{error.name} is not installed; run: pip install 'stategpt[train]'"), ERROR)
    except KeyboardInterrupt:
        again = "; the same command goes on from the last checkpoint" if words[0] in TRAINING_COMMANDS else ""
        return _say(f"interrupted{again}", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output left (`| head`). Python would complain once more while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return code


def _say(message: object, code: int) -> int:
    print(f"stategpt: {message}", file=sys.stderr)
    return code


__all__ = ["main"]
