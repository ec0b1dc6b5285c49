"""Damage a run's folder in one place, read it as `resume` does, and see that no damage goes unseen.

    python tests/campaigns/corrupt.py --rounds 10000 --seed 0 --output docs/results/corrupt.json
    python tests/campaigns/corrupt.py --seed 0 --only 1234
    python tests/campaigns/corrupt.py --rounds 1000 --seed 0 --mirrored

Every round copies an interrupted run and damages one file, or writes one hostile file whose SHA-256 is right. Reading
it must give the newest checkpoint as it was, or the one before with the fault told, or a UsageError that names what is
wrong; a hostile but whole checkpoint may be gone on from. A sample of the rounds goes on to the end of the run, which
must be the reference's.
"""

import argparse
import copy
import faulthandler
import gc
import hashlib
import json
import os
import platform
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))  # for the environment `tiny_cli:Tiny-v0`

import polyak  # noqa: E402
from polyak.experience.replay import Replay  # noqa: E402
from polyak.policies.policy import Policy  # noqa: E402
from polyak.run.changes import Changes  # noqa: E402
from polyak.run.checkpoints import Checkpoints, Content, manifest, segments  # noqa: E402
from polyak.run.checkpoints.manifest import Manifest  # noqa: E402
from polyak.run.description import stamped  # noqa: E402
from polyak.run.folder import WRITTEN, Run  # noqa: E402
from polyak.run.learned import sensible  # noqa: E402
from polyak.run.mirror.fetching import fetched  # noqa: E402
from polyak.run.progress import Progress, Silent  # noqa: E402
from polyak.run.resume import Asked, plan_to_go_on  # noqa: E402
from polyak.run.saved import Saved, newest  # noqa: E402
from polyak.system.locking import locked  # noqa: E402
from polyak.system.stopwatch import PARTS  # noqa: E402
from tiny_cli import SMALL  # noqa: E402

READ_LIMIT, RUN_LIMIT = 10.0, 30.0
"""Seconds to read a checkpoint; seconds to go on to the end of the run."""
MEMORY_LIMIT = 500_000_000
"""Bytes by which the process's memory may rise in a round."""
ADDRESS_SPACE = 8_000_000_000
"""Bytes besides those in use after the fixtures were made: a net."""
TIMES = {
    *("seconds", "epoch_seconds", "times", "speed/steps_per_second", *(f"time/{part}" for part in PARTS)),
    *(f"collectors/{name}" for name in ("steps_per_second", "slowest", "waiting")),
    *(f"collectors/{name}" for name in ("bytes_received", "bytes_sent", "restarts")),
}
SAMPLE, SAMPLE_OF_OTHERS = 0.02, 0.2
"""Shares of the rounds that go on to the end: of most, and of those in which a hostile checkpoint was accepted or what
is no file of a checkpoint was damaged, so that more depends on what follows."""


class Hang(BaseException):
    """A limit of time has passed; not an `Exception`, which might be caught."""


class Wrong(Exception):  # noqa: N818
    """What must not happen did."""


# Runs to damage


@dataclass(frozen=True)
class Source:
    """A run to damage: its settings, and after how many checkpoints it was cut off."""

    name: str
    algorithm: str
    environment: str
    cut: int | None
    """None: it ran to its end."""
    settings: dict[str, Any]


def recorded() -> dict[str, Any]:
    """Demonstrations: six episodes of five steps, as the tiny environment shows and takes them."""
    generator = np.random.default_rng(0)
    shown = generator.normal(size=(6, 6, 2)).astype(np.float32)
    return {
        "observation": shown[:, :-1].reshape(30, 2),
        "action": generator.uniform(-1, 3, (30, 1)),
        "reward": generator.normal(size=30),
        "next_observation": shown[:, 1:].reshape(30, 2),
        "terminated": np.zeros(30, np.bool_),
        "truncated": np.arange(30) % 5 == 4,
    }


TINY = {**SMALL, "steps": 80, "checkpoint_every": 8, "envs": 2, "callbacks": ["callers:Counts()"]}
EXPLORED = {"exploration_correlation": 0.0, "exploration_hold": 9, "exploration_spread": (0.1, 0.9)}
PRIORITIZED = {"prioritized": "proportional", "lag": 1, "replay_size": 60}
PENDULUM = {"steps": 500, "steps_per_epoch": 200, "batch_size": 16, "update_after": 50, "hidden_sizes": (8, 8)}
NORMALIZED = {"normalize_observations": True, "normalize_rewards": True}
SOURCES = (
    Source("tiny", "sac", "tiny_cli:Tiny-v0", 8, TINY),
    Source(
        "ring", "ddpg", "tiny_cli:Tiny-v0", 7, {**TINY, **EXPLORED, "replay_size": 40, "envs": 1, "action_repeat": 2}
    ),
    Source("normalized", "td3", "tiny_cli:Tiny-v0", 7, {**TINY, **NORMALIZED, "lag": 1}),
    Source("shown", "ddpg", "tiny_cli:Tiny-v0", 7, {**TINY, "envs": 1, "demonstrations": recorded()}),
    Source(
        "offline",
        "td3",
        "tiny_cli:Tiny-v0",
        7,
        {**TINY, **NORMALIZED, "steps": 0, "offline_updates": 80, "demonstrations": recorded()},
    ),
    Source("goals", "sac", "tiny_goals:Points-v0", 7, {**TINY, "hindsight": True, "n_step": 2}),
    Source("pendulum", "td3", "Pendulum-v1", 7, {**TINY, **PENDULUM, "replay_size": 1000, "checkpoint_every": 60}),
    Source("prioritized", "ddpg", "tiny_cli:Tiny-v0", 7, {**TINY, **PRIORITIZED}),
    Source("collectors", "ddpg", "tiny_cli:Tiny-v0", 7, {**TINY, **EXPLORED, "collectors": 2}),
    Source("ended", "sac", "tiny_cli:Tiny-v0", None, {**TINY, "steps": 43}),
)


