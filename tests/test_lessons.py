"""The lessons: each formula beside an integral, a closed form or a simulation; what is measured; pages; the command."""

import itertools
import json
import math
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from browser import opened
from polyak import UsageError, cli
from polyak.html import number
from polyak.lessons import LESSONS, entropy, overestimation, quadrature, reparameterization
from polyak.lessons.common import Measured, Table, coverage
from polyak.lessons.entropy import formulas as entropies
from polyak.lessons.overestimation import RULES
from polyak.lessons.reparameterization import experiment
from reference import sac as oracle
from tiny_cli import PATIENCE

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(30)
WEIGHTS = WEIGHTS / math.sqrt(2.0 * math.pi)
"""Gauss and Hermite's rule: exact for polynomials up to degree 59."""

MODULES: dict[str, ModuleType] = {
    "reparameterization": reparameterization,
    "entropy": entropy,
    "overestimation": overestimation,
}
SMALL: dict[str, dict[str, Any]] = {
    "reparameterization": {"repeats": 50, "samples": (10, 100, 1_000)},
    "entropy": {"samples": 1_000},
    "overestimation": {"steps": 50, "repeats": 500, "runs": 20},
}


def moment(values: Any, power: int = 1) -> float:
    """The mean, or a central moment, of a function of a standard normal variable, from its values at NODES."""
    mean = float((WEIGHTS * values).sum())
    return mean if power == 1 else float((WEIGHTS * (values - mean) ** power).sum())


# Measured beside exact


def test_off_by_counts_standard_errors() -> None:
    assert Measured(3.0, 2.0, 0.5).off == 2.0
    assert Measured(3.0, 2.0, 0.5).shown() == (3.0, 2.0, "+2.0")
    assert Measured(0.0, 2.0, 0.5).shown() == (0.0, 2.0, "-4.0 *")
    assert Measured(2.0, 2.0, 0.0).off == 0.0
    assert Measured(1.0, 2.0, 0.0).off == -math.inf
    assert "1 of 2" in coverage([Measured(3.0, 2.0, 0.4), Measured(2.1, 2.0, 0.4)])


# Reparameterization


@pytest.mark.parametrize("theta", [-3.0, 0.0, 0.7, 2.0])
def test_moments_of_both_estimators(theta: float) -> None:
    score = reparameterization.score_function_terms(theta, NODES)
    path = reparameterization.pathwise_terms(theta, NODES)
    assert moment(score) == pytest.approx(reparameterization.gradient(theta), abs=1e-10)
    assert moment(path) == pytest.approx(reparameterization.gradient(theta), abs=1e-10)
    variance = moment(score, 2)
    assert variance == pytest.approx(reparameterization.score_function_variance(theta), rel=1e-10)
    assert moment(path, 2) == pytest.approx(reparameterization.pathwise_variance(), rel=1e-10)
    kurtosis = moment(score, 4) / variance**2 - 3.0
    assert kurtosis == pytest.approx(reparameterization.score_function_kurtosis(theta), rel=1e-9)
    assert variance / moment(path, 2) == pytest.approx(reparameterization.variance_ratio(theta), rel=1e-10)


def test_the_chapters_numbers() -> None:
    assert reparameterization.score_function_variance(2.0, 1) == 87.0
    assert reparameterization.score_function_variance(2.0, 10) == 8.7
    assert reparameterization.pathwise_variance(10) == 0.4
    assert reparameterization.variance_ratio(2.0) == 21.75
    assert reparameterization.score_function_kurtosis(2.0, 10) == reparameterization.score_function_kurtosis(2.0) / 10


