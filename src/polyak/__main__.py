"""`python -m polyak ...`: the command line by the Python that is running."""

import sys

from polyak.cli import main

if __name__ == "__main__":
    sys.exit(main())
