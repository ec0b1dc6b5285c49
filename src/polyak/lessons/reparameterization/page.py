# ruff: noqa: RUF001 (Greek letters and minus signs are meant)
"""The experiment as tables and as a self-contained page."""

from typing import Any

import numpy as np

from polyak import html
from polyak.lessons import common
from polyak.lessons.common import Table, coverage
from polyak.lessons.reparameterization import formulas
from polyak.lessons.reparameterization.experiment import Result
from polyak.lessons.reparameterization.formulas import Array

INTRODUCTION = """
<p>A policy gradient is the gradient of an expectation by the parameters of the distribution that the expectation is
taken over. The smallest such problem: <i>x</i> ~ N(<i>θ</i>, 1) and <i>J</i>(<i>θ</i>) = E[<i>x</i>²] = <i>θ</i>² + 1,
whose gradient is 2<i>θ</i>. Two estimators of it from <i>N</i> samples:</p>
<ul>
<li>the <b>score function</b> (8.14), as in REINFORCE: (1/<i>N</i>) Σ (<i>x<sub>i</sub></i> − <i>θ</i>)
<i>x<sub>i</sub></i>², which needs the value of <i>x</i>² only;</li>
<li>the <b>pathwise</b> or reparameterized one (8.15): write <i>x</i> = <i>θ</i> + <i>ε</i>, <i>ε</i> ~ N(0, 1), and
differentiate inside: (1/<i>N</i>) Σ 2(<i>θ</i> + <i>ε<sub>i</sub></i>), which needs the slope of <i>x</i>².</li>
</ul>
<p>Both are unbiased. Their variances are</p>
<p>(<i>θ</i>⁴ + 14<i>θ</i>² + 15) / <i>N</i> for the score function, 4 / <i>N</i> for the pathwise one,</p>
<p>so that the score function needs (<i>θ</i>⁴ + 14<i>θ</i>² + 15) / 4 times as many samples for the same error.
Derivation: with <i>x</i> = <i>θ</i> + <i>ε</i>, <i>ε</i>(<i>θ</i> + <i>ε</i>)² − 2<i>θ</i> = (<i>θ</i>² + 3) <i>ε</i> +
2<i>θ</i> (<i>ε</i>² − 1) + (<i>ε</i>³ − 3<i>ε</i>), three uncorrelated terms of variance (<i>θ</i>² + 3)²,
8<i>θ</i>² and 6.</p>
"""

POLICY = """
<h2>What a policy makes of it</h2>
<p>SAC's policy draws its action as <i>a</i> = <i>μ</i>(<i>s</i>) + <i>σ</i>(<i>s</i>) <i>ε</i>, <i>ε</i> ~ N(0, 1)
(8.16), and squashes it by tanh. The randomness no longer depends on the parameters, so that
∇E[<i>Q</i>(<i>s</i>, <i>a</i>)] = E[∇<sub><i>a</i></sub><i>Q</i> · (∇<i>μ</i> + <i>ε</i> ∇<i>σ</i>)] (8.17): the critic
tells the slope, one sample a state is enough, and DDPG's deterministic gradient is the limit <i>σ</i> → 0.
With <i>Q</i> = <i>a</i>², one term of the gradient by <i>μ</i> has variance 4<i>σ</i>² along the path, and
<i>μ</i>⁴/<i>σ</i>² + 14<i>μ</i>² + 15<i>σ</i>² by the score function: as a policy grows certain, the first vanishes and
the second explodes.</p>
"""


def tables(result: Result) -> list[Table]:
    """The measured means, variances and ratios beside the exact ones."""
    every = [each for row in result.rows for each in row.measured]
    setting = f"theta = {result.theta:g}, {result.repeats:,} repeats, seed {result.seed}"
    rows = [(f"{row.samples:,}", row) for row in result.rows]
    means = [(n, *row.score_mean.shown(), *row.pathwise_mean.shown()) for n, row in rows]
    variances = [(n, *row.score_variance.shown(), *row.pathwise_variance.shown()) for n, row in rows]
    ratios = [(n, *row.ratio.shown(), row.ratio.standard_error) for n, row in rows]
    head = ("N", "score function", "exact", "off by", "pathwise", "exact", "off by")
    return [
        Table(f"Mean of the estimates of the gradient ({setting})", head, tuple(means)),
        Table("Variance of the estimates", head, tuple(variances)),
        Table(
            "Variance of the score function over that of the path",
            ("N", "measured", "exact", "off by", "standard error"),
            tuple(ratios),
            coverage(every),
        ),
    ]