@pytest.mark.parametrize(("mu", "sigma"), [(2.0, 1.0), (0.5, 0.3), (-1.0, 2.0)])
def test_gradients_of_a_policy(mu: float, sigma: float) -> None:
    """E[a^2] = mu^2 + sigma^2: 2 mu and 2 sigma, by both estimators."""
    score = reparameterization.policy_score_function_terms(mu, sigma, NODES)
    path = reparameterization.policy_pathwise_terms(mu, sigma, NODES)
    for by_mu, by_sigma in (score, path):
        assert moment(by_mu) == pytest.approx(2.0 * mu, abs=1e-10)
        assert moment(by_sigma) == pytest.approx(2.0 * sigma, abs=1e-10)
    assert moment(score[0], 2) == pytest.approx(reparameterization.policy_score_function_variance(mu, sigma), rel=1e-10)
    assert moment(path[0], 2) == pytest.approx(reparameterization.policy_pathwise_variance(sigma), rel=1e-10)


def test_standard_error_of_a_variance() -> None:
    """Every outcome of four throws of a coin, whose excess kurtosis is 1 / (p q) - 6."""
    p = 0.2
    throws = np.array(list(itertools.product((0.0, 1.0), repeat=4)))
    likelihood = np.prod(np.where(throws == 1.0, p, 1.0 - p), axis=1)
    variances = throws.var(axis=1, ddof=1)
    spread = math.sqrt(float((likelihood * (variances - p * (1.0 - p)) ** 2).sum()))
    kurtosis = 1.0 / (p * (1.0 - p)) - 6.0
    assert reparameterization.standard_error_of_variance(p * (1.0 - p), kurtosis, 4) == pytest.approx(spread, rel=1e-12)


def test_the_experiment_lies_within_its_errors() -> None:
    result = reparameterization.run(theta=1.5, samples=(3, 40), repeats=20_000, seed=1)
    for row in result.rows:
        for measured in row.measured:
            assert abs(measured.off) < 4.0
            assert measured.standard_error < 0.2 * abs(measured.exact)
        assert row.score_variance.value == row.score_estimates.var(ddof=1)
        assert row.ratio.value == row.score_variance.value / row.pathwise_variance.value
    first, second = result.rows
    assert first.score_variance.exact == pytest.approx(second.score_variance.exact * 40 / 3)


def test_errors_are_those_of_many_experiments() -> None:
    """How far off seeds are has standard deviation 1, for each measured number."""
    runs = [reparameterization.run(samples=(2,), repeats=400, seed=seed, threads=1) for seed in range(200)]
    off = np.array([[measured.off for measured in run.rows[0].measured] for run in runs])
    np.testing.assert_allclose(off.std(axis=0), 1.0, atol=0.2)
    np.testing.assert_allclose(off.mean(axis=0), 0.0, atol=0.3)


def test_the_seed_alone_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    def estimates(seed: int, threads: int) -> Any:
        (row,) = reparameterization.run(samples=(20,), repeats=30, seed=seed, threads=threads).rows
        return np.stack([row.score_estimates, row.pathwise_estimates])

    monkeypatch.setattr(experiment, "UNIT", 200)  # three units of ten estimates each
    one = estimates(0, 1)
    np.testing.assert_array_equal(one, estimates(0, 3))
    assert len(np.unique(one)) == one.size
    assert not np.isin(estimates(1, 1), one).any()
    monkeypatch.setattr(experiment, "BLOCK", 7)  # an estimate from three blocks
    np.testing.assert_allclose(one, estimates(0, 1), rtol=1e-13)


