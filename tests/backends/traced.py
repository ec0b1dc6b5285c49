"""What a JAX function computes, in NumPy: its program is traced as ever, and no operation of it is compiled.

For tests that replace a function of a page and look at what comes out, where each of a thousand small operations would
be compiled by itself. What XLA makes of the same programs is tested with the learners. An operation that is not listed
here is JAX's.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.extend.core
import numpy as np

Values = list[Any]


class Traced:
    """A function of PyTrees, traced in its first call, with what it calls then; the others have the same shapes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._program: Any = None

    def __call__(self, *arguments: Any) -> Any:
        """What it gives, as NumPy arrays."""
        if self._program is None:
            with jax.disable_jit():  # it would remember, of a condition's branches, what they called in another test
                self._program, self._gives = jax.make_jaxpr(self._function, return_shape=True)(*arguments)
        given = [np.asarray(leaf) for leaf in jax.tree.leaves(arguments)]
        with np.errstate(all="ignore"):  # as XLA
            values = _evaluated(self._program.jaxpr, self._program.consts, given)
        return jax.tree.unflatten(jax.tree.structure(self._gives), values)


def _evaluated(program: Any, constants: Sequence[Any], given: Sequence[Any]) -> Values:
    known = dict(zip([*program.constvars, *program.invars], [*map(np.asarray, constants), *given], strict=True))

    def value(atom: Any) -> Any:
        return np.asarray(atom.val) if isinstance(atom, jax.extend.core.Literal) else known[atom]

    for step in program.eqns:
        name, taken = step.primitive.name, [value(atom) for atom in step.invars]
        if name in INSIDE:
            inner, taken = INSIDE[name](step.params, taken)
            found = _evaluated(inner.jaxpr, inner.consts, taken)
        elif name in OPERATIONS:
            found = OPERATIONS[name](*taken, **{key: step.params[key] for key in TAKES.get(name, ())})
        else:
            found = step.primitive.bind(*taken, **step.params)
        outputs = found if isinstance(found, list) else [found]
        for variable, output in zip(step.outvars, outputs, strict=True):
            assert np.shape(output) == variable.aval.shape, name
            known[variable] = np.asarray(output, variable.aval.dtype)
    return [value(atom) for atom in program.outvars]


def _branch(parameters: Mapping[str, Any], taken: Values) -> tuple[Any, Values]:
    index, *rest = taken
    return parameters["branches"][int(np.clip(index, 0, len(parameters["branches"]) - 1))], rest


def _broadcast(x: Any, shape: Sequence[int], broadcast_dimensions: Sequence[int]) -> Any:
    placed = [1] * len(shape)
    for axis, size in zip(broadcast_dimensions, np.shape(x), strict=True):
        placed[axis] = size
    return np.broadcast_to(np.reshape(x, placed), shape)


def _product(x: Any, y: Any, dimension_numbers: Any) -> Any:
    """Axes of the batch first, then those of x that are left, then those of y."""
    (over_x, over_y), (batch_x, batch_y) = dimension_numbers
    left = [axis for axis in range(np.ndim(x)) if axis not in (*over_x, *batch_x)]
    right = [axis for axis in range(np.ndim(y)) if axis not in (*over_y, *batch_y)]
    names = iter(range(np.ndim(x) + np.ndim(y)))
    of_x = {axis: next(names) for axis in range(np.ndim(x))}
    of_y = dict(zip([*over_y, *batch_y], [of_x[axis] for axis in (*over_x, *batch_x)], strict=True))
    of_y |= {axis: next(names) for axis in right}
    out = [of_x[axis] for axis in (*batch_x, *left)] + [of_y[axis] for axis in right]
    return np.einsum(x, [of_x[axis] for axis in range(np.ndim(x))], y, [of_y[axis] for axis in range(np.ndim(y))], out)


def _largest(x: Any, k: int) -> Values:
    """Along the last axis, and where they were; equal ones in their order."""
    order = np.argsort(-x, axis=-1, kind="stable")[..., :k]
    return [np.take_along_axis(x, order, -1), order]


def _cut(x: Any, start_indices: Sequence[int], limit_indices: Sequence[int], strides: Sequence[int] | None) -> Any:
    return x[tuple(map(slice, start_indices, limit_indices, strides or [1] * np.ndim(x)))]


INSIDE: dict[str, Callable[[Mapping[str, Any], Values], tuple[Any, Values]]] = {
    "jit": lambda parameters, taken: (parameters["jaxpr"], taken),
    "custom_jvp_call": lambda parameters, taken: (parameters["call_jaxpr"], taken),
    "custom_vjp_call": lambda parameters, taken: (parameters["call_jaxpr"], taken),
    "cond": _branch,
}
"""Operations that are programs."""
TAKES = {
    "integer_pow": ("y",),
    "reduce_sum": ("axes",),
    "reduce_max": ("axes",),
    "broadcast_in_dim": ("shape", "broadcast_dimensions"),
    "reshape": ("new_sizes",),
    "transpose": ("permutation",),
    "concatenate": ("dimension",),
    "squeeze": ("dimensions",),
    "split": ("sizes", "axis"),
    "slice": ("start_indices", "limit_indices", "strides"),
    "dot_general": ("dimension_numbers",),
    "top_k": ("k",),
    "iota": ("shape", "dimension"),
}
"""The parameters that matter to an operation; its result's type is known from the program."""
OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "add_any": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "max": np.maximum,
    "min": np.minimum,
    "abs": np.abs,
    "sign": np.sign,
    "square": np.square,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1.0 / np.sqrt(x),
    "integer_pow": lambda x, y: x**y,
    "pow": np.power,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "logistic": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "cos": np.cos,
    "clamp": lambda low, x, high: np.clip(x, low, high),
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "and": operator.and_,
    "or": operator.or_,
    "not": np.logical_not,
    "select_n": lambda which, *cases: np.choose(which.astype(int), cases),
    "stop_gradient": lambda x: x,
    "copy": lambda x: x,
    "convert_element_type": lambda x: x,
    "reduce_sum": lambda x, axes: np.sum(x, axis=tuple(axes)),
    "reduce_max": lambda x, axes: np.max(x, axis=tuple(axes)),
    "broadcast_in_dim": _broadcast,
    "reshape": lambda x, new_sizes: x.reshape(new_sizes),
    "transpose": lambda x, permutation: x.transpose(permutation),
    "concatenate": lambda *parts, dimension: np.concatenate(parts, axis=dimension),
    "squeeze": lambda x, dimensions: np.squeeze(x, axis=tuple(dimensions)),
    "split": lambda x, sizes, axis: np.split(x, np.cumsum(sizes)[:-1], axis=axis),
    "slice": _cut,
    "dot_general": _product,
    "top_k": _largest,
    "iota": lambda shape, dimension: _broadcast(np.arange(shape[dimension]), shape, (dimension,)),
}
