"""Plays a run's policy for one episode and writes it as a small picture that moves, for the front page.

`python benchmarks/loop.py RUN docs/assets/lander.webp --seed 3` (Pillow, which `pip install matplotlib` brings).
"""

import argparse
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from PIL import Image

import polyak


def main() -> None:
    """Parse, play, write, and print what the episode gave."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="of the episode")
    parser.add_argument("--width", type=int, default=360, help="in pixels")
    parser.add_argument("--every", type=int, default=2, help="steps from one frame to the next")
    parser.add_argument("--still", type=float, default=1.0, help="seconds that the last frame stays")
    asked = parser.parse_args()
    frames, total, rate = played(polyak.load(asked.run), asked.seed, asked.every)
    height = round(asked.width * frames[0].shape[0] / frames[0].shape[1])
    pictures = [Image.fromarray(each).resize((asked.width, height), Image.Resampling.LANCZOS) for each in frames]
    durations = [round(1000 * asked.every / rate)] * (len(pictures) - 1) + [round(1000 * asked.still)]
    moving: dict[str, Any] = {"save_all": True, "append_images": pictures[1:], "duration": durations, "loop": 0}
    pictures[0].save(asked.output, quality=60, method=6, **moving)
    print(f"return {total:.1f}, {len(frames)} frames, {asked.output.stat().st_size:,} bytes")


def played(run: polyak.Run, seed: int, every: int) -> tuple[list[np.ndarray], float, float]:
    """Frames [height, width, 3] of an episode with the best policy, its return, and its steps a second."""
    environment = gymnasium.make(str(run.settings["environment"]), render_mode="rgb_array")
    observation, _ = environment.reset(seed=seed)
    frames, total, ended, step = [np.asarray(environment.render())], 0.0, False, 0
    while not ended:
        observation, reward, terminated, truncated, _ = environment.step(run.best_policy.act(observation))
        total, step, ended = total + float(reward), step + 1, terminated or truncated
        if step % every == 0 or ended:
            frames.append(np.asarray(environment.render()))
    environment.close()
    return frames, total, float(environment.metadata.get("render_fps", 30))


if __name__ == "__main__":
    main()