def test_memory_does_not_grow_with_the_samples() -> None:
    tracemalloc.start()
    try:
        reparameterization.run(samples=(1_000_000,), repeats=2, threads=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * experiment.BLOCK * 8 + 200_000


def test_progress_counts_every_normal() -> None:
    told: list[tuple[int, int]] = []
    reparameterization.run(samples=(10, 300), repeats=5, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (3_100, 3_100)
    assert told == sorted(told)


def test_an_interruption_ends_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "UNIT", 1_000)
    before = threading.active_count()
    told: list[int] = []

    def interrupt(done: int, total: int) -> None:
        told.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reparameterization.run(samples=(1_000,), repeats=1_000_000, threads=2, progress=interrupt)
    assert threading.active_count() == before
    assert len(told) == 1


def test_an_interruption_ends_a_long_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a block, not after its 15,000."""
    blocks: list[int] = []
    begun, stop = threading.Event(), threading.Event()
    monkeypatch.setattr(experiment, "threading", SimpleNamespace(Event=lambda: stop))

    def counted(theta: float, eps: Any) -> Any:
        blocks.append(eps.size)
        if eps.size == experiment.BLOCK:
            begun.set()
            assert stop.wait(PATIENCE)
        return eps

    def interrupt(done: int, total: int) -> None:
        assert begun.wait(PATIENCE)
        raise KeyboardInterrupt

    for name in experiment.TERMS:
        monkeypatch.setitem(experiment.TERMS, name, counted)
    with pytest.raises(KeyboardInterrupt):
        reparameterization.run(samples=(1, 10**9), repeats=2, threads=2, progress=interrupt)
    assert 1 <= blocks.count(experiment.BLOCK) <= 2  # a thread's one


# Entropy


def test_entropy_of_a_coin() -> None:
    p = np.linspace(0.0, 1.0, 101)
    h = entropy.coin_entropy(p)
    assert h[0] == h[-1] == 0.0
    assert p[h.argmax()] == 0.5
    assert h.max() == pytest.approx(math.log(2.0), abs=1e-15)
    assert h[25] == pytest.approx(-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)))


def test_log_probability_is_that_of_sac() -> None:
    """Beside the oracle of SAC, and as a density on (-1, 1)."""
    mu, sigma, xi = 0.4, 0.7, np.linspace(-6.0, 6.0, 25)
    actor = {"0/kernel": np.zeros((1, 2)), "0/bias": np.array([mu, math.log(sigma)])}
    sample = oracle.sample_action(actor, np.zeros((25, 1)), xi[:, None])
    np.testing.assert_allclose(
        entropy.log_probability(mu + sigma * xi, mu, sigma), sample.log_probability, rtol=1e-12, atol=1e-12
    )
    assert np.isfinite(entropy.log_jacobian(np.array([-800.0, 800.0]))).all()


@pytest.mark.parametrize(("mu", "sigma"), [(0.0, 0.5), (1.0, 1.0), (-0.5, 0.2)])
def test_squashed_entropy_is_the_integral_over_actions(mu: float, sigma: float) -> None:
    a, weights = entropies.actions()
    log_density = entropy.log_probability(np.arctanh(a), mu, sigma)
    density = np.exp(log_density)
    assert float((density * weights).sum()) == pytest.approx(1.0, abs=1e-5)
    assert -float((density * log_density * weights).sum()) == pytest.approx(
        entropy.squashed_entropy(mu, sigma), abs=1e-4
    )


def test_squashed_entropy_beside_other_rules() -> None:
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    expected = float((weights * entropy.log_jacobian(0.3 + 0.4 * nodes)).sum()) / math.sqrt(2.0 * math.pi)
    assert entropy.squashed_entropy(0.3, 0.4) == pytest.approx(entropy.gaussian_entropy(0.4) + expected, abs=1e-13)
    for row in entropy.run(mu=(-1.0, 0.5), samples=50_000, seed=3).squashed:
        assert all(abs(measured.off) < 4.0 for measured in row.sampled)
        assert all(measured.standard_error < 0.05 for measured in row.sampled)


def test_limits_of_the_squashed_entropy() -> None:
    slope = math.log1p(-(math.tanh(0.8) ** 2))
    assert entropy.squashed_entropy(0.8, 1e-5) == pytest.approx(entropy.gaussian_entropy(1e-5) + slope, abs=1e-9)
    wide = 40.0  # E[ln(1 - tanh^2)] = 2 ln 2 - 2 E|u| - 2 E[ln(1 + exp(-2|u|))], the last by its area at u = 0
    expected = entropy.gaussian_entropy(wide) + 2.0 * math.log(2.0) - 2.0 * wide * math.sqrt(2.0 / math.pi)
    expected -= math.pi**2 / (6.0 * wide * math.sqrt(2.0 * math.pi))
    assert entropy.squashed_entropy(0.0, wide) == pytest.approx(expected, abs=1e-5)
    highest = entropy.squashed_entropy(0.0, entropy.widest_sigma(0.0))
    assert 0.68 < highest < math.log(2.0)
    for sigma in (0.1, 0.8, 0.95, 5.0):
        assert entropy.squashed_entropy(0.0, sigma) < highest
        assert entropy.squashed_entropy(0.5, sigma) < entropy.squashed_entropy(0.0, sigma) or sigma > 2.0


def test_where_the_target_entropy_lies() -> None:
    narrow, wide = entropy.sigmas_of_entropy(1.0, -1.0)
    assert narrow < entropy.widest_sigma(1.0) < wide
    for sigma in (narrow, wide):
        assert entropy.squashed_entropy(1.0, sigma) == pytest.approx(-1.0, abs=1e-12)
    assert all(map(math.isnan, entropy.sigmas_of_entropy(2.0, -1.0)))
    limit = entropy.widest_mu(-1.0)
    assert entropy.squashed_entropy(limit, entropy.widest_sigma(limit)) == pytest.approx(-1.0, abs=1e-9)
    assert entropies.interval_of_entropy(math.log(2.0)) == pytest.approx(1.0)


def test_soft_optimal_policy() -> None:
    a, weights = entropies.actions()
    q, alpha = entropies.two_hills(a), 0.3
    log_density = entropy.soft_optimal_log_density(q, weights, alpha)

    def objective(log_pi: Any) -> float:
        pi = np.exp(log_pi)
        return float((weights * pi * (q - alpha * log_pi)).sum())

    best = objective(log_density)
    assert float((weights * np.exp(log_density)).sum()) == pytest.approx(1.0)
    assert best == pytest.approx(alpha * math.log(float((weights * np.exp(q / alpha)).sum())))
    for tilt in (0.1 * a, -0.1 * a, 0.1 * np.cos(9.0 * a)):
        other = log_density + tilt
        assert objective(other - math.log(float((weights * np.exp(other)).sum()))) < best


def test_temperature_spreads_or_narrows() -> None:
    assert entropy.soft_entropy(1e3) == pytest.approx(math.log(2.0), abs=1e-5)
    curvature = 2.0 / 0.2**2  # of the higher hill at its top
    assert entropy.soft_entropy(1e-4) == pytest.approx(entropy.gaussian_entropy(math.sqrt(1e-4 / curvature)), abs=1e-3)
    result = entropy.run(alpha=(0.05, 0.5))
    assert result.soft[0].second_hill < result.soft[1].second_hill < 0.5
    assert entropy.soft_entropy(result.target_alpha) == pytest.approx(-1.0, abs=1e-9)
    assert entropy.settled_sigma(1e-4) == pytest.approx(math.sqrt(1e-4 / 2.0), rel=1e-3)
    assert entropy.settled_sigma(10.0) == pytest.approx(entropy.widest_sigma(0.0), rel=0.05)


# Overestimation


def test_maxima_of_normals() -> None:
    """Known in closed form for two and three, tabulated for ten and a thousand (Harter 1961, Biometrika 48)."""
    biases = [overestimation.bias_of_equal("maximum", k) for k in (1, 2, 3, 10, 1_000)]
    root = math.sqrt(math.pi)
    np.testing.assert_allclose(biases[:3], [0.0, 1.0 / root, 1.5 / root], atol=1e-12)
    np.testing.assert_allclose(biases[3:], [1.53875, 3.24144], atol=1e-5)


@pytest.mark.parametrize("difference", [0.0, 0.5, 2.0])
def test_two_actions_in_closed_form(difference: float) -> None:
    sigma = 0.8
    apart = difference / (math.sqrt(2.0) * sigma)
    right = 0.5 * math.erfc(-apart / math.sqrt(2.0))
    density = math.exp(-0.5 * apart**2) / math.sqrt(2.0 * math.pi)
    values = (1.0, 1.0 - difference)
    np.testing.assert_allclose(overestimation.choice_probabilities(values, sigma), [right, 1.0 - right], atol=1e-12)
    maximum = -difference * (1.0 - right) + math.sqrt(2.0) * sigma * density
    assert overestimation.bias("maximum", values, sigma) == pytest.approx(maximum, abs=1e-12)
    assert overestimation.bias("double", values, sigma) == pytest.approx(-difference * (1.0 - right), abs=1e-12)
    below = overestimation.bias("clipped", values, sigma) - overestimation.bias("double", values, sigma)
    assert -sigma / math.sqrt(math.pi) < below < 0.0


@pytest.mark.parametrize("rule", RULES)
def test_equal_actions_are_a_case_of_any(rule: overestimation.Rule) -> None:
    expected = 0.5 * overestimation.bias_of_equal(rule, 4)
    assert overestimation.bias(rule, (3.0,) * 4, 0.5) == pytest.approx(expected, abs=1e-12)


def test_minimum_with_a_normal() -> None:
    z = np.array([-3.0, 0.0, 1.2])
    expected = [float(quadrature.expectation(np.minimum(each, quadrature.nodes()))) for each in z]
    np.testing.assert_allclose(overestimation.minimum_with_normal(z), expected, atol=1e-6)
    assert overestimation.bias_of_equal("clipped", 1) == pytest.approx(-1.0 / math.sqrt(math.pi), abs=1e-12)


def test_what_each_rule_says() -> None:
    first, second = np.array([[1.0, 3.0], [5.0, 4.0]]), np.array([[9.0, 2.0], [7.0, 8.0]])
    assert overestimation.value_by("maximum", first, second).tolist() == [3.0, 5.0]
    assert overestimation.value_by("double", first, second).tolist() == [2.0, 7.0]
    assert overestimation.value_by("clipped", first, second).tolist() == [2.0, 5.0]


def test_bias_accumulates() -> None:
    off, bias, gamma, rate = 0.0, 0.7, 0.9, 0.25
    for _ in range(40):
        off += rate * (gamma * (bias + off) - off)
    assert overestimation.expected_bias(bias, gamma, rate, 40) == pytest.approx(off, rel=1e-12)
    assert overestimation.expected_bias(bias, gamma, 1.0, 10_000) == pytest.approx(
        overestimation.fixed_point_bias(bias, gamma)
    )
    assert overestimation.fixed_point_bias(bias, gamma) == pytest.approx(gamma * (bias + 6.3), rel=1e-12)


def test_simulations_lie_within_their_errors() -> None:
    result = overestimation.run(actions=3, gap=0.4, gamma=0.8, steps=60, repeats=5_000, runs=500, seed=2)
    for each in result.equal:
        assert all(abs(measured.off) < 4.0 for measured in each.biases.values())
    for each in result.learning:
        assert abs(each.one_step.off) < 4.0
        exact = overestimation.expected_bias(each.one_step.exact, 0.8, 0.1, each.steps)
        assert (abs(each.simulated - exact) <= 4.0 * each.standard_error).all()
        assert each.standard_error[-1] < 0.1 * abs(each.fixed_point)
    for each in result.climbs:
        assert abs(each.gained.off) < 4.0
        assert each.clipped < 0.2


# What they are given


@pytest.mark.parametrize(
    ("run", "wrong"),
    [
        (reparameterization.run, {"theta": math.nan}),
        (reparameterization.run, {"theta": 1e7}),
        (reparameterization.run, {"repeats": 1}),
        (reparameterization.run, {"samples": ()}),
        (reparameterization.run, {"samples": (10, 0)}),
        (reparameterization.run, {"samples": (10, 10)}),
        (reparameterization.run, {"seed": -1}),
        (reparameterization.run, {"threads": 0}),
        (entropy.run, {"mu": (11.0,)}),
        (entropy.run, {"alpha": (0.0,)}),
        (entropy.run, {"target": 0.7}),
        (entropy.run, {"samples": 1}),
        (overestimation.run, {"actions": 0}),
        (overestimation.run, {"sigma": 0.0}),
        (overestimation.run, {"gamma": 1.0}),
        (overestimation.run, {"rate": math.inf}),
        (overestimation.run, {"runs": 1}),
    ],
)
def test_what_cannot_be_is_refused(run: Callable[..., Any], wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(UsageError, match=f"{name} is .*must be"):
        run(**wrong)


# Pages


@pytest.mark.parametrize("name", LESSONS)
def test_page_draws_and_answers(name: str, tmp_path: Path) -> None:
    """In a browser: nothing amiss, every chart drawn, and values where the pointer is."""
    result = MODULES[name].run(**SMALL[name])
    path = tmp_path / "page.html"
    path.write_text(MODULES[name].page(result), encoding="utf-8")
    with opened(path) as tab:
        charts = tab.page.locator(".chart")
        assert charts.count() >= 4
        for index in range(charts.count()):
            assert charts.nth(index).locator(".trace").count() > 0
            charts.nth(index).locator(".nsewdrag").first.hover()
            tab.page.wait_for_function("document.querySelector('.hoverlayer .hovertext, .hoverlayer .legend')")
        tables: list[Table] = MODULES[name].tables(result)
        assert tab.page.locator("table").count() == len(tables)
        assert tab.problems == []


# The command


@pytest.fixture
def lesson(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """`polyak lesson ...` in an empty folder: its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["lesson", *arguments])
        return code, *capsys.readouterr()

    return run


