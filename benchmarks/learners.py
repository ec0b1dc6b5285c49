"""Time one gradient step of each algorithm in each framework against its matrix products alone, and against eager code.

    python benchmarks/learners.py                      # SAC, TD3 and DDPG; writes docs/results/learners.json
    python benchmarks/learners.py --algorithms sac --rounds 3 --batch-size 1024
    python benchmarks/learners.py --contenders "torch oneDNN" "torch MKL" --output FILE  # large products through either
    python benchmarks/learners.py --profile --algorithms droq  # where PyTorch's time goes, operation by operation

Every contender lives in a process of its own, which waits until it is asked for a round; rounds go A B C A B C ..., so
that a busy minute slows all of them. What counts are the ratios of medians.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from polyak.algorithm import drawn, first_state
from polyak.algorithms import algorithm as algorithm_named
from polyak.algorithms import frameworks_of, titled, with_page
from polyak.frameworks.execution import Device, Execution
from polyak.settings import presets
from polyak.system.threads import physical_cores, processor
from polyak.types import Batch, Layout, Spec

ROOT = Path(__file__).resolve().parent.parent
OBSERVATION, ACTION, HIDDEN = 17, 6, (256, 256)  # HalfCheetah-v5 and the networks of the SAC paper
BURST = 50
LIMITS = ("products numpy", "products torch", "products onednn", "products jax")
Round = Callable[[int], None]
"""Does that many updates."""


class Sizes(NamedTuple):
    """What a learner is made for."""

    observation: int = OBSERVATION
    action: int = ACTION
    hidden: tuple[int, ...] = HIDDEN


HALF_CHEETAH = Sizes()


class Networks(NamedTuple):
    """What an algorithm computes with its networks in an update."""

    critics: int
    climbed: int
    """Critics that the actor climbs."""
    gaussian: bool
    """Whether the actor says a mean and a sigma for each action."""
    outputs: int = 1
    """Of a critic."""
    subset: int | None = None
    """Critics that are asked for the target; None: all."""
    period: int = 1
    """Updates for each of the actor's."""
    joint: bool = False
    """Whether the critics see (s, a) and (s', a') in one pass, which the gradient goes back through."""


NETWORKS = {
    "ddpg": Networks(1, 1, gaussian=False),
    "td3": Networks(2, 1, gaussian=False, period=2),
    "sac": Networks(2, 2, gaussian=True),
    "tqc": Networks(2, 2, gaussian=True, outputs=25),
    "crossq": Networks(2, 2, gaussian=True, period=3, joint=True),
    "redq": Networks(10, 10, gaussian=True, subset=2, period=20),
    "droq": Networks(2, 2, gaussian=True, period=20),
}


def contenders(algorithm: str) -> list[str]:
    """Everything that is timed."""
    there = frameworks_of(algorithm_named(algorithm))
    ours = [f"{name} {burst}" for name in there for burst in (BURST, 1)]
    eager = [f"{name} eager" for name in ("torch", "tensorflow")] if algorithm == "sac" else []
    return [*LIMITS, *ours, *eager]


# The limit


Product = tuple[str, int, int, int]
"""Kind, rows, inner, columns."""


def products(algorithm: str, batch: int, sizes: Sizes = HALF_CHEETAH) -> list[Product]:
    """Every matrix product of as many updates as there is one of the actor's in."""
    each, delayed = apart(algorithm, batch, sizes)
    return NETWORKS[algorithm].period * each + delayed


def apart(algorithm: str, batch: int, sizes: Sizes) -> tuple[list[Product], list[Product]]:
    """Every matrix product of an update, and those of the actor's step, which may be delayed.

    Kinds: "forward" x W, "weights" x^T g, "inputs" g W^T. What an update has no use for is not among them: the
    gradient in the critics' weights in the actor's step, and the one in a network's data.
    """
    critics, climbed, gaussian, outputs, subset, _, joint = NETWORKS[algorithm]
    asked = 0 if joint else subset or critics
    actor = (sizes.observation, *sizes.hidden, 2 * sizes.action if gaussian else sizes.action)
    critic = (sizes.observation + sizes.action, *sizes.hidden, outputs)

    def forward(widths: tuple[int, ...], rows: int = batch) -> list[Product]:
        return [("forward", rows, a, b) for a, b in pairwise(widths)]

    def weights(widths: tuple[int, ...], rows: int = batch) -> list[Product]:
        return [("weights", a, rows, b) for a, b in pairwise(widths)]

    def inputs(widths: tuple[int, ...], first: int, rows: int = batch) -> list[Product]:
        return [("inputs", rows, b, a) for a, b in list(pairwise(widths))[first:]]

    target, rows = forward(actor) + asked * forward(critic), 2 * batch if joint else batch
    critic_step = critics * (forward(critic, rows) + weights(critic, rows) + inputs(critic, 1, rows))
    actor_step = forward(actor) + climbed * (forward(critic) + inputs(critic, 0)) + weights(actor) + inputs(actor, 1)
    return target + critic_step, actor_step