@dataclass(frozen=True)
class Fixture:
    """An interrupted run, and what must come of it."""

    source: Source
    folder: Path
    newest: str
    """The digest of the newest checkpoint."""
    previous: str
    of_newest: Manifest
    of_previous: Manifest
    end: str
    """The digest of the whole run's end."""


def made(source: Source, scratch: Path) -> Fixture:
    """Train the run to its end, and keep it as it was after some of its checkpoints."""
    cut, save = scratch / source.name, Checkpoints.save

    def saving(checkpoints: Checkpoints, content: Content, *replays: Replay | None) -> None:
        save(checkpoints, content, *replays)
        if checkpoints.latest is not None and checkpoints.latest.serial == source.cut:
            shutil.copytree(checkpoints.folder.parent, cut)

    # small limits, so that even this run has several segments of replay
    with patch.object(Checkpoints, "save", saving), patch.object(segments, "SMALL", 400):
        run = polyak.train(
            source.algorithm,
            source.environment,
            backend="torch",
            device="cpu",
            threads=1,
            step_timeout=None,  # its timer is the one that limits the rounds here
            run_dir=scratch / "runs",
            **source.settings,
        )
    if source.cut is None:
        shutil.copytree(run.folder, cut)
    shutil.rmtree(cut / "tensorboard")
    newest, previous = manifests_of(cut)
    older = scratch / "older"
    shutil.copytree(cut, older)
    (older / "checkpoints" / newest.name).unlink()
    digests = [digest_of(checkpoint_of(folder)[0]) for folder in (cut, older)]
    shutil.rmtree(older)
    return Fixture(source, cut, digests[0], digests[1], newest, previous, end_of(run.folder))


def manifests_of(folder: Path) -> list[Manifest]:
    """Newest first."""
    return [manifest.read(path) for path in sorted((folder / "checkpoints").glob("*.json"), reverse=True)]


def digest_of(saved: Saved) -> str:
    """Over everything that a checkpoint gives."""
    return _digest(saved, json.dumps([asdict(saved.manifest), saved.spec.to_json()]), saved.metrics)


def end_of(folder: Path) -> str:
    """Over what a run ended with, but for the times and the segmentation of replay."""
    saved, _ = checkpoint_of(folder)
    state = {name: value for name, value in saved.manifest.state.items() if name not in TIMES}
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    untimed = [{name: value for name, value in record.items() if name not in TIMES} for record in records]
    policies = [(folder / name).read_bytes() for name in ("policy.safetensors", "best.safetensors")]
    return _digest(saved, json.dumps([saved.manifest.step, state, untimed]), *policies)


def _digest(saved: Saved, text: str, *files: bytes) -> str:
    replay = saved.replay
    held = replay.oldest, replay.added
    replayed = {"replay": replay.records(*held), "episodes": replay.episodes(*held)}
    if (shown := saved.demonstrations) is not None:
        replayed["demonstrations"] = shown.records(shown.oldest, shown.added)
    arrays = {**saved.learner, **saved.loop, **replayed, **saved.batches, **saved.callbacks}
    digest = hashlib.sha256(text.encode())
    for name, value in sorted(arrays.items()):
        digest.update(f"{name} {value.dtype} {value.shape}".encode() + value.tobytes())
    for content in (*files, saved.best or b"none"):
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


# Damage


@dataclass(frozen=True)
class Damage:
    """What was done to a folder."""

    kind: str
    text: str
    touched: frozenset[str] = frozenset()
    """The names of the files that are not what they were."""
    hostile: bool = False
    """Whether the SHA-256 are right nevertheless."""


@dataclass(frozen=True)
class Scene:
    """Where damage is done."""

    draw: random.Random
    run: Path
    outside: Path
    fixture: Fixture
    others: list[Fixture]
    mirrored: bool = False
    """Whether the folder is a mirror's, from which the run is fetched."""

    @property
    def fetched(self) -> Path:
        """The folder that the run is brought to, where it lies at a mirror."""
        return self.run.parents[1] / "fetched" / self.run.name

    @property
    def files(self) -> list[Path]:
        """All files of the run."""
        return sorted(path for path in self.run.rglob("*") if path.is_file())


Damages = Callable[[Scene, Path], str]
"""Damages a file and says how."""


def truncated(scene: Scene, file: Path) -> str:
    size = scene.draw.randrange(file.stat().st_size)
    os.truncate(file, size)
    return f"at {size}"


def emptied(scene: Scene, file: Path) -> str:
    os.truncate(file, 0)
    return ""


def flipped(scene: Scene, file: Path) -> str:
    content = bytearray(file.read_bytes())
    place, bit = scene.draw.randrange(len(content)), scene.draw.randrange(8)
    content[place] ^= 1 << bit
    file.write_bytes(content)
    return f"bit {bit} of byte {place}"


def overwritten(scene: Scene, file: Path) -> str:
    content = bytearray(file.read_bytes())
    places = [scene.draw.randrange(len(content)) for _ in range(scene.draw.randint(2, 20))]
    for place in places:
        content[place] = scene.draw.randrange(256)
    file.write_bytes(content)
    return f"bytes {places}"


def zeroed(scene: Scene, file: Path) -> str:
    content = bytearray(file.read_bytes())
    first = scene.draw.randrange(len(content))
    count = min(scene.draw.choice((16, 512, 4096)), len(content) - first)
    content[first : first + count] = bytes(count)
    file.write_bytes(content)
    return f"{count} bytes from {first}"


def appended(scene: Scene, file: Path) -> str:
    extra = scene.draw.randbytes(scene.draw.choice((1, 8, 5000)))
    with file.open("ab") as stream:
        stream.write(extra)
    return f"{len(extra)} bytes"