FLAGS = {
    "reparameterization": "--repeats 50 --samples 10 100",
    "entropy": "--samples 1000",
    "overestimation": "--steps 50 --repeats 500 --runs 20",
}


@pytest.mark.parametrize("name", LESSONS)
def test_command_prints_tables_and_the_page(name: str, lesson: Callable[..., tuple[int, str, str]]) -> None:
    code, output, errors = lesson(name, *FLAGS[name].split())
    assert (code, errors) == (0, "")
    assert output.splitlines()[-1] == f"lesson-{name}.html"
    assert Path(f"lesson-{name}.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "standard errors" in output
    assert "exact" in output
    code, output, errors = lesson(name, *FLAGS[name].split(), "--json", "-o", "there/page.html", "--seed", "4")
    assert (code, errors) == (0, "")
    printed = json.loads(output)
    assert printed["page"] == "there/page.html"
    assert printed["seed"] == 4
    assert Path("there/page.html").is_file()


def test_numbers_in_the_terminal_and_in_json(lesson: Callable[..., tuple[int, str, str]]) -> None:
    _, output, _ = lesson("reparameterization", "--theta", "0", "--samples", "5", "--repeats", "40", "--json")
    (row,) = json.loads(output)["rows"]
    assert row["samples"] == 5
    assert row["score_variance"]["exact"] == 3.0
    assert row["ratio"]["exact"] == 3.75
    _, output, _ = lesson("reparameterization", "--theta", "0", "--samples", "5", "--repeats", "40")
    for name in ("score_mean", "pathwise_variance", "ratio"):
        assert f" {number(row[name]['value'])} " in output


def test_command_without_a_lesson_lists_them(lesson: Callable[..., tuple[int, str, str]]) -> None:
    code, output, errors = lesson("entrpy")
    assert (code, output) == (2, "")
    assert "'entrpy' (did you mean 'entropy'?)" in errors
    assert all(name in errors for name in LESSONS)
    assert lesson()[0] == 2
    code, output, _ = lesson("--help")
    assert code == 0
    assert all(name in output for name in LESSONS)


@pytest.mark.parametrize("flags", ["--repeats 1", "--samples 0", "--theta nan", "--theta 1e9", "--output ."])
def test_command_refuses_what_cannot_be(flags: str, lesson: Callable[..., tuple[int, str, str]]) -> None:
    code, output, errors = lesson("reparameterization", *flags.split())
    assert (code, output) == (2, "")
    assert errors.count("\n") == 1
    assert not list(Path().iterdir())


def test_interrupted_command_writes_nothing(
    lesson: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, progress: Callable[[int, int], None], **__: Any) -> None:
        progress(1, 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(reparameterization, "run", interrupted)
    assert lesson("reparameterization") == (130, "", "polyak: interrupted\n")
    assert not list(Path().iterdir())