def operands(kind: str, rows: int, inner: int, columns: int, generator: np.random.Generator) -> tuple[Any, Any]:
    """Two factors in the layouts in which a learner has them."""
    left = generator.standard_normal((inner, rows) if kind == "weights" else (rows, inner), dtype=np.float32)
    right = generator.standard_normal((columns, inner) if kind == "inputs" else (inner, columns), dtype=np.float32)
    return left.T if kind == "weights" else left, right.T if kind == "inputs" else right


def repeats_of(algorithm: str) -> int:
    """How often JAX repeats the products of an algorithm: each time with other left factors, which take memory."""
    return 4 if NETWORKS[algorithm].period > 3 else 10


def whole(algorithm: str, updates: int) -> int:
    """At most so many updates, of which the limit's calls are a whole number in every library."""
    call = (repeats_of(algorithm) + 1) * NETWORKS[algorithm].period
    return updates // call * call


def limit(library: str, algorithm: str, batch: int, sizes: Sizes = HALF_CHEETAH, repeats: int | None = None) -> Round:
    """The products alone, through one library, into memory that is there already where the library can.

    JAX does them `repeats + 1` times in a call, by default `repeats_of(algorithm)`.

    Raises:
        ValueError: fewer than two repeats; XLA unrolls a scan of one and leaves half of the products out.
    """
    repeats = repeats or repeats_of(algorithm)
    if library == "jax" and repeats < 2:
        raise ValueError(f"repeats is {repeats}, but must be at least 2")
    generator, period = np.random.default_rng(0), NETWORKS[algorithm].period
    each, delayed = apart(algorithm, batch, sizes)
    kinds = [product[0] for product in products(algorithm, batch, sizes)]
    again = period if library != "jax" and period > 3 else 1  # else memory runs short; XLA would leave equal ones out
    pairs = again * [operands(*product, generator) for product in period // again * each]
    pairs += [operands(*product, generator) for product in delayed]
    if library == "jax":
        once, times = with_jax(kinds, pairs, repeats)
    else:
        once, times = {"numpy": with_numpy, "torch": with_torch, "onednn": with_onednn}[library](kinds, pairs)
    share = 1.0 / NETWORKS[algorithm].period / times
    return lambda updates: [once() for _ in range(round(updates * share))] and None


Products = tuple[Callable[[], Any], int]
"""Computes all products, and how many times over."""


def with_numpy(kinds: list[str], pairs: list[tuple[Any, Any]]) -> Products:
    results = [np.empty((len(a), b.shape[1]), np.float32) for a, b in pairs]
    return lambda: [np.matmul(a, b, out=out) for (a, b), out in zip(pairs, results, strict=True)], 1


def with_torch(kinds: list[str], pairs: list[tuple[Any, Any]]) -> Products:
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    factors = [(torch.from_numpy(a), torch.from_numpy(b), torch.empty(len(a), b.shape[1])) for a, b in pairs]
    return lambda: [torch.mm(a, b, out=out) for a, b, out in factors], 1


def with_onednn(kinds: list[str], pairs: list[tuple[Any, Any]]) -> Products:
    """As polyak's PyTorch learner multiplies where that is faster: oneDNN for what is large, else MKL."""
    import torch

    from polyak.frameworks.torch import device, fused

    device.ONEDNN_IS_FASTER = True  # as here, whatever the processor
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    calls: list[Callable[[], Any]] = []
    for kind, (left, right) in zip(kinds, pairs, strict=True):
        a, b, zero = torch.from_numpy(left), torch.from_numpy(right), torch.zeros(right.shape[1])
        if kind == "weights":
            calls.append(lambda a=a, b=b: fused._outer(a.t(), b))
        elif kind == "inputs":
            calls.append(lambda a=a, b=b: fused._transposed(a, b.t()))
        else:
            calls.append(lambda a=a, b=b, zero=zero: fused._linear(a, b, zero, relu=False))
    return lambda: [call() for call in calls], 1


def with_jax(kinds: list[str], pairs: list[tuple[Any, Any]], repeats: int = 10) -> Products:
    """A scan over several left factors in one call, as the learner scans over updates."""
    import jax
    import jax.numpy as jnp

    def turned(factor: Any, kind: str, turning: str) -> Any:
        return jnp.swapaxes(factor, -1, -2) if kind == turning else factor

    rights = [turned(jnp.array(b), kind, "inputs") for kind, (_, b) in zip(kinds, pairs, strict=True)]
    lefts = [turned(jnp.array(a), kind, "weights") for kind, (a, _) in zip(kinds, pairs, strict=True)]
    many = [jnp.stack([a * (i + 1) for i in range(repeats)]) for a in lefts]

    def step(rights: list[Any], results: list[Any], lefts: list[Any]) -> tuple[list[Any], None]:
        return [
            turned(a, kind, "weights") @ turned(b, kind, "inputs")
            for kind, a, b in zip(kinds, lefts, rights, strict=True)
        ], None

    @jax.jit
    def scanned(many: list[Any], rights: list[Any]) -> list[Any]:
        first, _ = step(rights, [], [a[0] for a in many])
        return jax.lax.scan(lambda results, lefts: step(rights, results, lefts), first, many)[0]

    return lambda: jax.block_until_ready(scanned(many, rights)), repeats + 1


# The learners


def learner(
    backend: str, burst: int, algorithm: str, batch: int, sizes: Sizes = HALF_CHEETAH, device: Device = "cpu"
) -> Round:
    """polyak's own."""
    from polyak import frameworks

    what, generator = with_page(algorithm_named(algorithm), backend), np.random.default_rng(0)
    bounds = np.ones(sizes.action, np.float32)
    spec = Spec((sizes.observation,), (sizes.action,), -bounds, bounds)
    asked = {"batch_size": batch, "update_after": batch, "hidden_sizes": sizes.hidden}
    config = what.Config(**{**presets.load("defaults", what, "").values, **asked})
    execution = Execution(device, int(os.environ["OMP_NUM_THREADS"]))
    first = first_state(what.state(spec, config), generator)
    ours = frameworks.make_learner(backend, what, spec, config, first, execution)
    batches = Batch(records(generator, burst, batch, sizes), spec.layout)
    noise = drawn(what.draws(spec, config), generator, burst)
    return lambda updates: [ours.update(batches, noise) for _ in range(updates // burst)] and None


def records(generator: np.random.Generator, burst: int, batch: int, sizes: Sizes = HALF_CHEETAH) -> Any:
    """Made-up transitions, [K, B, 2 O + A + 3], with a discount of 0.99 and weights of 1."""
    layout = Layout(sizes.observation, sizes.action)
    made_up = generator.standard_normal((burst, batch, layout.width), dtype=np.float32)
    made_up[..., layout.discount], made_up[..., layout.weight] = 0.99, 1.0
    return made_up


def torch_eager(batch: int) -> Round:
    """SAC as PyTorch's users write it: modules, optimizers, `backward`."""
    import torch
    from torch import nn

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

    def network(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(inputs, HIDDEN[0]), nn.ReLU(), nn.Linear(*HIDDEN), nn.ReLU(), nn.Linear(HIDDEN[1], outputs)
        )

    actor = network(OBSERVATION, 2 * ACTION)
    q_1, q_2, target_1, target_2 = (network(OBSERVATION + ACTION, 1) for _ in range(4))
    log_alpha = torch.zeros(1, requires_grad=True)
    critic_optimizer = torch.optim.Adam([*q_1.parameters(), *q_2.parameters()], lr=1e-3)
    actor_optimizer = torch.optim.Adam(actor.parameters(), lr=3e-4)
    alpha_optimizer = torch.optim.Adam([log_alpha], lr=1e-3)
    data = torch.from_numpy(records(np.random.default_rng(0), BURST, batch))

    def sample(observation: Any) -> tuple[Any, Any]:
        mean, log_sigma = actor(observation).chunk(2, dim=-1)
        normal = torch.distributions.Normal(mean, log_sigma.clamp(-20, 2).exp())
        u = normal.rsample()
        correction = 2 * (math.log(2) - u - nn.functional.softplus(-2 * u))
        return torch.tanh(u), (normal.log_prob(u) - correction).sum(-1, keepdim=True)

    def update(record: Any) -> None:
        s, a, r, s_2, discount, _ = record.split([OBSERVATION, ACTION, 1, OBSERVATION, 1, 1], dim=-1)
        with torch.no_grad():
            a_2, log_pi = sample(s_2)
            joint = torch.cat([s_2, a_2], -1)
            y = r + discount * (torch.min(target_1(joint), target_2(joint)) - log_alpha.exp() * log_pi)
        joint = torch.cat([s, a], -1)
        loss = nn.functional.mse_loss(q_1(joint), y) + nn.functional.mse_loss(q_2(joint), y)
        critic_optimizer.zero_grad()
        loss.backward()
        critic_optimizer.step()
        action, log_pi = sample(s)
        joint = torch.cat([s, action], -1)
        actor_loss = (log_alpha.exp().detach() * log_pi - torch.min(q_1(joint), q_2(joint))).mean()
        actor_optimizer.zero_grad()
        actor_loss.backward()
        actor_optimizer.step()
        alpha_loss = (-log_alpha.exp() * (log_pi.detach() - ACTION)).mean()
        alpha_optimizer.zero_grad()
        alpha_loss.backward()
        alpha_optimizer.step()
        with torch.no_grad():
            for online, target in ((q_1, target_1), (q_2, target_2)):
                for p, t in zip(online.parameters(), target.parameters(), strict=True):
                    t.mul_(0.995).add_(p, alpha=0.005)

    return lambda updates: [update(data[i % BURST]) for i in range(updates)] and None


def tensorflow_eager(batch: int) -> Round:
    """SAC as TensorFlow's users write it: Keras models and optimizers, a gradient tape."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(int(os.environ["OMP_NUM_THREADS"]))

    def network(inputs: int, outputs: int) -> Any:
        layers = [keras.layers.Dense(width, activation="relu") for width in HIDDEN]
        return keras.Sequential([keras.Input((inputs,)), *layers, keras.layers.Dense(outputs)])

    actor = network(OBSERVATION, 2 * ACTION)
    q_1, q_2, target_1, target_2 = (network(OBSERVATION + ACTION, 1) for _ in range(4))
    log_alpha = tf.Variable(0.0)
    critic_optimizer, actor_optimizer, alpha_optimizer = (keras.optimizers.Adam(3e-4) for _ in range(3))
    data = tf.constant(records(np.random.default_rng(0), BURST, batch))

    def sample(observation: Any) -> tuple[Any, Any]:
        mean, log_sigma = tf.split(actor(observation), 2, axis=-1)
        log_sigma = tf.clip_by_value(log_sigma, -20.0, 2.0)
        noise = tf.random.normal(tf.shape(mean))
        u = mean + tf.exp(log_sigma) * noise
        log_pi = -0.5 * noise**2 - log_sigma - 0.5 * math.log(2 * math.pi)
        return tf.tanh(u), tf.reduce_sum(log_pi - 2 * (math.log(2) - u - tf.nn.softplus(-2 * u)), -1, keepdims=True)

    def update(record: Any) -> None:
        s, a, r, s_2, discount, _ = tf.split(record, [OBSERVATION, ACTION, 1, OBSERVATION, 1, 1], axis=-1)
        a_2, log_pi = sample(s_2)
        joint = tf.concat([s_2, a_2], -1)
        y = r + discount * (tf.minimum(target_1(joint), target_2(joint)) - tf.exp(log_alpha) * log_pi)
        critics = q_1.trainable_variables + q_2.trainable_variables
        with tf.GradientTape() as tape:
            joint = tf.concat([s, a], -1)
            loss = tf.reduce_mean((q_1(joint) - y) ** 2) + tf.reduce_mean((q_2(joint) - y) ** 2)
        critic_optimizer.apply_gradients(zip(tape.gradient(loss, critics), critics, strict=True))
        with tf.GradientTape() as tape:
            action, log_pi = sample(s)
            joint = tf.concat([s, action], -1)
            actor_loss = tf.reduce_mean(tf.exp(log_alpha) * log_pi - tf.minimum(q_1(joint), q_2(joint)))
        gradients = tape.gradient(actor_loss, actor.trainable_variables)
        actor_optimizer.apply_gradients(zip(gradients, actor.trainable_variables, strict=True))
        with tf.GradientTape() as tape:
            alpha_loss = -tf.exp(log_alpha) * tf.reduce_mean(log_pi - ACTION)
        alpha_optimizer.apply_gradients([(tape.gradient(alpha_loss, log_alpha), log_alpha)])
        for online, target in ((q_1, target_1), (q_2, target_2)):
            for p, t in zip(online.trainable_variables, target.trainable_variables, strict=True):
                t.assign(0.995 * t + 0.005 * p)

    return lambda updates: [update(data[i % BURST]) for i in range(updates)] and None


# Rounds


def make(name: str, algorithm: str, batch: int) -> Round:
    """A contender, in the process that is to run it."""
    kind, which = name.split()
    if kind == "products":
        return limit(which, algorithm, batch)
    if which == "eager":
        return torch_eager(batch) if kind == "torch" else tensorflow_eager(batch)
    if which in ("oneDNN", "MKL"):
        from polyak.frameworks.torch import device

        device.ONEDNN_IS_FASTER, which = which == "oneDNN", str(BURST)
    return learner(kind, int(which), algorithm, batch)


def serve(name: str, algorithm: str, batch: int, updates: int) -> None:
    """Make a contender, warm up, and run a round for every line on standard input; milliseconds an update go back."""
    run = make(name, algorithm, batch)
    run(2 * BURST)
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        run(updates)
        print((time.perf_counter() - started) / updates * 1e3, flush=True)


def variables(threads: int | None) -> dict[str, str]:
    """The environment variables of a process in which every library is to use so many threads, None: as it likes."""
    if threads is None:
        return dict(os.environ)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PJRT_NPROC", "NPROC", "TF_NUM_INTRAOP_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads)) | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    return environment | ({"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"} if threads == 1 else {})


class Contender:
    """A contender's process."""

    def __init__(self, name: str, options: argparse.Namespace, algorithm: str) -> None:
        self.name, self.times = name, list[float]()
        command = [sys.executable, __file__, "--serve", name, "--algorithms", algorithm]
        command += ["--batch-size", str(options.batch_size), "--updates", str(options.updates)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            text=True,
            env=variables(options.threads),
        )
        self._answer()

    def round(self) -> None:
        """Time one round."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.times.append(float(self._answer()))

    def _answer(self) -> str:
        assert self._process.stdout
        while line := self._process.stdout.readline():
            if line.strip() == "ready" or line[:1].isdigit():
                return line
        raise RuntimeError(f"{self.name} ended")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def compare(algorithm: str, options: argparse.Namespace) -> dict[str, Any]:
    """Medians in milliseconds an update, and the fraction of the limit that each reaches, as the median over rounds.

    Where none of the limits is among the contenders, the last of them stands for it.
    """
    running = [Contender(name, options, algorithm) for name in options.contenders or contenders(algorithm)]
    try:
        for number in range(options.rounds):
            for contender in running:
                contender.round()
            print(f"{algorithm}: round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    finally:
        for contender in running:
            contender.close()
    times = {contender.name: contender.times for contender in running}
    limits = [name for name in LIMITS if name in times] or [running[-1].name]
    best = min(limits, key=lambda name: statistics.median(times[name]))
    found = {
        name: {
            "milliseconds": round(statistics.median(values), 3),
            "lowest": round(min(values), 3),
            "highest": round(max(values), 3),
            "fraction_of_limit": round(
                statistics.median(limit / value for limit, value in zip(times[best], values, strict=True)), 3
            ),
        }
        for name, values in times.items()
    }
    return {"limit": best, "contenders": found}


def show(algorithm: str, result: dict[str, Any]) -> None:
    """A Markdown table."""
    print(f"\n{titled(algorithm)}; the limit is {result['limit']}\n")
    print("| | ms an update: median (lowest, highest) | fraction of the limit |\n|---|---|---|")
    for name, row in result["contenders"].items():
        spread = f"{row['milliseconds']:.2f} ({row['lowest']:.2f}, {row['highest']:.2f})"
        print(f"| {name} | {spread} | {row['fraction_of_limit']:.0%} |")


def profile(algorithm: str, batch: int, threads: int) -> None:
    """The operations of one burst in PyTorch, longest first."""
    import torch.profiler

    os.environ["OMP_NUM_THREADS"] = str(threads)
    run = learner("torch", BURST, algorithm, batch)
    run(2 * BURST)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as measured:
        run(BURST)
    print(measured.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=40))


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithms", nargs="+", default=["sac", "td3", "ddpg"])
    parser.add_argument("--contenders", nargs="+", default=[], help="these alone, by their names; by default all")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--updates", type=int, default=2 * BURST, help="of a round")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "learners.json")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--profile", action="store_true", help="of the first algorithm in PyTorch, instead")
    options = parser.parse_args()
    if options.profile:
        profile(options.algorithms[0], options.batch_size, options.threads)
        return
    if options.serve:
        serve(options.serve, options.algorithms[0], options.batch_size, options.updates)
        return
    settings = {name: getattr(options, name) for name in ("rounds", "updates", "batch_size", "threads")}
    results: dict[str, Any] = {"settings": {**settings, "processor": processor()}}
    for algorithm in options.algorithms:
        results[algorithm] = compare(algorithm, options)
        show(algorithm, results[algorithm])
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
