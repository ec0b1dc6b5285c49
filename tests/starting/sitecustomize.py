"""What Python imports as it starts in a process that a test starts: it does not wait for the disk (conftest.py)."""

import os
from typing import Any

patched: Any = os
patched.fsync = os.fstat
