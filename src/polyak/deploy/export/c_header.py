"""A policy as one header of C99: static weights, no allocation, nothing but the C library."""

from collections.abc import Iterator
from textwrap import indent, wrap
from typing import Any

import numpy as np

from polyak.algorithm import LOG_SIGMA_HIGH, LOG_SIGMA_LOW
from polyak.deploy.export.copied import Copy, plain_text
from polyak.networks.layers import Activation, Body, Dense, Dropout, Norm, Residual, TanhBounds, numbered

ACTIVATIONS = {
    "relu": "{x} > 0.0f ? {x} : 0.0f",
    "elu": "{x} > 0.0f ? {x} : expm1f({x})",
    "silu": "{x} * (0.5f * (1.0f + tanhf(0.5f * {x})))",
    "tanh": "tanhf({x})",
}
HEADER = """\
/* A policy of polyak's in C99: include it in one source file, and link with -lm. Generated; do not edit.
 *
{told}
 *
 * int {name}_act({arguments})
 *
 * observation  {observations} numbers in the environment's units{noise}
 * action       {actions} numbers in the environment's units, written if all is well
 *
 * It returns 0, or 1 where a number that it is given or computes is not finite: `action` is then as it was. It keeps
 * no state, and takes {stack:,} bytes of the stack.
 */
#ifndef POLYAK_{upper}_H
#define POLYAK_{upper}_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define {upper}_OBSERVATION_SIZE {observations}
#define {upper}_ACTION_SIZE {actions}

{arrays}

/* By the bits of a number, so that no option of a compiler's takes the question away. */
static inline int {name}_finite(const float *numbers, int count)
{{
    int i;
    for (i = 0; i < count; i++) {{
        uint32_t bits;
        memcpy(&bits, &numbers[i], sizeof bits);
        if ((bits & 0x7f800000u) == 0x7f800000u) return 0;
    }}
    return 1;
}}

static inline int {name}_act({arguments})
{{
    int i, j;
{body}
    return 0;
}}

#endif
"""


def c_header(copy: Copy, name: str) -> bytes:
    """The header's content; equal policies are equal files.

    Args:
        copy: what is copied.
        name: what its function and its arrays begin with, so that a program may have several.
    """
    written = _Written(copy, name)
    body = "\n".join(written.lines())
    spec, told = copy.policy.spec, [plain_text(f"{what}: {text}") for what, text in copy.told().items()]
    lines = [line for each in told for line in wrap(each, 110, subsequent_indent="    ", break_on_hyphens=False)]
    drawn = ", const float *noise" if copy.stochastic else ""
    text = HEADER.format(
        told="\n".join(f" * {line}" for line in lines),
        name=name,
        upper=name.upper(),
        arguments=f"const float *observation{drawn}, float *action",
        noise=f"\n * noise        {spec.action_size} standard normal numbers" if copy.stochastic else "",
        observations=spec.observation_size,
        actions=spec.action_size,
        arrays="\n".join(f"static const float {name}_{each};" for each in written.arrays),
        stack=4 * written.floats,
        body=indent(body, "    "),
    )
    return text.encode("ascii")


