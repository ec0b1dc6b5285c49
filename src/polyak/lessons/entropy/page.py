# ruff: noqa: RUF001 (Greek letters and minus signs are meant)
"""The curves as tables and as a self-contained page."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from polyak import html
from polyak.lessons import common
from polyak.lessons.common import Table, coverage
from polyak.lessons.entropy import formulas
from polyak.lessons.entropy.computation import Result, soft_entropy

COIN = """
<p>The entropy of a distribution is the surprise to be expected of it, <i>H</i>(<i>P</i>) = E[−ln <i>P</i>(<i>x</i>)]
(8.18), here in nats. A coin that falls heads with probability <i>p</i> has
<i>H</i> = −[<i>p</i> ln <i>p</i> + (1 − <i>p</i>) ln(1 − <i>p</i>)]: nothing where it always falls the same way, and
the most, ln 2 = 0.693, where nothing can be foretold.</p>
"""
GAUSSIANS = """
<h2>From a coin to SAC's policy</h2>
<p>A Gaussian has <i>H</i> = ½ ln(2πe<i>σ</i>²), which grows without end: rewarding it would reward ever wilder actions.
SAC's policy is <i>a</i> = tanh(<i>u</i>), <i>u</i> = <i>μ</i> + <i>σξ</i>, <i>ξ</i> ~ N(0, 1), whose entropy is
<i>H</i> = ½ ln(2πe<i>σ</i>²) + E[2(ln 2 − <i>u</i> − softplus(−2<i>u</i>))]. On [−1, 1] no distribution has more
than the uniform one, ln 2, and the tanh pushes a wide Gaussian against both ends, so that the entropy falls again.</p>
"""
EXPLORATION = """
<h2>Why it keeps exploration alive</h2>
<p>Let <i>Q</i>(<i>a</i>) have two hills, of height 1 at −0.5 and 0.9 at 0.5. The policy that maximizes E[<i>Q</i>]
alone takes the best action always, and would never learn that the other hill is higher than its critic believes. The
policy that maximizes E[<i>Q</i>] + <i>αH</i> (8.19) is <i>π</i>(<i>a</i>) ∝ exp(<i>Q</i>(<i>a</i>)/<i>α</i>): every
action keeps some probability, the more, the better it looks and the higher the temperature <i>α</i> is.</p>
"""


def tables(result: Result) -> list[Table]:
    """What lies on the curves."""
    target = f"{result.target:g}"
    squashed = [
        (f"{each.mu:g}", each.widest_sigma, each.highest, *map(_or_none, each.target_sigmas))
        for each in result.squashed
    ]
    sampled = [
        (f"{each.mu:g}", f"{sigma:.4g}", *measured.shown())
        for each in result.squashed
        for sigma, measured in zip(result.sampled_sigmas, each.sampled, strict=True)
    ]
    soft = [(f"{each.alpha:g}", each.entropy, each.value, each.second_hill) for each in result.soft]
    reach = f" No sigma reaches it where |mu| is above {result.target_mu:.4g}." if result.target_mu > 0 else ""
    return [
        Table(
            "Entropy of the squashed Gaussian, in nats",
            ("mu", "widest sigma", "its entropy", f"sigma of entropy {target}", f"wide sigma of entropy {target}"),
            tuple(squashed),
            f"Upper bound: ln 2 = {math.log(2.0):.5g}, the uniform distribution. SAC's target is {target} nats an "
            f"action dimension, as the uniform distribution on {formulas.interval_of_entropy(result.target):.1%} of "
            f"the range has.{reach}",
        ),
        Table(
            f"The same from drawn actions, by SAC's log-probability (seed {result.seed})",
            ("mu", "sigma", "mean of -ln pi", "exact", "off by"),
            tuple(sampled),
            coverage([measured for each in result.squashed for measured in each.sampled]),
        ),
        Table(
            "The policy exp(Q / alpha) on two hills",
            ("alpha", "entropy", "E[Q]", "probability of the lower hill's side"),
            tuple(soft),
            f"A learned temperature would settle where the entropy is {target}: at alpha = {result.target_alpha:.4g}.",
        ),
    ]


def page(result: Result) -> str:
    """A self-contained HTML page: the curves and their tables."""
    squashed, sampled, soft = tables(result)
    title = "Entropy, and why SAC wants it"
    return common.page(
        title,
        [
            f'<h1>{title}</h1><p class="faint">polyak lesson entropy</p>',
            COIN,
            _coin(),
            GAUSSIANS,
            _squashed(result),
            squashed,
            sampled,
            EXPLORATION,
            _hills(result),
            _temperature(result),
            soft,
            _settled(result),
        ],
    )


def _or_none(sigma: float) -> float | None:
    return sigma if math.isfinite(sigma) else None


def _coin() -> html.Chart:
    p = np.linspace(0.0, 1.0, 201)
    traces = html.line("H(p)", p.tolist(), formulas.coin_entropy(p).tolist(), unit="nats")
    top = html.points("maximum, ln 2", [0.5], [math.log(2.0)], 1)
    return html.Chart("coin", "Entropy of a coin", [*traces, top], "p, probability of heads", "entropy (nats)")


def _squashed(result: Result) -> html.Chart:
    sigmas = result.sigmas
    traces = html.line("Gaussian, any μ", sigmas, list(map(formulas.gaussian_entropy, sigmas)), 6, dash="dash")
    for position, each in enumerate(result.squashed):
        traces += html.line(f"squashed, μ = {each.mu:g}", sigmas, each.entropies, position)
    traces += _level("ln 2, uniform", sigmas, math.log(2.0), 5) + _level("SAC's target", sigmas, result.target, 7)
    return html.Chart(
        "squashed",
        "Entropy of an action against σ",
        traces,
        "σ before the tanh, up to SAC's limit e²",
        "entropy (nats)",
        "SAC's target entropy is minus the number of action dimensions: of each dimension as much as the dotted line. "
        "A policy whose μ is far out cannot reach it, and a learned temperature then rises until μ comes back.",
        {"xaxis": {"type": "log"}, "yaxis": {"range": [-4.0, 3.6]}},
    )


def _level(label: str, x: Sequence[float], value: float, colour: int) -> list[dict[str, Any]]:
    return html.line(label, [x[0], x[-1]], [value, value], colour, dash="dot")


def _hills(result: Result) -> html.Chart:
    shown = slice(None, None, 10)
    a = result.actions[shown].tolist()
    traces = html.line("Q(a)", a, formulas.two_hills(result.actions[shown]).tolist(), 7, dash="dot")
    for position, each in enumerate(result.soft):
        traces += html.line(f"π, α = {each.alpha:g}", a, each.density[shown].tolist(), position)
    return html.Chart(
        "hills",
        "The best policy at several temperatures",
        traces,
        "action a",
        "Q(a); probability density",
        "As α falls, all probability moves to the best action; as it rises, the policy becomes uniform.",
    )


def _temperature(result: Result) -> html.Chart:
    alphas = np.geomspace(0.005, 10.0, 81).tolist()
    traces = html.line("entropy", alphas, [soft_entropy(alpha) for alpha in alphas], unit="nats")
    traces += _level("ln 2, uniform", alphas, math.log(2.0), 5) + _level("SAC's target", alphas, result.target, 7)
    return html.Chart(
        "temperature",
        "Entropy of that policy against the temperature",
        traces,
        "α, temperature",
        "entropy (nats)",
        f"A learned temperature goes where the entropy equals its target, here to α = {result.target_alpha:.3g}.",
        {"xaxis": {"type": "log"}},
    )


def _settled(result: Result) -> html.Chart:
    alphas = np.geomspace(1e-4, 10.0, 51).tolist()
    traces = html.line("best σ", alphas, [formulas.settled_sigma(alpha) for alpha in alphas])
    traces += html.line("√(α/2)", alphas, [math.sqrt(alpha / 2.0) for alpha in alphas], 7, dash="dot")
    traces += _level("widest σ", alphas, formulas.widest_sigma(0.0), 5)
    axis = {"type": "log"}
    near = formulas.sigmas_of_entropy(0.0, result.target)[0]
    traces += _level("σ of SAC's target", alphas, near, 2)
    return html.Chart(
        "settled",
        "Where SAC's actor settles on one hill, Q = −a², μ = 0",
        traces,
        "α, temperature",
        "σ before the tanh",
        "The σ that maximizes E[Q] + αH. Without entropy (α → 0) it vanishes, and with it all exploration.",
        {"xaxis": {**axis, "exponentformat": "power"}, "yaxis": axis},
    )
