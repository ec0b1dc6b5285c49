"""`python -m polyak.cli.child ...`: the command line in a process that ends in order once the one that started it has.

Standard input is a pipe whose other end the starting process holds and never writes to: it closes however that process
ends, SIGKILL included. A run then saves, as at any SIGTERM. Other ways to be told of it are Linux's own.
"""

import os
import signal
import sys
import threading

from polyak.cli import main
from polyak.system.signals import start_deaf


def end_with_parent(descriptor: int) -> None:
    """End this process as by SIGTERM once the other end of what a descriptor reads is closed."""

    def listen() -> None:
        while os.read(descriptor, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    start_deaf(threading.Thread(target=listen, daemon=True))


if __name__ == "__main__":
    end_with_parent(0)
    sys.exit(main())
