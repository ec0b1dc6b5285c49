"""`python -m polyak.cli.watched LINE ...`: the command line in a process that another watches (driver.py).

LINE is the descriptor of a socket; once its other end is closed, this process ends in order.
"""

import signal
import sys

from polyak.cli import driver, main
from polyak.cli.child import end_with_parent

if __name__ == "__main__":
    line = int(sys.argv.pop(1))
    driver.watched_over(line)
    end_with_parent(line)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # a terminal may want to stop whoever writes from the background
    try:
        sys.exit(main())
    finally:
        driver.tell_ended()
