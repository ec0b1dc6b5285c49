"""`python -m polyak.cli.child ...`: the command line in a process that ends in order once the one that started it has.

Standard input is a pipe whose other end the starting process holds and never writes to: it closes however that process
ends, SIGKILL included. A run then saves, as at any SIGTERM. Other ways to be told of it are Linux's own.
"""

import os
import signal
import sys
import threading

from polyak.cli import main


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(main())
