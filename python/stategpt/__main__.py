"""`python -m stategpt` is the command line."""

import sys

from stategpt.cli import main

if __name__ == "__main__":
    sys.exit(main())