def page(result: Result) -> str:
    """A self-contained HTML page: the experiment, its tables and its charts."""
    means, variances, ratios = tables(result)
    title = "Two estimators of one gradient"
    where = f"θ = {result.theta:g}, {result.repeats:,} repeats of each estimate, seed {result.seed}"
    return common.page(
        title,
        [
            f'<h1>{title}</h1><p class="faint">polyak lesson reparameterization: {where}</p>',
            INTRODUCTION,
            "<h2>Variance</h2>",
            _variances(result),
            variances,
            ratios,
            "<h2>Mean and spread</h2>",
            _spread(result),
            means,
            _histogram(result),
            POLICY,
            _policy(result.theta or 1.0),
        ],
    )


def _variances(result: Result) -> html.Chart:
    ns = [row.samples for row in result.rows]
    traces = [
        *html.line(
            "score function, exact", ns, [formulas.score_function_variance(result.theta, n) for n in ns], 1, dash="dot"
        ),
        html.points("score function, measured", ns, [row.score_variance.value for row in result.rows], 1),
        *html.line("pathwise, exact", ns, [formulas.pathwise_variance(n) for n in ns], 0, dash="dot"),
        html.points("pathwise, measured", ns, [row.pathwise_variance.value for row in result.rows], 0),
    ]
    return html.Chart(
        "variance",
        "Variance of the two estimates",
        traces,
        "N, samples of an estimate",
        "variance of the estimate",
        "Both fall as 1/N; between them lies the same ratio everywhere. Logarithmic axes.",
        {"xaxis": {"type": "log"}, "yaxis": {"type": "log"}},
    )


def _spread(result: Result) -> html.Chart:
    ns = [row.samples for row in result.rows]
    score = [np.quantile(row.score_estimates, (0.05, 0.5, 0.95)) for row in result.rows]
    path = [np.quantile(row.pathwise_estimates, (0.05, 0.5, 0.95)) for row in result.rows]
    traces: list[dict[str, Any]] = []
    for name, quantiles, colour in (("score function", score, 1), ("pathwise", path, 0)):
        low, middle, high = (list(map(float, values)) for values in zip(*quantiles, strict=True))
        traces += html.line(name, ns, middle, colour, band=(low, high), markers=True)
    exact = formulas.gradient(result.theta)
    traces += html.line("true gradient", [ns[0], ns[-1]], [exact, exact], 2, dash="dash")
    return html.Chart(
        "spread",
        "Where nine estimates of ten lie",
        traces,
        "N, samples of an estimate",
        "estimate of the gradient",
        "Median and the range from the 5 % to the 95 % quantile of all repeats.",
        {"xaxis": {"type": "log"}},
    )


def _histogram(result: Result) -> html.Chart:
    row = result.rows[0]
    low, high = np.quantile(row.score_estimates, (0.002, 0.998))
    traces = [
        _density("score function", row.score_estimates, np.linspace(float(low), float(high), 81), 1),
        _density("pathwise", row.pathwise_estimates, np.linspace(*_ends(row.pathwise_estimates), 41), 0),
    ]
    return html.Chart(
        "distribution",
        f"Distribution of the two estimates, N = {row.samples:,}",
        traces,
        "estimate of the gradient",
        "probability density",
        "Histograms of all repeats; the score function's outermost 0.4 % are cut off. It is skewed where N is small, "
        "the pathwise estimate is Gaussian.",
    )


def _ends(values: Array) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _density(label: str, values: Array, edges: Array, colour: int) -> dict[str, Any]:
    counts, _ = np.histogram(values, edges)
    density = counts / (len(values) * np.diff(edges))
    (trace,) = html.line(label, list((edges[1:] + edges[:-1]) / 2), list(density), colour)
    trace["line"] |= {"shape": "hvh"}
    return trace | {"fill": "tozeroy", "fillcolor": trace["line"]["color"] + "30"}


def _policy(mu: float) -> html.Chart:
    sigmas = [float(sigma) for sigma in np.geomspace(0.01, 10.0, 61)]
    score = [formulas.policy_score_function_variance(mu, sigma) for sigma in sigmas]
    path = [formulas.policy_pathwise_variance(sigma) for sigma in sigmas]
    return html.Chart(
        "policy",
        f"One term of the gradient by μ, Q = a², μ = {mu:g}",
        [*html.line("score function", sigmas, score, 1), *html.line("pathwise", sigmas, path, 0)],
        "σ, the policy's standard deviation",
        "variance of a term",
        "Exact. Logarithmic axes.",
        {"xaxis": {"type": "log"}, "yaxis": {"type": "log"}},
    )
