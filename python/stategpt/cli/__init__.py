"""The command line: parses, calls, prints. Each command is one module of this package.

Exit codes: 0 done; 1 `run --check` with a gate that failed; 2 an error that is explained on stderr, or wrong usage;
130 interrupted by SIGINT, 75 by SIGTERM, both after the loop has saved.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from stategpt.cli.launch import relaunch_tuned
from stategpt.cli.parser import build_parser, command_flag
from stategpt.cli.settings import refuse_rest, split_settings
from stategpt.errors import StategptError
from stategpt.extras import extra_of, missing_extra
from stategpt.visible_text import visible

OK, ERROR, INTERRUPTED = 0, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. `argv` replaces `sys.argv[1:]`; such a call is never re-launched."""
    words = sys.argv[1:] if argv is None else list(argv)
    takes_settings, trains = (command_flag(words, name) for name in ("TAKES_SETTINGS", "TRAINS"))
    if argv is None and trains:
        relaunch_tuned(words)
    try:
        settings, plain = split_settings(words) if takes_settings else ({}, words)
        arguments, rest = build_parser().parse_known_args(plain)
        refuse_rest(arguments, rest, takes_settings=takes_settings)
        arguments.settings = settings
        code: int = arguments.execute(arguments)
        sys.stdout.flush()
    except StategptError as error:
        return _say(error, ERROR)
    except ModuleNotFoundError as error:
        extra = extra_of(error.name)
        if error.name is None or extra is None:
            raise
        return _say(missing_extra("this command", error.name, extra), ERROR)
    except KeyboardInterrupt:
        again = "; run the same command again to continue from the last checkpoint" if trains else ""
        return _say(f"interrupted{again}", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has closed the pipe (`| head`). Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:
        if error.filename is None or error.strerror is None:  # a bug: show the traceback
            raise
        return _say(_about_path(error), ERROR)
    return code


def _about_path(error: OSError) -> str:
    """Describes a path that cannot be read, created or written: which, why, what to do."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return f"{' -> '.join(names) or error.filename}: {error.strerror}. Check the path and its permissions."


def _say(message: object, code: int) -> int:
    # str() of an OSError with a number shows the number too, which means nothing to most users.
    text = message.strerror if isinstance(message, OSError) and message.strerror else message
    print(f"stategpt: {visible(str(text))}", file=sys.stderr)
    return code


__all__ = ["main"]
