# ruff: noqa: RUF001 (Greek letters and minus signs are meant)
"""The biases as tables and as a self-contained page."""

from typing import Any

import numpy as np

from polyak import html
from polyak.lessons import common
from polyak.lessons.common import Table, coverage
from polyak.lessons.overestimation import formulas
from polyak.lessons.overestimation.formulas import RULES
from polyak.lessons.overestimation.results import Result

INTRODUCTION = """
<p>Q-learning's target takes the largest of the next values, and a critic's values are never quite right. Let critic
<i>i</i> see <i>Q<sub>i</sub></i>(<i>a</i>) = <i>q</i>(<i>a</i>) + <i>σz</i>, with its own standard normal <i>z</i> for
each action. No value is biased, but their maximum is: it prefers the actions whose errors happen to point up.
Three rules for the value of the next state:</p>
<ul>
<li><b>the maximum</b> of critic 1, as in Q-learning and, by way of the actor, in DDPG: never below the truth;</li>
<li><b>double</b>: critic 1 chooses the action, critic 2 says its value. Right about that action, but critic 1 may not
have chosen the best one: never above the truth;</li>
<li><b>clipped double</b>, TD3 (8.9): the smaller of what the two say about critic 1's choice: lower still, by at most
<i>σ</i>/√π = 0.564<i>σ</i>.</li>
</ul>
<p>Why would an estimate that is too low be better than one that is too high? An actor seeks out what its critic values
too highly, and so keeps that error alive; what is valued too low it avoids.</p>
"""
LEARNING = """
<h2>What bootstrapping makes of it</h2>
<p>One state, each action returns to it, discount <i>γ</i>. Every target carries the bias <i>b</i> of the rule, and the
bias of the value that it was computed from: <i>B</i> = <i>γ</i>(<i>b</i> + <i>B</i>), so that <i>Q</i> ends
<i>γb</i>/(1 − <i>γ</i>) away from the truth. At <i>γ</i> = 0.99 that is 99 times the error of one step.
The minimum does not end this, it turns its sign around: with actions of different value, and errors that are new in
every step, it is paid for in pessimism.</p>
"""
CLIMBING = """
<h2>Continuous actions: an actor that climbs errors</h2>
<p>DDPG computes no maximum; its actor ascends <i>Q</i>(<i>s</i>, <i>μ</i>(<i>s</i>)) (8.6), and with it the critic's
error. Let the error be one smooth wave in each of <i>A</i> action dimensions, of random height and phase, standard
deviation <i>σ</i> in all. Where the true value is flat, the actor ends on the crest, where the error is
<i>σ</i>√(π<i>A</i>/2) on average: 1.25<i>σ</i> in one dimension, and more in more. An independent second critic has
no crest there.</p>
"""


def tables(result: Result) -> list[Table]:
    """The measured biases beside the exact ones."""
    equal = [
        (f"{each.actions}", *(cell for measured in each.biases.values() for cell in measured.shown()))
        for each in result.equal
    ]
    learning = [
        (RULES[each.rule], *each.one_step.shown(), *each.last.shown(), each.fixed_point) for each in result.learning
    ]
    climbs = [(f"{each.dimensions}", *each.gained.shown(), each.clipped) for each in result.climbs]
    every = [measured for each in result.equal for measured in each.biases.values()]
    every += [measured for each in result.learning for measured in (each.one_step, each.last)]
    every += [each.gained for each in result.climbs]
    return [
        Table(
            f"Bias of one step, k equal actions, in units of sigma ({result.repeats:,} repeats, seed {result.seed})",
            ("k", "maximum", "exact", "off by", "double", "exact", "off by", "clipped", "exact", "off by"),
            tuple(equal),
        ),
        Table(
            f"{_problem(result)}: bias of one step and of Q after {result.steps:,} steps ({result.runs} runs)",
            ("value of the next state", "one step", "exact", "off by", "Q", "exact", "off by", "Q in the end"),
            tuple(learning),
        ),
        Table(
            "An actor on its critic's error, in units of the error's standard deviation",
            ("action dimensions", "gained", "exact", "off by", "min of two critics"),
            tuple(climbs),
            coverage(every),
        ),
    ]