def deleted(scene: Scene, file: Path) -> str:
    file.unlink()
    return ""


def randomized(scene: Scene, file: Path) -> str:
    file.write_bytes(scene.draw.randbytes(scene.draw.choice((1, file.stat().st_size, 100_000))))
    return ""


def by_another(scene: Scene, file: Path) -> str:
    other = scene.draw.choice([path for path in scene.files if path != file])
    shutil.copyfile(other, file)
    return f"by {other.name}"


def by_previous(scene: Scene, file: Path) -> str:
    return _by_role(scene, file, scene.run, "of another checkpoint")


def by_foreign(scene: Scene, file: Path) -> str:
    other = scene.draw.choice(scene.others)
    return _by_role(scene, file, other.folder, f"of {other.source.name}")


def _by_role(scene: Scene, file: Path, folder: Path, text: str) -> str:
    role = re.split("[-.]", file.name.lstrip("."))[0]
    same = [path for path in folder.rglob("*") if path.is_file() and re.split("[-.]", path.name.lstrip("."))[0] == role]
    other = scene.draw.choice([path for path in same if path != file])
    shutil.copyfile(other, file)
    return f"by {other.name} {text}"


def a_directory(scene: Scene, file: Path) -> str:
    file.unlink()
    file.mkdir()
    if scene.draw.random() < 0.5:
        (file / "inside").write_text("")
    return ""


def a_link(scene: Scene, file: Path) -> str:
    outside = scene.outside / "outside.txt"
    shutil.copyfile(file, outside)
    file.unlink()
    file.symlink_to(outside)
    return "to a copy outside"


def a_link_to_zeros(scene: Scene, file: Path) -> str:
    file.unlink()
    file.symlink_to("/dev/zero")
    return ""


def a_link_to_nothing(scene: Scene, file: Path) -> str:
    file.unlink()
    file.symlink_to(scene.draw.choice((scene.outside / "absent", file)))
    return ""


def a_pipe(scene: Scene, file: Path) -> str:
    file.unlink()
    os.mkfifo(file)
    return ""


PLAIN: tuple[Damages, ...] = (
    *(truncated, emptied, flipped, flipped, flipped, overwritten, zeroed, appended, deleted, randomized, by_another),
    *(by_previous, by_foreign, a_directory, a_link, a_link_to_zeros, a_link_to_nothing, a_pipe),
)


def plain_damage(scene: Scene) -> Damage:
    """One file, damaged in one way."""
    damages, file = scene.draw.choice(PLAIN), scene.draw.choice(scene.files)
    text = damages(scene, file)
    kind = damages.__name__.removeprefix("a_").replace("_", " ")
    return Damage(kind, f"{file.relative_to(scene.run)} {text}", frozenset({file.name}))


def swapped(scene: Scene) -> Damage:
    """Two files under each other's name."""
    one, other = scene.draw.sample(scene.files, 2)
    apart = scene.run / "apart"
    one.rename(apart)
    other.rename(one)
    apart.rename(other)
    return Damage("swapped", f"{one.name} {other.name}", frozenset({one.name, other.name}))


def foreign_checkpoints(scene: Scene) -> Damage:
    """All checkpoints of another run, whole, instead of this one's; or this one's settings replaced by the other's."""
    other = scene.draw.choice(scene.others)
    if scene.draw.random() < 0.3:
        shutil.copyfile(other.folder / "settings.json", scene.run / "settings.json")
        return Damage("foreign", f"settings.json of {other.source.name}", frozenset({"settings.json"}))
    shutil.rmtree(scene.run / "checkpoints")
    shutil.copytree(other.folder / "checkpoints", scene.run / "checkpoints")
    touched = frozenset(path.name for path in (scene.run / "checkpoints").iterdir())
    return Damage("foreign", f"checkpoints of {other.source.name}", touched | scene.fixture.of_previous.names)


def stray(scene: Scene) -> Damage:
    """Something besides, under a name that means something."""
    names = (
        "tensorboard",
        *("checkpoint-000999.json", "checkpoint-999999999999.json", "learner-000999.safetensors", ".hidden.tmp"),
        *("best-999999999999.safetensors", "loop-999999999999999.safetensors", ".learner-000009.safetensors.1.tmp"),
    )
    file = scene.draw.choice((scene.run, scene.run / "checkpoints", scene.run / "checkpoints")) / (
        scene.draw.choice(names)
    )
    what = scene.draw.choice(("a file", "a directory", "a pipe", "a link"))
    if what == "a file":
        file.write_bytes(scene.draw.randbytes(100))
    elif what == "a directory":
        file.mkdir()
    elif what == "a pipe":
        os.mkfifo(file)
    else:
        file.symlink_to(scene.outside / "outside.txt")
    return Damage("stray", f"{file.relative_to(scene.run)}: {what}", frozenset({file.name}))


def flipped_beside(scene: Scene) -> Damage:
    """A bit of a policy or of the metrics, which lie beside the checkpoints and are read without them."""
    file = scene.run / scene.draw.choice(BESIDE)
    text = flipped(scene, file)
    return Damage("flipped beside", f"{file.name} {text}", frozenset({file.name}))


BESIDE = ("policy.safetensors", "best.safetensors", "metrics.jsonl")


# Hostile damage


def nest(depth: int) -> Any:
    """Lists in lists."""
    tree: list[Any] = []
    for _ in range(depth):
        tree = [tree]
    return tree


VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 3, 2**31, 2**62, 2**63, -(2**63), 10**30, 10**4000, 0.5, 1e18, 1e308),
    *(float("nan"), float("inf"), "", "x", "7", "../../etc/passwd", "/etc/passwd", "\0", "\ud800", "é" * 1000),
    *([], {}, [[]], {"a": 1}, nest(400)),
)


