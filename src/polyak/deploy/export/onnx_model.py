"""A policy as an ONNX model, built of its arrays: no framework is asked.

Input `observation` [batch, *S] in the environment's units (and `noise` [batch, A] where actions are drawn), output
`action` [batch, *action shape] in the environment's units, all float32. A number that is not finite gives NaN.
"""

from typing import Any

import numpy as np

import polyak
from polyak.algorithm import LOG_SIGMA_HIGH, LOG_SIGMA_LOW
from polyak.deploy.export.copied import Copy
from polyak.errors import UsageError
from polyak.networks.layers import Activation, Body, Dense, Dropout, Layer, Norm, Residual, TanhBounds, numbered
from polyak.types import Arrays

OPSET, IR_VERSION = 17, 8
"""The first with layer normalization, and the file format of its time: ONNX Runtime reads both since 1.12."""
ACTIVATIONS = {"relu": "Relu", "elu": "Elu", "tanh": "Tanh"}
"""Those that ONNX has."""


def onnx_model(copy: Copy) -> bytes:
    """The file's content; equal policies are equal files.

    Raises:
        UsageError: the package onnx is missing.
    """
    try:
        import onnx
        from onnx import checker, helper
    except ImportError as error:
        raise UsageError(
            'export to ONNX takes the package onnx, which is not installed: pip install "polyak[export]"'
        ) from error
    spec, graph = copy.policy.spec, _Graph(helper)
    observation, noise = "observation", "noise"
    inputs = {observation: spec.observation_shape, **({noise: (spec.action_size,)} if copy.stochastic else {})}
    given = graph.node("Reshape", observation, graph.constant("vector", np.array([0, spec.observation_size])))
    outputs = graph.network(copy.policy.layers, copy.policy.parameters, _normalized(graph, copy, given))
    action = _in_environment_units(graph, copy, _squashed(graph, copy, outputs, noise))
    guarded = graph.node("Add", action, _not_finite(graph, given, outputs))
    shape = graph.constant("action_shape", np.array([0, *spec.action_shape]))
    graph.node("Reshape", guarded, shape, to="action")
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "policy",
            [_tensor(helper, name, inner) for name, inner in inputs.items()],
            [_tensor(helper, "action", spec.action_shape)],
            [onnx.numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="polyak",
        producer_version=polyak.__version__,
    )
    helper.set_model_props(model, copy.told())
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _tensor(helper: Any, name: str, shape: tuple[int, ...]) -> Any:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(np.float32)), ["batch", *shape])


class _Graph:
    """Nodes in order, and the arrays that they take; each node's output has its own name."""

    def __init__(self, helper: Any) -> None:
        self._helper = helper
        self.nodes: list[Any] = []
        self.constants: Arrays = {}

    def node(self, kind: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        """Add an operation; the name of its output."""
        name = to or f"{kind}_{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: Any) -> str:
        """An array by its name: float32, or whole numbers, which are int64."""
        array = np.asarray(value)
        self.constants[name] = np.ascontiguousarray(array, np.int64 if array.dtype.kind == "i" else np.float32)
        return name

    def network(self, body: Body, arrays: Arrays, hidden: str, first: int = 0) -> str:
        """The layers, one after another."""
        for number, layer in numbered(body, first):
            hidden = self._layer(number, layer, arrays, hidden)
        return hidden

    def _layer(self, number: str, layer: Layer, arrays: Arrays, hidden: str) -> str:
        def own(*names: str) -> list[str]:
            return [self.constant(path, arrays[path]) for path in (f"{number}/{name}" for name in names)]

        match layer:
            case Dense():
                return self.node("Gemm", hidden, *own("kernel", "bias"))
            case Norm(epsilon):
                return self.node("LayerNormalization", hidden, *own("scale", "offset"), axis=-1, epsilon=epsilon)
            case Activation("silu"):
                return self.node("Mul", hidden, self.node("Sigmoid", hidden))
            case Activation(kind):
                return self.node(ACTIVATIONS[kind], hidden)
            case Dropout():
                return hidden
            case Residual(body):
                return self.node("Add", hidden, self.network(body, arrays, hidden, int(number)))
            case TanhBounds(low, high):
                return self._bounded(low, high, hidden)
            case _:
                raise ValueError(f"{type(layer).__name__} is no layer of a policy")

    def _bounded(self, low: float, high: float, hidden: str) -> str:
        halves = [f"Split_{len(self.nodes)}_{half}" for half in ("free", "bounded")]
        self.nodes.append(self._helper.make_node("Split", [hidden], halves, name=halves[0], axis=-1))
        numbers = {"one": 1.0, f"bound_{low}": low, f"half_{low}_{high}": 0.5 * (high - low)}
        one, lowest, half = (self.constant(*each) for each in numbers.items())
        within = self.node("Mul", half, self.node("Add", one, self.node("Tanh", halves[1])))
        return self.node("Concat", halves[0], self.node("Add", lowest, within), axis=-1)


def _normalized(graph: _Graph, copy: Copy, given: str) -> str:
    """clip((s - mean) scale, -clip, clip), where the policy has that."""
    normalizer = copy.policy.normalizer
    if normalizer is None:
        return given
    centred = graph.node("Sub", given, graph.constant("normalizer/mean", normalizer.mean))
    scaled = graph.node("Mul", centred, graph.constant("normalizer/scale", normalizer.scale))
    low, high = (graph.constant(f"normalizer/{name}", sign * normalizer.clip) for name, sign in CLIPS)
    return graph.node("Clip", scaled, low, high)


CLIPS = (("low", -1.0), ("high", 1.0))


def _squashed(graph: _Graph, copy: Copy, outputs: str, noise: str) -> str:
    """The normalized action: tanh of the first A outputs, or of what is drawn around them."""
    size = copy.policy.spec.action_size

    def columns(first: int) -> str:
        bounds = (graph.constant(f"columns_{end}", np.array([end])) for end in (first, first + size))
        return graph.node("Slice", outputs, *bounds, graph.constant("columns_axis", np.array([1])))

    mean = outputs if copy.policy.kind == "deterministic" else columns(0)
    if copy.stochastic:
        low, high = graph.constant("log_sigma_low", LOG_SIGMA_LOW), graph.constant("log_sigma_high", LOG_SIGMA_HIGH)
        sigma = graph.node("Exp", graph.node("Clip", columns(size), low, high))
        mean = graph.node("Add", mean, graph.node("Mul", sigma, noise))
    return graph.node("Tanh", mean)


def _in_environment_units(graph: _Graph, copy: Copy, action: str) -> str:
    """(a + 1) half_range + low, within the bounds, as `Spec.to_environment` has it."""
    spec = copy.policy.spec
    low, high = graph.constant("action_low", spec.action_low), graph.constant("action_high", spec.action_high)
    above = graph.node("Add", action, graph.constant("one", 1.0))
    scaled = graph.node("Mul", above, graph.constant("action_half_range", spec.action_half_range))
    return graph.node("Min", graph.node("Max", graph.node("Add", scaled, low), low), high)


def _not_finite(graph: _Graph, *vectors: str) -> str:
    """[batch, 1]: 0, or NaN where a number of the row is not finite: runtimes differ in what ReLU makes of NaN."""
    zeros = graph.node("Mul", graph.node("Concat", *vectors, axis=1), graph.constant("zero", 0.0))
    return graph.node("ReduceSum", zeros, graph.constant("sum_axis", np.array([1])), keepdims=1)
