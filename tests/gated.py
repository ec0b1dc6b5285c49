"""An environment that waits at a gate, as long as a test wants its run to stay; copied to where it is wanted."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium

from tiny_cli import Tiny


class Gated(Tiny):
    """At a step of the one that trains, it says which process it is in, and waits until the gate is there."""

    def __init__(self, *, gate: str = "", at: int = 30, dies: str = "", render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        self._gate, self._at, self._dies = Path(gate), at, dies

    def step(self, action: Any) -> Any:
        if self.taken + 1 == self._at:
            if self._dies == "raises":
                raise RuntimeError("the simulator broke")
            if self._dies:
                os.kill(os.getpid(), int(self._dies))
            seed = sys.argv[sys.argv.index("--seed") + 1] if "--seed" in sys.argv else "resumed"
            at_gate = self._gate.with_name(f"{self._gate.name}-{seed}")
            at_gate.with_suffix(".new").write_text(f"{os.getpid()}")
            at_gate.with_suffix(".new").rename(at_gate)
            while not self._gate.exists():
                time.sleep(0.01)
        return super().step(action)


class Shows(Tiny):
    """Says in its log which GPUs it sees."""

    def __init__(self, *, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        print(f"sees <{os.environ.get('CUDA_VISIBLE_DEVICES', 'all')}>")


gymnasium.register("Gated-v0", Gated)
gymnasium.register("Shows-v0", Shows)