def shortly(value: Any) -> str:
    """A value in a few letters."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**40 else "an integer of many digits"
    return text if len(text) < 60 else f"{text[:56]}..."


def edited(draw: random.Random, tree: Any) -> str:
    """Change one place of a tree of JSON, in place: where, and to what."""
    path: list[str] = []
    while True:
        key = draw.choice(list(tree) if isinstance(tree, dict) else range(len(tree)))
        path.append(str(key))
        inner = tree[key]
        if not isinstance(inner, dict | list) or not inner or draw.random() < 0.1:
            break
        tree = inner
    how = draw.random()
    if how < 0.15:
        del tree[key]
        return f"{'.'.join(path)} deleted"
    if how < 0.25 and isinstance(tree, list):
        tree.insert(key, copy.deepcopy(inner))
        return f"{'.'.join(path)} doubled"
    tree[key] = copy.deepcopy(draw.choice(VALUES))
    return f"{'.'.join(path)} = {shortly(tree[key])}"


def sealed(body: dict[str, Any]) -> bytes:
    """A manifest with the right SHA-256."""
    body = {name: value for name, value in body.items() if name != "sha256"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), **body}, indent=1).encode()


def edited_unsealed(scene: Scene) -> Damage:
    """A manifest changed by somebody who leaves the SHA-256 as it was."""
    file = scene.run / "checkpoints" / scene.draw.choice((scene.fixture.of_newest, scene.fixture.of_previous)).name
    if scene.draw.random() < 0.1:
        depth = scene.draw.choice((500, 5_000, 1_000_000))
        file.write_bytes(file.read_bytes().replace(b'"step": ', b'"step": ' + b"[" * depth, 1))
        return Damage("edit", f"{file.name}: nested {depth} deep", frozenset({file.name}))
    body = json.loads(file.read_text())
    text = edited(scene.draw, body)
    file.write_text(json.dumps(body))
    return Damage("edit", f"{file.name}: {text}", frozenset({file.name}))


def edited_sealed(scene: Scene) -> Damage:
    """A manifest changed by somebody who knows the SHA-256."""
    file = scene.run / "checkpoints" / scene.fixture.of_newest.name
    body = json.loads(file.read_text())
    text = edited(scene.draw, body)
    file.write_bytes(sealed(body))
    return Damage("sealed edit", text, frozenset({file.name}), hostile=True)


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set one place of a manifest."""

    def change(body: dict[str, Any]) -> None:
        *folders, leaf = path.split(".")
        for folder in folders:
            body = body[int(folder) if isinstance(body, list) else folder]
        body[int(leaf) if isinstance(body, list) else leaf] = value

    return change