def page(result: Result) -> str:
    """A self-contained HTML page: the biases, their tables and charts."""
    equal, learning, climbs = tables(result)
    title = "Overestimation, and the minimum of two critics"
    return common.page(
        title,
        [
            f'<h1>{title}</h1><p class="faint">polyak lesson overestimation: {html.text(_problem(result))}</p>',
            INTRODUCTION,
            _counts(result),
            equal,
            _noise(result),
            LEARNING,
            _learning(result),
            learning,
            CLIMBING,
            _climbs(result),
            climbs,
        ],
    )


def _problem(result: Result) -> str:
    step = result.values[0] - result.values[1] if len(result.values) > 1 else 0.0
    return f"{len(result.values)} actions worth {step:g} less each, sigma {result.sigma:g}, gamma {result.gamma:g}"


def _counts(result: Result) -> html.Chart:
    counts = np.unique(np.geomspace(1, 1_000, 40).round().astype(int)).tolist()
    traces: list[dict[str, Any]] = []
    for colour, rule in enumerate(RULES):
        exact = [formulas.bias_of_equal(rule, count) for count in counts]
        traces += html.line(f"{rule}, exact", counts, exact, colour)
        measured = [each.biases[rule].value for each in result.equal]
        traces.append(html.points(f"{rule}, measured", [each.actions for each in result.equal], measured, colour))
    return html.Chart(
        "counts",
        "Bias against the number of equal actions",
        traces,
        "k, number of actions",
        "bias (units of σ)",
        "The maximum's bias grows about as √(2 ln k). The clipped one's vanishes: the chosen value is then so far up "
        "that the minimum is almost always critic 2's.",
        {"xaxis": {"type": "log"}},
    )


def _noise(result: Result) -> html.Chart:
    sigmas = np.linspace(0.0, 2.0 * result.sigma, 25)[1:].tolist()
    traces: list[dict[str, Any]] = []
    for colour, each in enumerate(result.learning):
        exact = [formulas.bias(each.rule, result.values, sigma) for sigma in sigmas]
        traces += html.line(f"{each.rule}, exact", [0.0, *sigmas], [0.0, *exact], colour)
        traces.append(html.points(f"{each.rule}, measured", [result.sigma], [each.one_step.value], colour))
    return html.Chart(
        "noise",
        "Bias against the critics' error, actions of different value",
        traces,
        "σ, standard deviation of a critic's error",
        "bias (units of the values)",
        f"{_problem(result)}. Where the error is small beside the differences, the right action is chosen.",
    )


def _learning(result: Result) -> html.Chart:
    traces: list[dict[str, Any]] = []
    for colour, each in enumerate(result.learning):
        band = (each.simulated - 2.0 * each.standard_error, each.simulated + 2.0 * each.standard_error)
        steps = each.steps.tolist()
        traces += html.line(
            f"{each.rule}, simulated", steps, each.simulated.tolist(), colour, band=(band[0].tolist(), band[1].tolist())
        )
        exact = formulas.expected_bias(each.one_step.exact, result.gamma, result.rate, each.steps)
        traces += html.line(f"{each.rule}, exact", steps, exact.tolist(), colour, dash="dot")
    return html.Chart(
        "learning",
        "Bias of Q while it learns, from the true values on",
        traces,
        "steps of Q-learning",
        "mean of Q minus its true value",
        f"{_problem(result)}, learning rate {result.rate:g}; mean of {result.runs} runs with two standard errors.",
    )


def _climbs(result: Result) -> html.Chart:
    dimensions = list(range(1, 21))
    exact = [formulas.wave_bias(each) for each in dimensions]
    at = [each.dimensions for each in result.climbs]
    traces = [
        *html.line("climbed critic, exact", dimensions, exact, 0),
        html.points("climbed critic, measured", at, [each.gained.value for each in result.climbs], 0),
        html.points("min of two critics, measured", at, [each.clipped for each in result.climbs], 2),
    ]
    return html.Chart(
        "climbs",
        "The error where the actor ends",
        traces,
        "A, action dimensions",
        "error (units of its σ)",
        "Gradient ascent on the error of one critic; the second critic's error is independent.",
    )
