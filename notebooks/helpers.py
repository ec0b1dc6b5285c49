"""What the notebooks share: showing source, a small learner to look into, comparing numbers, drawing metrics."""

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, Markdown, Video

import polyak
from polyak import parts
from polyak.algorithm import drawn
from polyak.algorithms import algorithm as algorithm_named
from polyak.frameworks.state import Weights, state_of

COLOURS = ("#3a80c9", "#e07b39", "#2f9e77", "#c2579c", "#8a78e0", "#b8941f")
TENSORS = {"jax": ("jax.numpy", "asarray"), "torch": ("torch", "tensor"), "tensorflow": ("tensorflow", "constant")}
"""What makes an array the framework's own."""

plt.rcParams.update({"axes.prop_cycle": plt.cycler(color=COLOURS), "axes.grid": True, "grid.alpha": 0.3})


def code(*functions: Any) -> Markdown:
    """The source of polyak's own functions, as the notebook shows it."""
    return Markdown("\n\n".join(f"```python\n{inspect.getsource(function)}```" for function in functions))


def tables(shown: Sequence[Any]) -> HTML:
    """The tables of one of polyak's lessons."""
    return HTML("".join(table.html() for table in shown))


def tensors(value: Any, backend: str) -> Any:
    """NumPy arrays, in dictionaries and tuples or alone, as the framework has them; float64 becomes float32."""
    if isinstance(value, Mapping):
        return {name: tensors(each, backend) for name, each in value.items()}
    if isinstance(value, tuple):
        return tuple(tensors(each, backend) for each in value)
    module, function = TENSORS[backend]
    array = np.asarray(value)
    single = array.astype(np.float32) if array.dtype == np.float64 else array
    return getattr(importlib.import_module(module), function)(single)