class _Written:
    """The function's lines, and the arrays that they name."""

    def __init__(self, copy: Copy, name: str) -> None:
        self._copy, self._name = copy, name
        self._hidden, self._width, self._vectors = "", 0, 0
        """What has been computed so far, how long it is, and how many vectors there are."""
        self.arrays: list[str] = []
        self.floats = 0
        """In vectors of the function's own."""

    def lines(self) -> Iterator[str]:
        """The body of the function."""
        size = self._copy.policy.spec.observation_size
        yield self._next(size)
        yield f"if (!{self._name}_finite(observation, {size})) return 1;"
        yield from self._normalized(size)
        yield from self._through(self._copy.policy.layers)
        yield from self._action(self._hidden)

    # What is written

    def _next(self, size: int) -> str:
        """A vector for what is computed next."""
        self._hidden, self._width = f"x{self._vectors}", size
        self._vectors += 1
        return self._vector(self._hidden, size)

    def _vector(self, name: str, size: int) -> str:
        self.floats += size
        return f"float {name}[{size}];"

    def _array(self, name: str, values: Any) -> str:
        array = np.asarray(values, np.float32)
        shape = "".join(f"[{length}]" for length in array.shape)
        self.arrays.append(f"{name}{shape} = {_braced(array)}")
        return f"{self._name}_{name}"

    def _each(self, size: int, *statements: str) -> Iterator[str]:
        yield f"for (i = 0; i < {size}; i++) {{"
        yield from (f"    {each}" for each in statements)
        yield "}"

    # What is computed

    def _normalized(self, size: int) -> Iterator[str]:
        normalizer = self._copy.policy.normalizer
        if normalizer is None:
            yield f"memcpy(x0, observation, {size} * sizeof(float));"
            return
        mean, scale = (self._array(each, getattr(normalizer, each)) for each in ("mean", "scale"))
        clip = _number(normalizer.clip)
        yield "/* (observation - mean) * scale, clipped */"
        yield from self._each(
            size,
            f"const float x = (observation[i] - {mean}[i]) * {scale}[i];",
            f"x0[i] = x < -{clip} ? -{clip} : (x > {clip} ? {clip} : x);",
        )

    def _through(self, body: Body, first: int = 0) -> Iterator[str]:
        for number, layer in numbered(body, first):
            match layer:
                case Dense(outputs):
                    yield from self._dense(number, outputs)
                case Residual(inner):
                    yield from self._residual(inner, int(number))
                case Activation(kind):
                    yield f"/* {kind} */"
                    computed = ACTIVATIONS[kind].format(x=f"{self._hidden}[i]")
                    yield from self._each(self._width, f"{self._hidden}[i] = {computed};")
                case Norm(epsilon):
                    yield from self._norm(number, epsilon, self._hidden, self._width)
                case TanhBounds(low, high):
                    yield from self._bounded(low, high)
                case Dropout():
                    pass
                case _:
                    raise ValueError(f"{type(layer).__name__} is no layer of a policy")

    def _residual(self, body: Body, first: int) -> Iterator[str]:
        given, size = self._hidden, self._width
        yield "/* a block, to whose outputs its inputs are added */"
        yield self._next(size)
        yield f"memcpy({self._hidden}, {given}, {size} * sizeof(float));"
        yield from self._through(body, first)
        yield from self._each(size, f"{self._hidden}[i] += {given}[i];")
        yield f"if (!{self._name}_finite({self._hidden}, {size})) return 1;"

    def _bounded(self, low: float, high: float) -> Iterator[str]:
        half, x = self._width // 2, self._hidden
        yield f"/* the second half within {low:g} and {high:g} */"
        bounded = f"{_number(low)} + {_number(0.5 * (high - low))} * (1.0f + tanhf({x}[{half} + i]))"
        yield from self._each(half, f"{x}[{half} + i] = {bounded};")

    def _dense(self, number: str, outputs: int) -> Iterator[str]:
        given, inputs, vector = self._hidden, self._width, self._next(outputs)
        to, arrays = self._hidden, self._copy.policy.parameters
        kernel, bias = (self._array(f"{each}_{number}", arrays[f"{number}/{each}"]) for each in ("kernel", "bias"))
        yield f"/* dense, {inputs} -> {outputs} */"
        yield vector
        yield f"for (j = 0; j < {outputs}; j++) {to}[j] = 0.0f;"
        yield from self._each(inputs, f"for (j = 0; j < {outputs}; j++) {to}[j] += {given}[i] * {kernel}[i][j];")
        yield f"for (j = 0; j < {outputs}; j++) {to}[j] += {bias}[j];"
        yield f"if (!{self._name}_finite({to}, {outputs})) return 1;"

    def _norm(self, number: str, epsilon: float, x: str, size: int) -> Iterator[str]:
        arrays = self._copy.policy.parameters
        scale, offset = (self._array(f"{each}_{number}", arrays[f"{number}/{each}"]) for each in ("scale", "offset"))
        yield "/* layer normalization */"
        yield "{"
        yield "    float mean = 0.0f, variance = 0.0f, deviation;"
        yield f"    for (i = 0; i < {size}; i++) mean += {x}[i];"
        yield f"    mean /= {_number(size)};"
        yield f"    for (i = 0; i < {size}; i++) variance += ({x}[i] - mean) * ({x}[i] - mean);"
        yield f"    variance /= {_number(size)};"
        yield f"    deviation = sqrtf(variance + {_number(epsilon)});"
        yield f"    for (i = 0; i < {size}; i++) {x}[i] = ({x}[i] - mean) / deviation * {scale}[i] + {offset}[i];"
        yield "}"
        yield f"if (!{self._name}_finite({x}, {size})) return 1;"

    def _action(self, x: str) -> Iterator[str]:
        spec = self._copy.policy.spec
        size = spec.action_size
        low, high = self._array("low", spec.action_low), self._array("high", spec.action_high)
        half_range = self._array("half_range", spec.action_half_range)
        yield self._vector("a", size)
        yield f"if (!{self._name}_finite(noise, {size})) return 1;" if self._copy.stochastic else ""
        yield "/* squashed, and mapped to the environment's units */"
        yield from self._each(
            size,
            *(self._drawn(x, size) if self._copy.stochastic else [f"a[i] = (tanhf({x}[i]) + 1.0f)"]),
            f"    * {half_range}[i] + {low}[i];",
            f"a[i] = a[i] < {low}[i] ? {low}[i] : (a[i] > {high}[i] ? {high}[i] : a[i]);",
        )
        yield f"if (!{self._name}_finite(a, {size})) return 1;"
        yield f"memcpy(action, a, {size} * sizeof(float));"

    def _drawn(self, x: str, size: int) -> Iterator[str]:
        low, high = _number(LOG_SIGMA_LOW), _number(LOG_SIGMA_HIGH)
        yield f"float log_sigma = {x}[{size} + i];"
        yield f"log_sigma = log_sigma < {low} ? {low} : (log_sigma > {high} ? {high} : log_sigma);"
        yield f"a[i] = (tanhf({x}[i] + expf(log_sigma) * noise[i]) + 1.0f)"


def _braced(array: Any) -> str:
    """An array as C initializes it, in lines of bearable length."""
    if array.ndim > 1:
        return "{\n" + ",\n".join(map(_braced, array)) + "}"
    return "{" + "\n".join(wrap(", ".join(map(_number, array.tolist())), 118)) + "}"


def _number(value: float) -> str:
    """A float32 that reads back exactly: nine digits are enough."""
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if {"e", "."} & set(text) else f"{text}.0f"