def all_of(*changes: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """Several at once."""

    def change(body: dict[str, Any]) -> None:
        for each in changes:
            each(body)

    return change


def repeated_segments(body: dict[str, Any]) -> None:
    body["segments"] = body["segments"] * 20_000


LIE = put("files.learner.bytes", 2**61)
"""A learner's file that is said to be large enough for anything."""
ATTACKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "hidden_sizes of a million": put("run.settings.hidden_sizes", [10**6, 10**6]),
    "hidden_sizes of a million, large learner": all_of(put("run.settings.hidden_sizes", [10**6, 10**6]), LIE),
    "hidden_sizes of 30,000, large learner": all_of(put("run.settings.hidden_sizes", [30_000, 30_000]), LIE),
    "100,000 hidden layers, large learner": all_of(put("run.settings.hidden_sizes", [1] * 100_000), LIE),
    "replay_size of 10**15": put("run.settings.replay_size", 10**15),
    "observations of 2**30 numbers": put("state.spec.observation_shape", [2**30]),
    "observations of 2**28 numbers, large learner": all_of(put("state.spec.observation_shape", [2**28]), LIE),
    "observations in 100,000 dimensions": put("state.spec.observation_shape", [1] * 100_000),
    "2**40 measured": put("state.measured", 2**40),
    "-1 measured": put("state.measured", -1),
    "newer version": put("version", manifest.VERSION + 1),
    "metrics no names": put("state.metrics", 7),
    "one metric too many": put("state.metrics", ["q"] * 99),
    "times that are none": put("state.times", "x"),
    "a time that is none": put("state.times", {"learner": [1]}),
    "version 'x'": put("version", "x" * 1000),
    "lengths of 2**62": put("state.collector.lengths", [2**62, 2**62]),
    "lengths of 2**62, one": put("state.collector.lengths", [2**62]),
    "lengths of 10**9": put("state.collector.lengths", [10**9, 10**9]),
    "lengths of 20": put("state.collector.lengths", [20, 20]),
    "updates_owed of 10**18": put("state.updates_owed", 1e18),
    "updates_owed of 10**9": put("state.updates_owed", 1e9),
    "updates_owed NaN": put("state.updates_owed", float("nan")),
    "updates_owed of -10**18": put("state.updates_owed", -1e18),
    "best NaN": put("state.best", [20, float("nan")]),
    "best of -infinity": put("state.best", [20, float("-inf")]),
    "seconds NaN": put("state.seconds", float("nan")),
    "total_rewards NaN": put("state.collector.total_rewards", [float("nan"), float("nan")]),
    "total_rewards NaN, one": put("state.collector.total_rewards", [float("nan")]),
    "seeds of -1": put("state.environments.seeds", [-1, -1]),
    "seeds of -1, one": put("state.environments.seeds", [-1]),
    "evaluated of 2**62": put("state.evaluated", 2**62),
    "the environment's steps 10**18": put("state.environments.steps", 10**18),
    "the environment's steps -10**9": put("state.environments.steps", -(10**9)),
    "step 10**18": put("step", 10**18),
    "added 2**61": put("added", 2**61),
    "a segment of 2**40": put("segments.0.count", 2**40),
    "20,000 times the segments": repeated_segments,
    "no segments": put("segments", []),
    "a million steps": put("run.settings.steps", 10**6),
    "batch_size over replay_size": put("run.settings.batch_size", 10**9),
    "updates_per_step of 10**9": put("run.settings.updates_per_step", 1e9),
    "evaluation_episodes of 10**9": put("run.settings.evaluation_episodes", 10**9),
    "max_episode_steps of 2**70": put("run.settings.max_episode_steps", 2**70),
    "stop_at_return NaN": put("run.stop_at_return", float("nan")),
    "step_timeout of 10**300": put("run.step_timeout", 1e300),
    "checkpoint_every of 0": put("run.checkpoint_every", 0),
    "envs of 10**12": put("run.envs", 10**12),
    "envs of -1": put("run.envs", -1),
    "collectors of 10**6": put("run.collectors", 10**6),
    "collectors of 2": put("run.collectors", 2),
    "collectors of 3": put("run.collectors", 3),
    "free collectors": put("run.collection", "free"),
    "no states of collectors": put("state.collector.each", []),
    "states of collectors that are none": put("state.collector.each", [1, 2]),
    "a lag that is none": put("state.collector.lag", "x"),
    "a seed of 4,000 digits": put("run.seed", 10**3999),
    "versions a list": put("run.versions", ["jax"]),
    "resumed a number": put("run.resumed", 5),
    "environment ..:x": put("run.environment", "..:x"),
    "environment :x": put("run.environment", ":x"),
    "environment a NUL": put("run.environment", "\0:\0"),
    "environment ../x": put("run.environment", "../../etc/passwd"),
    "environment of no name": put("run.environment", ""),
    "environment another": put("run.environment", "MountainCarContinuous-v0"),
    "environment discrete": put("run.environment", "CartPole-v1"),
    "algorithm ..": put("run.algorithm", "../x"),
    "algorithm settings": put("run.algorithm", "settings"),
    "backend none": put("run.backend", "os"),
    "device none": put("run.device", "tpu"),
    "threads a text": put("run.threads", "x"),
    "threads -1": put("run.threads", -1),
    "threads 0.5": put("run.threads", 0.5),
    "a callable": put("run.environment_is_callable", True),
    "a callback that is none": put("run.callbacks", ["os:system('touch ../../outside/outside.txt')"]),
    "a callback of another class": put("run.callbacks", ["subprocess:Popen('true')"]),
    "a callback of many brackets": put("run.callbacks", ["callers:Counts(" + "(" * 10**6]),
    "a callback of no text": put("run.callbacks", [{"a": 1}]),
    "callbacks that keep nothing": put("state.callbacks", []),
    "callbacks a number": put("state.callbacks", 3),
    "callbacks with other states": put("state.callbacks", [{"name": "callers:Counts()", "state": {"steps": "x"}}]),
    "100,000 callbacks": put("state.callbacks", [{"name": "x"}] * 100_000),
    "logged what is polyak's": put("state.logged", {"train/return": [1.0, 1]}),
    "logged NaN": put("state.logged", {"x": [float("nan"), 1]}),
    "logged by nobody": put("state.logged", {"x": [1.0, 0]}),
    "stopped by a number": put("state.stopped", 3),
    "noise held for 10^9 steps": put("state.collector.exploration_clock", [10**9]),
    "noise held by a text": put("state.collector.exploration_clock", "x"),
    "noise spread by NaN": put("state.collector.exploration_spread", [float("nan")]),
    "noise spread by nobody": put("state.collector.exploration_spread", []),
    "batches that keep nothing": put("state.batches", {}),
    "batches a text": put("state.batches", "x"),
    "priorities that no update was chosen by": put("state.batches", {"chooser": {"chosen": -1, "largest": 1e9}}),
    "the largest priority NaN": put("state.batches", {"chooser": {"chosen": 1, "largest": float("nan")}}),
    "the largest priority a text": put("state.batches", {"chooser": {"chosen": 1, "largest": "x"}}),
    "the largest priority 0": put("state.batches", {"chooser": {"chosen": 1, "largest": 0.0}}),
    **{f"the {role}'s name {name[:20]}": put(f"files.{role}.name", name)
       for role in ("learner", "loop", "metrics", "callbacks")
       for name in ("../../outside/outside.txt", "/etc/passwd", "../settings.json", "settings.json", "learner-1", "")},
    **{f"what batches keep in {name[:20]}": put("files.batches", {"name": name, "bytes": 1, "sha256": "0" * 64})
       for name in ("../../outside/outside.txt", "/etc/passwd", "../settings.json", "learner-1")},
    "a segment's name ../x": put("segments.0.file.name", "../../outside/outside.txt"),
}  # fmt: skip


def attacked(scene: Scene) -> Damage:
    """A manifest that is meant to do harm, with the right SHA-256."""
    file = scene.run / "checkpoints" / scene.fixture.of_newest.name
    for name in scene.draw.sample(list(ATTACKS), len(ATTACKS)):
        body = json.loads(file.read_text())
        try:
            ATTACKS[name](body)
        except LookupError:  # this run has no such place: no segments offline, nothing that is kept for batches
            continue
        break
    file.write_bytes(sealed(body))
    return Damage("attack", name, frozenset({file.name}), hostile=True)


def renumbered(scene: Scene) -> Damage:
    """The newest checkpoint under the highest number that there is."""
    file, serial = scene.run / "checkpoints" / scene.fixture.of_newest.name, scene.draw.choice((10**11, 10**12 - 1))
    body = json.loads(file.read_text()) | {"serial": serial}
    file.with_name(f"checkpoint-{serial}.json").write_bytes(sealed(body))
    file.unlink()
    return Damage("attack", f"renumbered to {serial}", frozenset({file.name}), hostile=True)