def compare(computed: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Print the first numbers of what polyak computed and of what is expected, and how far both are apart.

    Raises:
        ValueError: shapes differ, or numbers differ by more than `tolerance` times the largest.
    """
    ours, theirs = np.asarray(computed, np.float64), np.asarray(expected, np.float64)
    if ours.shape != theirs.shape:
        raise ValueError(f"shapes {ours.shape} and {theirs.shape}")
    for name, values in (("polyak", ours), ("expected", theirs)):
        print(f"{name:<9}", *(f"{number:12.6g}" for number in values.ravel()[:5]), "..." if values.size > 5 else "")
    difference = float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-12))
    print(f"largest difference, relative: {difference:.1e}")
    if not difference <= tolerance:
        raise ValueError(f"they differ by {difference:.1e}, more than {tolerance:.0e}")


@dataclass(frozen=True)
class Example:
    """A learner that has made a few updates on random transitions, and a batch; each in two forms."""

    config: Any
    state: Any
    """What the framework's `update` takes and returns."""
    batch: Any
    """[B, ...], the framework's tensors."""
    noise: dict[str, Any]
    """[B, A] each, the framework's tensors."""
    arrays: dict[str, Any]
    """The state as named NumPy arrays."""
    data: Any
    """The batch in NumPy."""
    noise_data: dict[str, Any]
    """The noise in NumPy."""

    def part(self, name: str) -> dict[str, Any]:
        """One network of the state in float64, by the names in it: `part("target_actor")`."""
        start = f"{name}/"
        found = {key.removeprefix(start): value for key, value in self.arrays.items() if key.startswith(start)}
        return {key: value.astype(np.float64) for key, value in found.items()}


def example(algorithm: str, environment: str, backend: str, *, updates: int = 100, **settings: Any) -> Example:
    """Collect 1,000 random transitions, make a small learner, let it do `updates` updates, and sample a batch of 64.

    After that the targets lag behind their networks, so that a formula that confuses them does not pass.
    """
    streams, what = parts.Streams(0), algorithm_named(algorithm)
    config = what.Config(batch_size=64, hidden_sizes=(32, 32), replay_size=1_000, **settings)
    environments = parts.make_environments(environment)
    spec, collector = environments.spec, parts.make_collector(environments, config)
    replay = parts.make_replay(spec, config)
    for _ in range(replay.capacity):
        replay.add(collector.step(None))
    environments.close()

    learner = parts.make_learner(backend, algorithm, spec, config, device="cpu", fast=backend == "jax")
    learner.update(parts.sample_batch(replay, streams.replay, updates, config.batch_size, config.discount))

    common = importlib.import_module(f"polyak.frameworks.{backend}.parts")
    arrays = learner.arrays()
    state = state_of(what.state(spec, config), tensors(dict(sorted(arrays.items())), backend))
    last = parts.sample_batch(replay, streams.replay, 1, config.batch_size, config.discount)
    data = common.Batch(*(getattr(last, name)[0] for name in common.Batch._fields))
    noise = {name: value[0] for name, value in drawn(what.draws(spec, config), streams.learner, 1).items()}
    batch = common.Batch(*tensors(tuple(data), backend))
    return Example(config, state, batch, tensors(noise, backend), arrays, data, noise)


def gradient_of(function: Callable[..., Any], backend: str, **fixed: Any) -> Callable[..., Any]:
    """The gradient in its first argument of a loss of the learners, which returns (loss, what else it computed).

    `fixed` are arguments that are no arrays, by name.
    """
    common = importlib.import_module(f"polyak.frameworks.{backend}.parts")

    def gradient(*arguments: Any) -> Any:
        return common.value_and_gradient(functools.partial(function, **fixed), *arguments)[1]

    return importlib.import_module("jax").jit(gradient) if backend == "jax" else gradient


def partial(function: Callable[..., Any], weights: Sequence[Any], backend: str) -> Callable[..., Any]:
    """`functools.partial`; in JAX one that may be an argument of what is compiled."""
    if backend == "jax":
        return importlib.import_module("jax").tree_util.Partial(function, *weights)
    return functools.partial(function, *weights)


def forward(network: Mapping[str, Any], inputs: Any) -> Any:
    """What a network of these arrays computes, written out: dense layers, ReLU between them; [..., inputs]."""
    layers = len(network) // 2
    for layer in range(layers):
        inputs = inputs @ network[f"{layer}/kernel"] + network[f"{layer}/bias"]
        inputs = np.maximum(inputs, 0) if layer < layers - 1 else inputs
    return inputs


def weights(network: Mapping[str, Any], like: Weights, backend: str) -> Weights:
    """The framework's own weights of a network of these arrays, whose layers are those of another."""
    nested: dict[str, dict[str, Any]] = {}
    for name, value in network.items():
        layer, _, kind = name.partition("/")
        nested.setdefault(layer, {})[kind] = np.asarray(value, np.float32)
    return Weights(tensors(nested, backend), like.body)


def compiled(update: Callable[..., Any], backend: str) -> Callable[..., Any]:
    """The same update; in JAX compiled as a whole, which takes less time than compiling its operations one by one."""
    return importlib.import_module("jax").jit(update, static_argnums=4) if backend == "jax" else update


def curves(run: polyak.Run, *panels: Sequence[str]) -> None:
    """Draw numbers of `run.metrics` against environment steps, a panel for each group of names."""
    figure, axes = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 3.6), squeeze=False, layout="constrained")
    for axis, names in zip(axes[0], panels, strict=True):
        for name in names:
            found = [record for record in run.metrics if name in record]
            steps, values = (np.array([record[key] for record in found]) for key in ("step", name))
            (line,) = axis.plot(steps, values, marker="o", markersize=3, label=name)
            if name == "eval/return":
                spread = np.array([record["eval/return_std"] for record in found])
                axis.fill_between(steps, values - spread, values + spread, color=line.get_color(), alpha=0.15)
        axis.set_xlabel("environment steps")
        axis.legend(fontsize="small")
    figure.suptitle(f"{run.settings['algorithm'].upper()} on {run.settings['environment']}")
    plt.show()


def video(run: polyak.Run) -> Video:
    """An episode of the run's best policy, inside the notebook."""
    return Video(run.record(best=True), embed=True, width=420, html_attributes="controls muted loop")