def refiled(scene: Scene) -> Damage:
    """A file of arrays with a hostile header or hostile numbers, and a manifest that fits it."""
    manifest_file = scene.run / "checkpoints" / scene.fixture.of_newest.name
    body = json.loads(manifest_file.read_text())
    places = [
        *(body["files"][role] for role in ("learner", "loop", "batches", "callbacks") if role in body["files"]),
        *(each["file"] for each in (*body["segments"], *body.get("demonstrations", []))),
    ]
    place = scene.draw.choice(places)
    file = manifest_file.with_name(place["name"])
    content, text = hostile_arrays(scene.draw, file.read_bytes())
    file.write_bytes(content)
    place["bytes"], place["sha256"] = len(content), hashlib.sha256(content).hexdigest()
    manifest_file.write_bytes(sealed(body))
    touched = frozenset({manifest_file.name, file.name})
    return Damage("sealed arrays", f"{re.split('-', file.name)[0]}: {text}", touched, hostile=True)


def hostile_arrays(draw: random.Random, content: bytes) -> tuple[bytes, str]:
    """Another file of arrays, and in what it is another."""
    size = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + size]), bytearray(content[8 + size :])
    name = draw.choice([each for each in header if each != "__metadata__"])
    how = draw.choice(("edit", "edit", "shape", "kind", "offsets", "name", "missing", "numbers", "length", "nested"))
    if how == "edit":
        how = edited(draw, header)
    elif how == "shape":
        header[name]["shape"] = draw.choice(([2**62, 4], [-1], [2**31, 2**31], [0], [1e9], ["4"], None, [1] * 1000))
        how = f"shape {shortly(header[name]['shape'])}"
    elif how == "kind":
        header[name]["dtype"] = draw.choice(("F64", "BF16", "I64", "F8_E4M3", "X", None, 5, ["F32"], "I32", "F32"))
        how = f"kind {header[name]['dtype']}"
    elif how == "offsets":
        header[name]["data_offsets"] = draw.choice(([0, 2**62], [-8, 0], [8, 0], ["0", "4"], [0], None, [0, 1]))
        how = f"offsets {header[name]['data_offsets']}"
    elif how == "name":
        header[draw.choice(("x", "../x", "", "\ud800"))] = header.pop(name)
    elif how == "missing":
        del header[name]
    elif how == "numbers" and data:
        first = draw.randrange(len(data) // 4) * 4
        data[first : first + 4] = np.float32(draw.choice((np.nan, np.inf, -np.inf, 1e38, -1e38))).tobytes()
    text = json.dumps(header).encode()
    if how == "nested":
        depth = draw.choice((500, 100_000))
        text = text[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"
    claimed = draw.choice((0, 2**63, 2**64 - 1, len(text) + len(data) + 1)) if how == "length" else len(text)
    return claimed.to_bytes(8, "little") + text + bytes(data), how


KINDS: dict[Callable[[Scene], Damage], int] = {
    plain_damage: 50,
    swapped: 4,
    foreign_checkpoints: 4,
    stray: 4,
    flipped_beside: 8,
    edited_unsealed: 8,
    edited_sealed: 16,
    attacked: 9,
    renumbered: 1,
    refiled: 12,
}


# Reading


def checkpoint_of(folder: Path) -> tuple[Saved, list[polyak.UsageError]]:
    """What `resume` reads before it makes environments."""
    run = Run(folder)
    run.require_no_links()
    if not run.checkpoints.is_dir():
        raise polyak.UsageError(f"{folder} has no checkpoint")
    with locked(folder):
        checkpoints = Checkpoints(run.checkpoints)
        saved = newest(checkpoints, run)
        with sensible(checkpoints.folder / saved.manifest.name):
            plan_to_go_on(Asked(run, Changes(), None, 0.0), saved)
    return saved, list(checkpoints.faults)


def fetched_of(scene: Scene) -> tuple[Saved, list[polyak.UsageError]]:
    """The same where the folder is a mirror's place, from which the run is fetched."""
    shutil.rmtree(scene.fetched.parent, ignore_errors=True)
    here = fetched(str(scene.run), scene.fetched.parent, whole=True)
    saved, faults = checkpoint_of(here.folder)
    return saved, [*faults, *([polyak.UsageError(here.said)] if "are damaged" in here.said else [])]


def required(holds: bool, what: str) -> None:
    """Refuse an outcome."""
    if not holds:
        raise Wrong(what)


def read(scene: Scene, damage: Damage) -> str:
    """Read a damaged folder: which of the outcomes that are allowed came of it.

    Raises:
        Wrong, or anything that reading raised and must not raise.
    """
    fixture = scene.fixture
    try:
        saved, faults = fetched_of(scene) if scene.mirrored else checkpoint_of(scene.run)
    except polyak.UsageError as error:
        required(_names_something(scene, str(error)), f"names nothing: {error}")
        needed = fixture.of_previous.names | {".lock"} | ({"metrics.jsonl"} if fixture.source.cut is None else set())
        if "belongs to another run" in str(error):  # by what is in one of these, if it is not the folder's own
            needed |= {"settings.json", fixture.of_newest.name}
        if "is a link: polyak neither" in str(error):  # of whole files and folders, no checkpoint's
            needed |= set(WRITTEN)
        required(damage.hostile or bool(damage.touched & needed), f"refused though the previous is whole: {error}")
        return "refused"
    required(damage.kind != "foreign", "another run's was accepted")
    digest = digest_of(saved)
    if digest == fixture.newest:
        return "newest"
    if digest == fixture.previous:
        newest = scene.run / "checkpoints" / fixture.of_newest.name  # without it, there is what a kill leaves
        there = newest.is_file() and not newest.is_symlink() if scene.mirrored else os.path.lexists(newest)
        required(bool(faults) or not there, "the previous checkpoint, and no fault is told")
        required(all(_names_something(scene, str(fault)) for fault in faults), f"names nothing: {faults}")
        return "previous"
    required(damage.hostile, "another content was accepted")
    return "edit accepted"


def read_beside(scene: Scene, damage: Damage) -> None:
    """Read what lies beside the checkpoints: what is not refused by name must be what it was.

    A number of the metrics that became another number is seen by `resume` alone, which `go_on` looks at.

    Raises:
        Wrong: another policy was read, or an error names nothing.
    """
    run, whole = Run(scene.run), Run(scene.fixture.folder)
    for file in damage.touched & {run.policy_file.name, run.best_policy_file.name}:
        try:
            found, wanted = Policy.load(run.folder / file), Policy.load(whole.folder / file)
        except polyak.UsageError as error:
            required(file in str(error), f"names nothing: {error}")
            continue
        bits = [
            {
                **{name: value.tobytes() for name, value in each.parameters.items()},
                "": str(each.spec.to_json()).encode(),
            }
            for each in (found, wanted)
        ]
        marks = [(each.kind, each.exploration_noise, each.made_for) for each in (found, wanted)]
        required(bits[0] == bits[1] and marks[0] == marks[1], f"{file} is another policy, and nothing is told")
    if "metrics.jsonl" in damage.touched:
        try:
            _ = run.metrics
        except polyak.UsageError as error:
            required("metrics.jsonl, line " in str(error), f"names no line: {error}")


def _names_something(scene: Scene, message: str) -> bool:
    """Whether a message names a file of the run, or a setting or value of its manifest."""
    keys = {*scene.fixture.of_newest.run, *scene.fixture.of_newest.run["settings"], "settings"}
    return any(str(place) in message for place in (scene.run, scene.fetched)) or any(key in message for key in keys)


class Watching(Silent):
    """Keeps the progress, to tell a run that goes on from one that hangs."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.first = 0

    def started(self, progress: Progress) -> None:
        """Keep it."""
        self.progress, self.first = progress, progress.steps

    @property
    def goes_on(self) -> bool:
        """Whether steps were taken, or an evaluation is running."""
        return self.progress is not None and (self.progress.steps > self.first or self.progress.evaluating)


def go_on(scene: Scene, damage: Damage, outcome: str) -> str:
    """The whole of `resume`: how the run ended."""
    watching, whole = Watching(), outcome in ("newest", "previous")
    try:
        with limited(RUN_LIMIT):
            polyak.resume(scene.run, observer=watching)
    except polyak.UsageError as error:
        required(_names_something(scene, str(error)), f"names nothing: {error}")
        beside = damage.touched & {path.name for path in scene.fixture.folder.iterdir()}
        beside |= {damage.kind} & {"stray"}
        required(not whole or damage.hostile or bool(beside), f"could be read, but was refused: {error}")
        return "refused"
    except polyak.TrainingError as error:
        required(damage.hostile or str(scene.run) in str(error), f"{type(error).__name__}: {error}")
        return "training error"
    except Hang:
        required(damage.hostile and watching.goes_on, f"hangs: more than {RUN_LIMIT:g} s")
        return "trains on"
    required(outcome != "refused", "could not be read, but was resumed")
    ended_alike = end_of(scene.run) == scene.fixture.end
    if scene.fixture.source.cut is None and outcome == "newest":  # what lies beside its checkpoint is put right
        last = "metrics.jsonl" in damage.touched  # its last line was written after the checkpoint
        required(ended_alike or last, "it is over, and was not put right")
        return "put right, or nothing to do" if ended_alike else "another last line"
    required(ended_alike or outcome == "edit accepted", "ended otherwise than the reference")
    return "as the reference" if ended_alike else "another end"


# Rounds


@contextmanager
def limited(seconds: float) -> Generator[None]:
    """Interrupt a block with `Hang` after so many seconds."""

    def ring(number: int, frame: Any) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)  # again, should the first be swallowed
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def peak_memory() -> int:
    """The most bytes resident since the last `forget_peak`."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def forget_peak() -> None:
    """Measure the peak anew."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


@dataclass
class Found:
    """What came of rounds."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """By kind of damage and outcome of reading."""
    ends: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """By outcome of reading and end of the run."""
    accepted: Counter[str] = field(default_factory=Counter[str])
    """Hostile changes that were gone on from."""
    failures: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def __add__(self, other: "Found") -> "Found":
        return Found(
            self.counts + other.counts,
            self.ends + other.ends,
            self.accepted + other.accepted,
            self.failures + other.failures,
        )


class Campaign:
    """All rounds of a process."""

    def __init__(self, scratch: Path, seed: int, mirrored: bool) -> None:
        self.scratch, self.seed, self.mirrored = scratch, seed, mirrored
        self.fixtures = [made(source, scratch) for source in SOURCES]
        self.found = Found()
        self._gone_on = set[tuple[str, str]]()

    def round(self, number: int, always: bool = False) -> None:
        """Damage, read, and perhaps go on; what is wrong is printed and kept."""
        draw = random.Random(f"{self.seed}/{number}")
        scene = self._scene(draw)
        damage, outcome = Damage("none", "none"), "failed"
        forget_peak()
        before = peak_memory()
        try:
            damage = self._damaged(scene)
            outside = self._outside(scene)
            with limited(READ_LIMIT):
                outcome = read(scene, damage)
                if damage.kind == "flipped beside":
                    read_beside(scene, damage)
            end = self._end(scene, damage, outcome, always)
            required(self._outside(scene) == outside, f"something outside the run was changed ({outcome}, {end})")
            required(peak_memory() - before < MEMORY_LIMIT, f"{peak_memory() - before:,} bytes more ({outcome}, {end})")
        except (Exception, Hang) as error:  # noqa: BLE001
            self._fail(number, scene, damage, outcome, error)
            outcome = "failed"
        finally:
            shutil.rmtree(scene.run.parent)
        self.found.counts[damage.kind, outcome] += 1
        if outcome == "edit accepted":
            self.found.accepted[
                re.sub(r"\.[0-9]+", "", damage.text.split(" ")[0]) if "edit" in damage.kind else damage.text
            ] += 1

    def _scene(self, draw: random.Random) -> Scene:
        fixture = draw.choice(self.fixtures)
        run, outside = self.scratch / "round/run", self.scratch / "round/outside"
        shutil.copytree(fixture.folder, run)
        outside.mkdir()
        (outside / "outside.txt").write_text("outside\n")
        return Scene(
            draw, run, outside, fixture, [other for other in self.fixtures if other is not fixture], self.mirrored
        )

    def _damaged(self, scene: Scene) -> Damage:
        """Draw damage until it fits: an empty file has no bit to flip."""
        while True:
            how = scene.draw.choices(list(KINDS), list(KINDS.values()))[0]
            try:
                return how(scene)
            except (ValueError, IndexError):
                shutil.rmtree(scene.run)
                shutil.copytree(scene.fixture.folder, scene.run)

    def _end(self, scene: Scene, damage: Damage, outcome: str, always: bool) -> str:
        """Go on in a sample of the rounds, and in the first of each class."""
        beside = not any(manifest.FILE_NAME.fullmatch(name) for name in damage.touched) and not damage.hostile
        always = always or damage.kind == "flipped beside"
        share = SAMPLE_OF_OTHERS if outcome == "edit accepted" or beside else SAMPLE
        kind = (damage.text if damage.kind == "attack" else damage.kind, outcome)
        chosen = scene.draw.random() < share or kind not in self._gone_on
        self._gone_on.add(kind)
        if not (chosen or always) or "threads" in damage.text or scene.mirrored:
            return "not gone on"
        end = go_on(scene, damage, outcome)
        self.found.ends[outcome, end] += 1
        return end

    def _outside(self, scene: Scene) -> dict[str, bytes]:
        folder = scene.run.parent
        return {str(path): path.read_bytes() for path in folder.glob("outside/*")} | dict.fromkeys(
            map(str, folder.iterdir()), b""
        )

    def _fail(self, number: int, scene: Scene, damage: Damage, outcome: str, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames][-4:]
        what = f"{type(error).__name__}: {str(error)[:300]}"
        about = {"round": number, "run": scene.fixture.source.name, "kind": damage.kind, "damage": damage.text[:300]}
        self.found.failures.append({**about, "read": outcome, "error": what, "at": where})
        print(f"FAILURE --seed {self.seed} --only {number}: {self.found.failures[-1]}", flush=True)


def run_rounds(rounds: range, seed: int, always: bool, mirrored: bool) -> Found:
    """Some of the rounds in this process: what came of them."""
    faulthandler.enable()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="corrupt-") as scratch:
        campaign = Campaign(Path(scratch), seed, mirrored)
        limit_address_space()
        for done, number in enumerate(rounds, start=1):
            faulthandler.dump_traceback_later(120, exit=True)  # where no signal helps
            campaign.round(number, always)
            faulthandler.cancel_dump_traceback_later()
            if done % 200 == 0:
                gc.collect()
            if done % 1000 == 0:
                print(f"{done} of {len(rounds)} rounds: {summary(campaign.found)}", flush=True)
    return campaign.found


def limit_address_space() -> None:
    """So that what goes wrong takes this process and not the machine."""
    found = re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())
    size = int(found[1]) * 1024 + ADDRESS_SPACE if found else ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main() -> int:
    """Run the campaign, print and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument("--only", type=int, help="number of the one round to repeat, to the end of the run")
    parser.add_argument("--mirrored", action="store_true", help="the folder is a mirror's: the run is fetched from it")
    parser.add_argument("--output", type=Path)
    options, begun = parser.parse_args(), time.monotonic()
    if options.only is not None:
        found = run_rounds(range(options.only, options.only + 1), options.seed, always=True, mirrored=options.mirrored)
    else:
        with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
            shares = [range(first, options.rounds, options.jobs) for first in range(options.jobs)]
            given = {"seed": options.seed, "always": False, "mirrored": options.mirrored}
            found = sum(pool.map(partial(run_rounds, **given), shares), Found())
    seconds = time.monotonic() - begun
    print(f"corruption campaign, seed {options.seed}: {summary(found)}, {seconds:.0f} s")
    if options.output:
        options.output.write_text(json.dumps(results_of(found, options, seconds), indent=1) + "\n")
    return 1 if found.failures else 0


def summary(found: Found) -> str:
    """What was counted, in one line."""
    outcomes, kinds = Counter[str](), Counter[str]()
    for (kind, outcome), count in found.counts.items():
        outcomes[outcome] += count
        kinds[kind] += count
    ends = sum(found.ends.values())
    by_kind = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    by_outcome = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    alike = sum(count for (_, end), count in found.ends.items() if end == "as the reference")
    return (
        f"{sum(kinds.values())} rounds: {by_outcome}; {ends} gone on to the end, {alike} as the reference; "
        f"kinds: {by_kind}; {len(found.failures)} failures"
    )


def results_of(found: Found, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """What the JSON file holds."""
    kinds = sorted({kind for kind, _ in found.counts})
    return {
        "command": f"python tests/campaigns/corrupt.py --rounds {options.rounds} --seed {options.seed}",
        "settings": {"rounds": options.rounds, "seed": options.seed},
        "versions": stamped({})["versions"],
        "source_sha256": source_digest(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "seconds": round(seconds),
        "outcomes": {
            kind: {outcome: count for (of, outcome), count in sorted(found.counts.items()) if of == kind}
            for kind in kinds
        },
        "gone_on": [
            {"read": outcome, "end": end, "rounds": count} for (outcome, end), count in sorted(found.ends.items())
        ],
        "edits_accepted": dict(sorted(found.accepted.items())),
        "failures": found.failures,
    }


def source_digest() -> str:
    """A SHA-256 over the package's source: which state of it was tried."""
    digest = hashlib.sha256()
    for path in sorted(Path(polyak.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
